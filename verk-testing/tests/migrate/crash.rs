//! A crash at every step: the next run stores each job once.

use std::collections::BTreeSet;

use verk_core::manage::{MigrateError, PauseNote};
use verk_testing::{Faults, MemoryStorage};

use crate::{Fleet, name};

/// A storage, and the change after which it refuses.
struct Crash {
    /// Of the storages of the source and then those of the target.
    storage: usize,
    after: usize,
    /// Whether the reply to the last change comes.
    replies: bool,
}

impl Crash {
    fn arm(&self, source: &Fleet, target: &Fleet) {
        let all: Vec<&MemoryStorage> = source.memories.iter().chain(&target.memories).collect();
        let faults = all[self.storage].faults();
        match self.replies {
            true => faults.refuse_after(self.after),
            false => faults.lose_after(self.after),
        }
    }
}

fn mend(source: &Fleet, target: &Fleet) {
    let all = source.memories.iter().chain(&target.memories);
    for faults in all.map(MemoryStorage::faults) {
        Faults::set_refusing(&faults, false);
    }
}

async fn filled(cells: usize) -> Fleet {
    let fleet = Fleet::of(cells);
    fleet.fill().await;
    let note = PauseNote::new().by("ada");
    fleet.admin.pause_queue("low", note).await.unwrap();
    fleet
}

/// Crashes at each step of each storage, until it runs through. `meanwhile` happens before the next
/// run, whose target `check` looks at. Returns how many crashes there were.
async fn at_each_step(
    (from, to): (usize, usize),
    meanwhile: impl AsyncFn(&Fleet) -> Vec<String>,
    check: impl AsyncFn(&Fleet, Vec<String>),
) -> usize {
    let mut crashes = 0;
    for storage in 0..from + to {
        for replies in [true, false] {
            for after in 0.. {
                let (source, target) = (filled(from).await, Fleet::of(to));
                let crash = Crash {
                    storage,
                    after,
                    replies,
                };
                crash.arm(&source, &target);
                let run = source.migrate(&target).await;
                mend(&source, &target);
                let runs_through = run.is_ok();
                if let Err(error) = run {
                    assert!(matches!(error, MigrateError::Storage { .. }), "{error}");
                    crashes += 1;
                }
                let done = meanwhile(&target).await;
                let report = source.migrate(&target).await.unwrap();
                assert!(report.is_complete(), "{storage} {after}: {report:?}");
                assert_eq!(source.count().await, 0);
                let marks = |paused: Vec<String>| {
                    let mut paused = paused.into_iter();
                    paused.any(|queue| queue == "verk-migration")
                };
                assert!(!marks(source.paused().await));
                let low = target.paused().await;
                assert!(low.contains(&"low".to_owned()), "{low:?}");
                check(&target, done).await;
                if runs_through {
                    break;
                }
            }
        }
    }
    crashes
}

#[tokio::test]
async fn each_job_arrives_once_in_its_place() {
    for cells in [(1, 1), (1, 3), (3, 1)] {
        let expected = filled(1).await.jobs().await;
        let crashes = at_each_step(
            cells,
            async |_| Vec::new(),
            async |target, _| assert_eq!(target.jobs().await, expected),
        )
        .await;
        assert!(crashes > 40, "{cells:?}: {crashes}");
    }
}

/// The target is in use: its nodes run jobs that the source has still.
#[tokio::test]
async fn each_job_arrives_once_although_the_target_runs_it_at_once() {
    let filled = filled(1).await.jobs().await;
    let ids: Vec<String> = filled
        .values()
        .flatten()
        .map(|(_, job)| crate::jid(job))
        .collect();
    let expected: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(expected.len(), ids.len());
    for cells in [(1, 3), (3, 1)] {
        at_each_step(cells, Fleet::run_queues, async |target, done| {
            let jobs = target.jobs().await;
            let waiting = jobs.values().flatten().map(|(_, job)| crate::jid(job));
            let all: Vec<String> = done.into_iter().chain(waiting).collect();
            assert_eq!(all.len(), expected.len());
            assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), expected);
        })
        .await;
    }
}

#[tokio::test]
async fn a_migration_that_did_not_end_goes_first() {
    let (source, target, third) = (filled(1).await, Fleet::of(3), Fleet::of(1));
    let before = source.jobs().await;
    // The marks of both, a pause of the target, and some jobs.
    source.memories[0].faults().refuse_after(6);
    source.migrate(&target).await.unwrap_err();
    source.memories[0].faults().set_refusing(false);

    let error = source.migrate(&third).await.unwrap_err();
    assert!(matches!(error, MigrateError::OtherTarget { .. }), "{error}");
    let error = target.migrate(&source).await.unwrap_err();
    assert!(
        matches!(error, MigrateError::TargetUnfinished { .. }),
        "{error}"
    );
    assert_eq!(third.count().await, 0);
    assert!(source.migrate(&target).await.unwrap().resumed);
    assert_eq!(target.jobs().await, before);
    assert!(source.paused().await.contains(&name("default").to_string()));
}
