//! Lines of the start of a node, and of the settings that it read.

use std::{env, time::Duration};

use verk::{Config, redis::RedisConfig, warn_of_program};

use super::{Observed, log::panics_at_lines};
use crate::{program::Program, support::Fixture};

#[tokio::test]
async fn a_node_that_runs_no_queues_is_built() {
    let (log, _guard) = panics_at_lines();
    let it = Fixture::with(|builder| builder.queue("default", 1).disabled(true)).await;
    assert_eq!(log.lines_with(&["disabled: no queues run"]), 1);
    it.verk.enqueue(Observed::new(1)).await.unwrap();
    assert_eq!(it.queued("default").await.len(), 1);
}

#[test]
fn a_program_that_lacks_something_is_warned_of() {
    let (log, _guard) = panics_at_lines();
    warn_of_program(true, true);
    assert_eq!(log.lines_with(&["panic = \"abort\""]), 1);
    warn_of_program(false, false);
    assert_eq!(log.lines_with(&["has no worker"]), 1);
}

/// Set in the environment of the program.
const PROGRAM: &str = "VERK_TEST_OF_SETTINGS";

/// No test, but the program of the next one, whose environment has settings that do not exist.
#[test]
fn program() {
    if env::var_os(PROGRAM).is_none() {
        return;
    }
    let (log, _guard) = panics_at_lines();
    let config = Config::from_env().unwrap();
    assert_eq!(config.poll_interval, Duration::from_secs(7));
    assert_eq!(log.lines_with(&["VERK_POLL_INTERVALL"]), 1);
    let redis = RedisConfig::from_env().unwrap();
    assert!(format!("{redis:?}").contains("redis://elsewhere:7"));
    assert_eq!(log.lines_with(&["VERK_REDIS_ULR"]), 1);
    println!("READ");
}

#[test]
fn settings_that_do_not_exist_change_no_other() {
    let variables = [
        (PROGRAM, "1"),
        ("VERK_POLL_INTERVAL", "7s"),
        ("VERK_POLL_INTERVALL", "8s"),
        ("VERK_REDIS_URL", "redis://elsewhere:7"),
        ("VERK_REDIS_ULR", "redis://nowhere:8"),
    ];
    Program::start("foreign_code::start::program", &variables).read_until("READ");
}
