//! What a job may cost, in counts that noise does not change: instructions, and commands of Redis.
//! `budget.toml` has the record.

mod count;
mod workload;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use self::workload::Workload;
use crate::report::rounded;

/// The first word of the command line of a workload by itself.
pub(crate) const WORKLOAD: &str = "workload";

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budget.toml");
const HEAD: &str = "\
# What a job may cost. docs/performance.md says how it is counted. To compare, or to write this
# file again with `--record`:
# cargo run --release --manifest-path benchmarks/Cargo.toml -- budget
";
/// A count may also change with another processor, for which libraries choose other code, with the
/// seeds of hash maps, or with what the compiler inlines after an edit elsewhere in a crate.
const TOLERANCE: f64 = 0.1;

/// What is recorded, by workload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// How far a count may be above the record, as a part of it.
    tolerance: f64,
    instructions_per_job: BTreeMap<String, f64>,
    commands_per_job: BTreeMap<String, f64>,
}

/// Runs a workload by itself: what callgrind looks at.
pub(crate) fn run_workload(args: &[String]) -> Result<()> {
    count::run(args)
}

/// Counts, and records the counts or compares them with those that were recorded.
///
/// # Errors
///
/// One is above what is recorded.
pub(crate) fn run(record: bool) -> Result<()> {
    let path = Path::new(FILE);
    if record {
        return Ok(fs::write(path, Budget::count(None)?.to_toml())?);
    }
    let recorded = fs::read_to_string(path).context("budget.toml is missing: record it")?;
    let recorded: Budget = toml::from_str(&recorded)?;
    let counted = Budget::count(Some(&recorded))?;
    let over = counted.over(&recorded);
    ensure!(
        over.is_empty(),
        "above the budget: {}; if it must be, `budget --record` records it",
        over.join(", ")
    );
    Ok(())
}

impl Budget {
    /// Counts everything, and prints each count next to that of `recorded`.
    fn count(recorded: Option<&Self>) -> Result<Self> {
        let mut counted = Self {
            tolerance: recorded.map_or(TOLERANCE, |recorded| recorded.tolerance),
            instructions_per_job: BTreeMap::new(),
            commands_per_job: BTreeMap::new(),
        };
        let mut instructions = |name: &str, count: f64| {
            let count = rounded(count);
            let before = recorded.and_then(|it| it.instructions_per_job.get(name));
            println!("{}", line("instructions", name, count, before));
            counted.instructions_per_job.insert(name.to_owned(), count);
        };
        for workload in Workload::ALL {
            instructions(workload.name(), count::instructions(workload)?);
        }
        let drain = count::instructions_on_redis(Workload::Drain)?;
        instructions("drain_on_redis", drain);
        for workload in Workload::ALL {
            let name = workload.name();
            let by_command = count::commands(workload)?;
            let commands = rounded(by_command.values().sum());
            let before = recorded.and_then(|it| it.commands_per_job.get(name));
            let most: Vec<String> = most_first(&by_command).collect();
            println!(
                "{}: {}",
                line("commands", name, commands, before),
                most.join(", ")
            );
            counted.commands_per_job.insert(name.to_owned(), commands);
        }
        Ok(counted)
    }

    /// What is above `recorded`, or not recorded.
    fn over(&self, recorded: &Self) -> Vec<String> {
        let pairs = [
            (
                "instructions",
                &self.instructions_per_job,
                &recorded.instructions_per_job,
            ),
            (
                "commands",
                &self.commands_per_job,
                &recorded.commands_per_job,
            ),
        ];
        pairs
            .into_iter()
            .flat_map(|(kind, counted, recorded)| {
                counted
                    .iter()
                    .map(move |(name, count)| (kind, name, *count, recorded.get(name)))
            })
            .filter(|(.., count, before)| {
                before.is_none_or(|before| *count > before * (1.0 + recorded.tolerance))
            })
            .map(|(kind, name, ..)| format!("{kind} of {name}"))
            .collect()
    }

    fn to_toml(&self) -> String {
        let table = |name: &str, counts: &BTreeMap<String, f64>| {
            let lines: String = counts
                .iter()
                .map(|(name, count)| format!("{name} = {count:?}\n"))
                .collect();
            format!("\n[{name}]\n{lines}")
        };
        format!(
            "{HEAD}\ntolerance = {}\n{}{}",
            self.tolerance,
            table("instructions_per_job", &self.instructions_per_job),
            table("commands_per_job", &self.commands_per_job)
        )
    }
}

fn line(kind: &str, workload: &str, count: f64, before: Option<&f64>) -> String {
    let before = match before {
        Some(before) => format!("recorded {before}, {:.3} of it", count / before),
        None => "not recorded".to_owned(),
    };
    format!("{kind} per job, {workload}: {count} ({before})")
}

/// The commands that are a hundredth of all or more.
fn most_first(commands: &BTreeMap<String, f64>) -> impl Iterator<Item = String> {
    let all: f64 = commands.values().sum();
    let mut commands: Vec<_> = commands
        .iter()
        .filter(|(_, calls)| **calls >= all / 100.0)
        .collect();
    commands.sort_by(|one, other| other.1.total_cmp(one.1));
    commands
        .into_iter()
        .map(|(name, calls)| format!("{name} {}", rounded(*calls)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(drain: f64) -> Budget {
        Budget {
            tolerance: 0.1,
            instructions_per_job: BTreeMap::from([("drain".to_owned(), drain)]),
            commands_per_job: BTreeMap::from([("drain".to_owned(), 2.0)]),
        }
    }

    #[test]
    fn what_is_above_the_tolerance_is_over() {
        assert_eq!(budget(1100.0).over(&budget(1000.0)), Vec::<String>::new());
        assert_eq!(
            budget(1101.0).over(&budget(1000.0)),
            ["instructions of drain"]
        );
        let nothing =
            toml::from_str("tolerance = 1\n[instructions_per_job]\n[commands_per_job]\n").unwrap();
        assert_eq!(budget(1.0).over(&nothing).len(), 2, "not recorded");
    }

    #[test]
    fn what_is_written_is_read() {
        let read: Budget = toml::from_str(&budget(1234.5).to_toml()).unwrap();
        assert_eq!(read.instructions_per_job["drain"], 1234.5);
        assert_eq!(read.commands_per_job["drain"], 2.0);
    }
}
