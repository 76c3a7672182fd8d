//! A whole cluster in one thread: several nodes with the real managers on one storage in memory, or
//! on three that are cells, in virtual time, while faults from a seed strike. At the end the books
//! must balance over all cells: nothing lost, nothing stuck, and every start of a job paid for; no
//! lock without its job, each run of a periodic job enqueued once, and no process ever ran more
//! jobs of a queue at once than it may.
//!
//! Time moves if and only if nobody has anything left to do: then the clock steps to the next time
//! that somebody waits for. The same seed gives the same faults at the same times; which node is
//! faster may differ.
//!
//! `VERK_SIMULATION_JOBS` is how many jobs there are in all, `VERK_SIMULATION_SEED` the first seed.
//! A million in release mode:
//!
//! ```console
//! $ VERK_SIMULATION_JOBS=1000000 cargo nextest run --release -p verk-testing --all-features --test simulation whatever_happens --no-capture
//! ```

#![cfg(feature = "cron")]

mod cluster;
mod faulty_storage;
mod ledger;
mod link;
mod node;
mod plan;
mod strike;
mod trouble;
mod worker;

use std::{env, panic, sync::Once};

use tokio::runtime::Builder;
use verk_testing::VirtualClock;

use self::{
    cluster::{Cluster, is_far},
    ledger::Balance,
};

/// How many jobs there are in all clusters of a test, unless the environment says another number.
const JOBS: usize = 20_000;

/// The same in cells.
const JOBS_IN_CELLS: usize = 6_000;

/// How many clusters share them.
const SEEDS: u64 = 4;

fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(number) => number.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Runs one cluster until all its jobs have ended.
fn simulate(seed: u64, cells: usize, jobs: usize) -> Balance {
    let clock = VirtualClock::new();
    let time = clock.clone();
    let runtime = Builder::new_current_thread()
        .on_thread_park(move || {
            if let Some(next) = time.next_deadline() {
                time.advance_to(next);
            }
        })
        .build()
        .expect("a runtime");
    runtime.block_on(async { Cluster::new(seed, (cells, jobs), clock).run().await })
}

/// Some workers panic on purpose.
fn hide_panics_on_purpose() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let on_purpose = info.payload().downcast_ref::<String>();
            if !on_purpose.is_some_and(|message| message.starts_with("Errand(")) {
                tell(info);
            }
        }));
    });
}

/// Runs clusters of so many cells with seeds one after the other, and checks their books.
fn nothing_is_lost(cells: usize, jobs: usize) {
    let jobs = number("VERK_SIMULATION_JOBS", jobs as u64);
    let first = number("VERK_SIMULATION_SEED", 1);
    let jobs = usize::try_from(jobs / SEEDS).expect("a number of jobs");
    hide_panics_on_purpose();
    std::thread::scope(|scope| {
        for seed in first..first + SEEDS {
            scope.spawn(move || {
                let balance = simulate(seed, cells, jobs);
                println!("seed {seed}, {cells} cells: {balance:#?}");
                assert!(balance.is_clean(), "seed {seed}: {balance:#?}");
                let has_met =
                    balance.conflicts > 0 && balance.discarded > 0 && balance.ticks_due > 0;
                assert!(
                    has_met,
                    "no lock or tick was met, seed {seed}: {balance:#?}"
                );
                let two_batches = balance.exchanges_at_once == 2;
                assert!(two_batches || !is_far(seed), "seed {seed}: {balance:#?}");
                let everywhere = !balance.settled.contains(&0) && balance.strays > 0;
                assert!(everywhere || cells == 1, "seed {seed}: {balance:#?}");
            });
        }
    });
}

#[test]
fn nothing_is_lost_whatever_happens() {
    nothing_is_lost(1, JOBS);
}

#[test]
fn nothing_is_lost_in_three_cells() {
    nothing_is_lost(3, JOBS_IN_CELLS);
}
