//! How do I see for myself that nothing is lost?
//!
//! ```console
//! $ cargo run --release -p verk-chaos -- --seed 1 --seconds 45
//! ```

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use verk::BoxError;
use verk_chaos::{Kind, Plan, Production, Run, Size, run, this_program, worker};

/// Breaks everything around verk that can break, while jobs run, and counts what is lost.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// What breaks when follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long things break.
    #[arg(long, default_value_t = 45)]
    seconds: u64,
    /// How many worker processes.
    #[arg(long, default_value_t = 3)]
    workers: usize,
    /// Prints the verdict as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Is one worker process of a run.
    #[command(hide = true)]
    Worker(worker::Options),
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse();
    if let Some(Command::Worker(options)) = options.command {
        worker::run(options).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let length = Duration::from_secs(options.seconds);
    let (verdict, _) = run(Run {
        size: Size {
            program: this_program()?,
            workers: options.workers,
            concurrency: 10,
            heartbeat: Duration::from_millis(600),
        },
        plan: Plan::from_seed(options.seed, length, options.workers),
        production: Production {
            jobs: usize::MAX,
            pause: Duration::from_millis(10),
            kinds: vec![
                (Kind::Quick, 60),
                (Kind::Slow, 15),
                (Kind::FailsOnce, 10),
                (Kind::Dies, 5),
                (Kind::Scheduled, 10),
            ],
        },
        producers: 4,
        produce_until_over: true,
        seed: options.seed,
    })
    .await?;
    if options.json {
        println!("{}", serde_json::to_string(&verdict)?);
    } else {
        println!("{verdict}");
    }
    Ok(if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
