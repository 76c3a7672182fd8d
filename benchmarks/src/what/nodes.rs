//! What each of many nodes on one Redis costs: idle, and with a steady stream of jobs.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use benchmark_harness::Role;
use serde_json::json;

use super::targets::at_most;
use crate::{
    child::{Child, Load},
    lab::Lab,
    report::{Measured, Outcome, Report, Target, rounded},
    server::Server,
    systems::Contender,
};

/// How many jobs a second all nodes together get.
const RATE: u64 = 2_000;
/// How many tasks enqueue them: a task that waits for Redis does not delay the next job.
const TASKS: u64 = 8;
/// How long all nodes may take to register.
const START: Duration = Duration::from_secs(60);
/// How often the tool checks whether they have registered.
const LOOK: Duration = Duration::from_millis(20);
/// A node of many may cost so many times as much as one of few: above that, growth is not linear.
const MOST_GROWTH: f64 = 1.2;
/// The figures that have this bound.
const COSTS: [&str; 4] = [
    "redis_cpu_percent",
    "commands_per_s",
    "sent_per_s",
    "connections",
];

/// The numbers of nodes. Growth is judged between `few` and the last.
struct Sizes {
    nodes: &'static [u64],
    few: u64,
    many: u64,
}

/// For how long the nodes are watched.
#[derive(Clone, Copy)]
struct Times {
    /// The start of the workers is over by then.
    settle: Duration,
    watch: Duration,
    /// Requests are counted afterwards, because the server does more for each meanwhile.
    listen: Duration,
}

/// The parts are `idle` and `busy`, with a row for each number of nodes. The last row is what each
/// further node adds.
pub(crate) fn run(lab: &Lab) -> Report {
    let sizes = if lab.settings.quick {
        Sizes {
            nodes: &[1, 3],
            few: 1,
            many: 3,
        }
    } else {
        Sizes {
            nodes: &[1, 10, 30, 100],
            few: 10,
            many: 100,
        }
    };
    // What the server costs by itself.
    let none = outcome(lab, 0, false);
    let mut report = Report::new("nodes", "redis_cpu_percent", &[], Vec::new());
    for (name, is_busy) in [("idle", false), ("busy", true)] {
        let outcomes: Vec<(u64, Outcome)> = (sizes.nodes.iter())
            .map(|&nodes| (nodes, outcome(lab, nodes, is_busy)))
            .collect();
        let of = |wanted| {
            let found = outcomes.iter().find(|(nodes, _)| *nodes == wanted);
            found.map(|(_, outcome)| outcome.clone())
        };
        let few = of(sizes.few).unwrap_or_default();
        let many = of(sizes.many).unwrap_or_default();
        report
            .targets
            .extend(growth(name, &sizes, &none, &few, &many));
        let mut rows: Vec<(String, Outcome)> = outcomes
            .into_iter()
            .map(|(nodes, outcome)| (format!("nodes_{nodes:03}"), outcome))
            .collect();
        rows.push((
            format!("per_node_from_{}_to_{}", sizes.few, sizes.many),
            slope(&sizes, &few, &many),
        ));
        if !is_busy {
            rows.push(("nodes_000".to_owned(), none.clone()));
        }
        let times = times(lab, is_busy);
        let settings = [
            ("jobs_per_s", json!(if is_busy { RATE } else { 0 })),
            ("seconds", json!(times.watch.as_secs_f64())),
            ("seconds_of_monitor", json!(times.listen.as_secs_f64())),
            ("runs", json!(lab.settings.runs())),
        ];
        let part = Report::new("nodes", "redis_cpu_percent", &settings, Vec::new());
        report = report.with(name, part.rows(rows));
    }
    report
}

fn outcome(lab: &Lab, nodes: u64, is_busy: bool) -> Outcome {
    let state = if is_busy { "busy" } else { "idle" };
    let what = format!("nodes, {nodes} {state}");
    let outcomes = lab.measure(&what, &[Contender::verk()], |contender| {
        measure(contender, nodes, is_busy, times(lab, is_busy))
    });
    let first = outcomes.into_iter().next();
    first.map(|(_, outcome)| outcome).unwrap_or_default()
}

fn times(lab: &Lab, is_busy: bool) -> Times {
    let watch = lab.settings.watch();
    if lab.settings.quick {
        return Times {
            settle: watch / 5,
            watch,
            listen: watch / 5,
        };
    }
    Times {
        settle: Duration::from_secs(3),
        watch,
        // Idle nodes send little, so each second has few requests to count.
        listen: if is_busy {
            watch.min(Duration::from_secs(5))
        } else {
            watch
        },
    }
}

fn measure(contender: &Contender, nodes: u64, is_busy: bool, times: Times) -> Result<Measured> {
    let server = Server::start();
    let load = Load {
        jobs: None,
        ..Load::of(0)
    };
    let mut workers = Vec::new();
    for _ in 0..nodes {
        workers.push(Child::start(contender, Role::Work, &server.url(), &load)?);
    }
    for worker in &mut workers {
        worker.go()?;
    }
    wait_until_registered(&server, nodes)?;
    let mut producer = is_busy
        .then(|| {
            // A second more than all that is measured, so that jobs arrive until the end.
            let seconds = times.settle + times.watch + times.listen + Duration::from_secs(1);
            let load = Load {
                tasks: TASKS,
                rate: Some(RATE),
                ..Load::of((RATE as f64 * seconds.as_secs_f64()) as u64)
            };
            Child::start(contender, Role::Enqueue, &server.url(), &load)
        })
        .transpose()?;
    if let Some(producer) = &mut producer {
        producer.go()?;
    }
    thread::sleep(times.settle);
    let (before, used, begun) = (server.activity()?, usage(&workers)?, Instant::now());
    thread::sleep(times.watch);
    let (after, usage, seconds) = (
        server.activity()?,
        usage(&workers)?,
        begun.elapsed().as_secs_f64(),
    );
    let connections = server.connections()?;
    let sent = server.count_sent(times.listen)?;
    let mut measured = vec![
        (
            "redis_cpu_percent",
            (after.cpu - before.cpu) * 100.0 / seconds,
        ),
        // One of the commands is ours: INFO.
        (
            "commands_per_s",
            (after.commands - before.commands - 1.0) / seconds,
        ),
        ("sent_per_s", sent as f64 / times.listen.as_secs_f64()),
        ("connections", connections),
        (
            "cpu_percent",
            usage.0.saturating_sub(used.0).as_secs_f64() * 100.0 / seconds,
        ),
        ("mib", usage.1),
    ];
    if let Some(producer) = producer {
        let waiting = server.list_len("queue:bench-0")?;
        let done = producer.done()?;
        measured.push(("jobs_per_s", done.jobs as f64 / done.seconds));
        measured.push(("waiting_at_the_end", waiting as f64));
    }
    Ok(measured)
}

/// The CPU that all of them have used, and their resident size in MiB.
fn usage(workers: &[Child]) -> Result<(Duration, f64)> {
    let (mut cpu, mut mib) = (Duration::ZERO, 0.0);
    for worker in workers {
        let usage = worker.usage()?;
        cpu += usage.cpu;
        mib += usage.mib;
    }
    Ok((cpu, mib))
}

fn wait_until_registered(server: &Server, nodes: u64) -> Result<()> {
    let until = Instant::now() + START;
    loop {
        let registered = server.set_len("verk_nodes")?;
        if registered >= nodes.cast_signed() {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "only {registered} of {nodes} nodes have registered"
        );
        thread::sleep(LOOK);
    }
}

/// What each further node adds.
fn slope(sizes: &Sizes, few: &Outcome, many: &Outcome) -> Outcome {
    let more = (sizes.many - sizes.few) as f64;
    let slopes = many.names().filter_map(|name| {
        let slope = (many.figure(name)? - few.figure(name)?) / more;
        Some((name.to_owned(), rounded(slope)))
    });
    // Not of the rate of the producer, which is the same for all.
    let slopes = slopes.filter(|(name, _)| name != "jobs_per_s");
    Outcome::Figures(slopes.collect())
}

/// The cost of a node, without what the server costs by itself, does not rise with their number.
fn growth(
    state: &str,
    sizes: &Sizes,
    none: &Outcome,
    few: &Outcome,
    many: &Outcome,
) -> Vec<Target> {
    let targets = COSTS.iter().map(|name| {
        let cost = |outcome: &Outcome, nodes: u64| {
            Some((outcome.figure(name)? - none.figure(name)?) / nodes as f64)
        };
        let (few, many) = (cost(few, sizes.few), cost(many, sizes.many));
        let ratio = few.zip(many).and_then(|(few, many)| {
            // What costs nothing has no multiple.
            (few > 0.0).then(|| many / few)
        });
        let name = format!(
            "{state}, {} per node, {} nodes / {}",
            name.replace('_', " "),
            sizes.many,
            sizes.few
        );
        at_most(&name, MOST_GROWTH, ratio)
    });
    targets.collect()
}
