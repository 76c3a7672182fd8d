//! Where and when something was measured.

use std::{fs, thread, time::SystemTime};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::server::Server;

/// What stands in the lock file is what was built.
const LOCK: &str = include_str!("../Cargo.lock");
const VERSIONS: [&str; 6] = [
    "verk",
    "redis",
    "rusty-sidekiq",
    "apalis-redis",
    "oxana",
    "bullmq-official",
];

/// The processor, the date and the versions.
pub(crate) fn describe() -> Result<Map<String, Value>> {
    let mut machine = Map::new();
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    machine.insert(
        "cpu".to_owned(),
        json!(model.map_or("unknown", |(_, model)| model.trim())),
    );
    machine.insert(
        "cores".to_owned(),
        json!(thread::available_parallelism()?.get()),
    );
    machine.insert(
        "threads of a runtime".to_owned(),
        json!(benchmark_harness::threads()),
    );
    machine.insert(
        "date".to_owned(),
        json!(verk::stats::Day::of(SystemTime::now()).to_string()),
    );
    machine.insert("redis-server".to_owned(), json!(Server::start().version()?));
    for name in VERSIONS {
        if let Some(version) = version(name) {
            machine.insert(name.to_owned(), json!(version));
        }
    }
    Ok(machine)
}

fn version(package: &str) -> Option<&str> {
    let start = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = LOCK.split_once(&start)?;
    Some(rest.split_once('"')?.0)
}
