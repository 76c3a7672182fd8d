//! Random operations, crashes and faults on a backend and on a [`MemoryStorage`] (feature
//! `proptest`).
//!
//! The [conformance suite](crate::conformance) has one case for each rule; this finds cases that
//! nobody thought of. A case is a list of random steps: jobs are enqueued with locks and without,
//! fetched, settled, promoted, moved by an operator; periodic jobs are declared, and tick; nodes
//! come, die, wake up and are restored; keys break, replies are lost, the memory is full, time
//! passes. After each step,
//!
//! - the answers of both storages are the same, and those that the ledger expects;
//! - each job that was stored and not yet acknowledged or deleted is in exactly one place, and in
//!   its order there (P1);
//! - an outcome took effect if and only if the node held the job (P2);
//! - every payload has the bytes that it was stored with (P3);
//! - each lock has one job that lives, and each unique job that lives has its lock, unless its rule
//!   or an operator took it away; a job that waits for a lock is nowhere else;
//! - a change of the timetable took effect if and only if the entry was as it was seen, and a tick
//!   that did moved the due time and enqueued its jobs, once;
//! - both storages show the same nodes, queues and pauses, and walks through a place, page by page
//!   in both directions and by a scan, show all that it has.
//!
//! At the end everything is acknowledged and deregistered, and no key may be left. A list that
//! fails shrinks to the few steps that matter.
//!
//! A new operation of [`Storage`](verk_core::storage::Storage) needs one variant of `Action` (how
//! it is drawn: `step.rs`) and of `Request` (the request: `request.rs`), one arm in `side.rs` that
//! sends it, and one in `ledger.rs` with its effect.

mod found;
mod ledger;
mod request;
mod side;
mod step;
mod timetable;
mod unique;
mod view;
mod walk;

use std::{env, sync::Arc, time::Duration};

use proptest::{
    collection::vec,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use tokio::runtime::Builder;

use verk_core::StorageError;

use self::{
    ledger::Ledger,
    side::Side,
    step::{Step, step},
};
use crate::{MemoryStorage, VirtualClock, conformance::Harness, within};

/// How many lists are tried, unless `PROPTEST_CASES` says another number.
const CASES: u32 = 100;

/// The most steps of a list.
const MAX_STEPS: usize = 50;

/// How many shorter lists are tried when one fails.
const MAX_SHRINKS: u32 = 5_000;

/// How long one list may take in real time: one that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs random lists of steps on a backend and on a [`MemoryStorage`].
///
/// `empty` returns an empty backend, for each list. `PROPTEST_CASES` sets how many lists are tried;
/// without it, few enough for a test that runs with all others.
///
/// ```
/// use verk_testing::{MemoryStorage, model};
///
/// // Yours is a `Harness` that may keep its server, and removes what the last list left.
/// model::check(async || MemoryStorage::default());
/// ```
///
/// # Panics
///
/// When a step has a wrong result, with the fewest steps that were found to lead to it.
pub fn check<H: Harness>(empty: impl AsyncFn() -> H) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime for the model: {error}"),
    };
    let case = |steps: &[Step]| {
        runtime.block_on(within(PATIENCE, async {
            let backend = empty().await;
            play(&backend, steps).await
        }))
    };
    for (what, steps) in found::found() {
        if let Err(error) = case(&steps) {
            panic!("{what}: {error}\n\nafter {steps:#?}");
        }
    }
    let lists = vec(step(), 1..=MAX_STEPS);
    let result = TestRunner::new(config()).run(&lists, |steps| case(&steps));
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => panic!("{reason}\n\nafter {steps:#?}"),
        Err(error @ TestError::Abort(_)) => panic!("{error}"),
    }
}

fn config() -> Config {
    // The default has read the number of cases from the environment.
    let config = match env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(CASES),
    };
    Config {
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINKS,
        ..config
    }
}

/// Plays one list of steps on an empty backend.
async fn play(backend: &dyn Harness, steps: &[Step]) -> Result<(), TestCaseError> {
    let memory = MemoryStorage::new(Arc::new(VirtualClock::new()));
    let mut sides = [Side::new("memory", &memory), Side::new("backend", backend)];
    let mut ledger = Ledger::default();
    for step in step::opening().iter().chain(steps) {
        take(&mut sides, &mut ledger, step).await?;
        compare(&sides, &ledger).await?;
    }
    for step in &step::ending() {
        take(&mut sides, &mut ledger, step).await?;
    }
    compare(&sides, &ledger).await?;
    for side in &sides {
        side.is_empty().await.map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// Does one step on both sides. The answers are the same, and may be.
async fn take(
    sides: &mut [Side<'_>; 2],
    ledger: &mut Ledger,
    step: &Step,
) -> Result<(), TestCaseError> {
    let Step { action, trouble } = step;
    let Some(request) = ledger.request(action) else {
        return Ok(());
    };
    let [memory, backend] = sides;
    let of_memory = memory.act(&request, *trouble).await.map_err(failed)?;
    let of_backend = backend.act(&request, *trouble).await.map_err(failed)?;
    let wrong = if of_memory == of_backend {
        ledger.apply(&request, &of_memory, *trouble).err()
    } else {
        Some(format!(
            "the answers differ:\n memory: {of_memory:?}\nbackend: {of_backend:?}"
        ))
    };
    match wrong {
        None => Ok(()),
        Some(reason) => Err(TestCaseError::fail(format!("{step:?}\n{reason}"))),
    }
}

/// Both sides show what the ledger expects.
async fn compare(sides: &[Side<'_>; 2], ledger: &Ledger) -> Result<(), TestCaseError> {
    ledger.check().map_err(TestCaseError::fail)?;
    let expected = ledger.view();
    for side in sides {
        let found = side.view().await.map_err(failed)?;
        if let Some(difference) = expected.difference(&found) {
            let name = side.name();
            return Err(TestCaseError::fail(format!("{name}: {difference}")));
        }
    }
    Ok(())
}

/// What must not fail did.
fn failed(error: StorageError) -> TestCaseError {
    TestCaseError::fail(format!("{error:?}"))
}
