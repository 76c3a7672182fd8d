//! How do I see for myself that nothing is lost?
//!
//! ```console
//! $ cargo run --release -p verk-chaos -- --seed 1 --seconds 45
//! ```

#![allow(
    clippy::disallowed_macros,
    reason = "a tool logs through tracing itself"
)]

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use verk::BoxError;
use verk_chaos::{Fault, Kind, Place, Plan, Production, Run, Size, run, this_program, worker};

/// Breaks everything around verk that can break, while jobs run, and counts the lost jobs.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// What breaks when follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Causes only this fault, for each worker every four seconds on average.
    #[arg(long, value_parser = |word: &str| word.parse::<Fault>().map_err(|()| "no fault"))]
    only: Option<Fault>,
    /// Works in one slot of a cluster, which moves and whose primaries fail.
    #[arg(long)]
    cluster: bool,
    /// In how many slots of the cluster the jobs are, each a cell. With several, there are several
    /// queues.
    #[arg(
        long,
        default_value_t = 1,
        requires = "cluster",
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    cells: u8,
    /// How many jobs wait in a paused queue while everything breaks, and run afterwards. Their slot
    /// also has a queue that works, and moves to another primary and back.
    #[arg(long, default_value_t = 0, requires = "cluster")]
    backlog: usize,
    /// For how long things break.
    #[arg(long, default_value_t = 45)]
    seconds: u64,
    /// For how many seconds everything may come to rest afterwards.
    #[arg(long, default_value_t = 120)]
    rest: u64,
    /// How many worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Prints the verdict as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Prints what would break when, and breaks nothing.
    Plan,
    /// Is one worker process of a run.
    #[command(hide = true)]
    Worker(worker::Options),
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let options = Options::parse();
    if let Some(Command::Worker(this)) = &options.command {
        worker::run(this.clone()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let length = Duration::from_secs(options.seconds);
    let place = match options.cluster {
        true => Place::Cluster {
            cells: options.cells.into(),
            backlog: options.backlog,
        },
        false => Place::Server,
    };
    let (seed, workers) = (options.seed, options.workers);
    let plan = match options.only {
        Some(fault) => {
            let times = usize::try_from(options.seconds.div_ceil(4))?;
            Plan::for_each_worker(seed, length, workers, fault, times)
        }
        None => Plan::from_seed(seed, length, workers, place),
    };
    if options.command.is_some() {
        print!("{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let (verdict, _) = run(Run {
        size: Size {
            program: this_program()?,
            workers: options.workers,
            place,
            concurrency: 10,
            heartbeat: Duration::from_millis(600),
        },
        plan,
        production: Production {
            jobs: usize::MAX,
            pause: Duration::from_millis(10),
            kinds: vec![
                (Kind::Quick, 60),
                (Kind::Slow, 15),
                (Kind::FailsOnce, 10),
                (Kind::Dies, 5),
                (Kind::Scheduled, 10),
                (Kind::Unique, 20),
                (Kind::UniqueFails, 5),
            ],
        },
        producers: 4,
        produce_until_over: true,
        seed: options.seed,
        rest: Duration::from_secs(options.rest),
    })
    .await?;
    if options.json {
        println!("{}", serde_json::to_string(&verdict)?);
    } else {
        println!("{verdict}");
    }
    let met = match options.only {
        Some(fault) => verdict.met(&[fault]),
        None => verdict.met(&Plan::faults(place)) && verdict.proves_something(options.cluster),
    };
    if !met {
        eprintln!("a fault did not happen, or no lock or tick met one: give it more time");
    }
    Ok(if verdict.is_clean() && met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
