//! The targets of verk, each as a figure or a ratio within one run, and whether the run met them.

use std::collections::BTreeMap;

use crate::report::{Report, Target, rounded};

/// The peers that lose jobs when their process is killed.
const UNSAFE: [&str; 2] = ["rusty_sidekiq", "sidekiq"];

/// The ideal of the jobs that sleep 100 ms, 2000 at once.
const IDEAL_PER_S: f64 = 20_000.0;

/// The targets, from the parts of a comparison.
pub(crate) fn of(compare: &Report) -> Vec<Target> {
    let parts = &compare.parts;
    let verk = |path: &str, figure: &str| part(parts, path)?.verk.figure(figure);
    let to_floor =
        |path: &str, figure: &str| part(parts, path)?.ratios_to_floor.get(figure).copied();
    let rate = |path: &str| verk(path, "jobs_per_s");
    let quotient = |one: Option<f64>, other: Option<f64>| Some(one? / other?);

    let drained = rate("drain");
    let mut targets = vec![
        at_least("drain / the floor", 0.7, to_floor("drain", "jobs_per_s")),
        at_least(
            "drain, 100 at once / the floor",
            0.7,
            to_floor("drain/concurrency_100", "jobs_per_s"),
        ),
        at_least(
            "drain of 4 queues / the floor",
            0.7,
            to_floor("drain/queues_4", "jobs_per_s"),
        ),
        at_least(
            "drain / with one thread",
            0.9,
            quotient(drained, rate("drain/one_thread")),
        ),
        at_least(
            "drain, 100 at once / 25 at once",
            1.0,
            quotient(rate("drain/concurrency_100"), drained),
        ),
        at_least(
            "drain of 4 queues / of 1 queue",
            1.0,
            quotient(rate("drain/queues_4"), drained),
        ),
        at_least(
            "drain of 2000 sleeping jobs / the ideal",
            0.9,
            quotient(rate("drain/sleep_100_ms"), Some(IDEAL_PER_S)),
        ),
        at_least(
            "drain of jobs of 100 µs of CPU / the ideal",
            0.9,
            verk("drain/spin_100_us", "of_ideal"),
        ),
        at_least(
            "drain of jobs of 1 ms of CPU / the ideal",
            0.9,
            verk("drain/spin_1_ms", "of_ideal"),
        ),
        at_least(
            "drain with a log / without",
            0.5,
            quotient(rate("drain/log_info"), drained),
        ),
        at_least(
            "enqueue / the floor",
            0.95,
            to_floor("enqueue", "jobs_per_s"),
        ),
        at_least(
            "enqueue by 50 tasks / the floor",
            0.8,
            to_floor("enqueue/tasks_50", "jobs_per_s"),
        ),
        at_least("bulk / the floor", 0.75, to_floor("bulk", "jobs_per_s")),
        at_most(
            "latency p50 / the floor",
            1.2,
            to_floor("latency", "p50_ms"),
        ),
        at_most(
            "latency p99 / the floor",
            3.0,
            to_floor("latency", "p99_ms"),
        ),
        at_most(
            "idle, commands that are sent per second",
            1.0,
            verk("idle", "sent_per_s"),
        ),
        at_most(
            "idle, commands per second, with those in scripts",
            1.0,
            verk("idle", "commands_per_s"),
        ),
        at_most("idle, percent of a core", 0.2, verk("idle", "cpu_percent")),
        at_most(
            "idle with 500 queues, percent of a core",
            2.0,
            verk("queues", "cpu_percent"),
        ),
        at_most("peak of the worker, MiB", 12.0, verk("memory", "peak_mib")),
        at_most(
            "memory after all jobs / after a tenth",
            1.1,
            quotient(
                verk("memory/flat", "mib_after_all"),
                verk("memory/flat", "mib_after_tenth"),
            ),
        ),
    ];
    // The second is out of reach for any program that prefetches no more than verk may.
    for wanted in [0.35, 0.5] {
        targets.push(at_least(
            "drain with 1 ms each way / without",
            wanted,
            quotient(rate("rtt"), rate("rtt/direct")),
        ));
    }
    for (part, with) in [
        ("waiting", "a million waiting jobs"),
        ("scheduled", "a million scheduled jobs"),
        ("nodes", "100 other nodes"),
    ] {
        targets.push(at_least(
            &format!("drain with {with} / without"),
            0.9,
            quotient(rate(&format!("growth/{part}")), rate("growth")),
        ));
    }
    for concurrency in [25, 100] {
        let server = |concurrency: u64| {
            verk(
                &format!("payloads/1_mb_at_{concurrency}"),
                "server_ms_per_mb",
            )
        };
        targets.push(at_most(
            &format!("server time of payloads of 1 MB, {concurrency} at once / 1 at once"),
            1.2,
            quotient(server(concurrency), server(1)),
        ));
    }
    if let Some(drain) = part(parts, "drain") {
        targets.extend(drain.ratios_to_peers.iter().filter_map(|(peer, ratio)| {
            let tuned = peer.strip_suffix("_tuned");
            let wanted = match (peer.as_str(), tuned) {
                ("sidekiq", _) => 12.0,
                (_, None) => 8.0,
                (_, Some(name)) if UNSAFE.contains(&name) => return None,
                (_, Some(_)) => 4.0,
            };
            Some(at_least(&format!("drain / {peer}"), wanted, Some(*ratio)))
        }));
    }
    targets
}

/// The report at `path`, with slashes.
pub(crate) fn part<'a>(parts: &'a BTreeMap<String, Report>, path: &str) -> Option<&'a Report> {
    match path.split_once('/') {
        Some((first, rest)) => part(&parts.get(first)?.parts, rest),
        None => parts.get(path),
    }
}

fn at_least(name: &str, wanted: f64, measured: Option<f64>) -> Target {
    let met = measured.is_some_and(|measured| measured >= wanted);
    target(name, format!("at least {wanted}"), measured, met)
}

pub(super) fn at_most(name: &str, wanted: f64, measured: Option<f64>) -> Target {
    let met = measured.is_some_and(|measured| measured <= wanted);
    target(name, format!("at most {wanted}"), measured, met)
}

fn target(name: &str, wanted: String, measured: Option<f64>, met: bool) -> Target {
    Target {
        name: name.to_owned(),
        wanted,
        measured: measured.map(rounded),
        met,
    }
}
