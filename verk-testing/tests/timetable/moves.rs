//! A periodic job whose queue moves to another cell, in virtual time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use verk_core::{
    Verk, VerkBuilder,
    cells::Cells,
    cron::{CatchUp, Cron},
    storage::CronStore as _,
    time::Clock as _,
};
use verk_testing::{MemoryStorage, VirtualClock, within};

use crate::{DAY, Report, ticks};

const PATIENCE: Duration = Duration::from_secs(30);

struct Fleet {
    clock: VirtualClock,
    storages: Vec<MemoryStorage>,
}

impl Fleet {
    fn new() -> Self {
        let clock = VirtualClock::new();
        let storage = || MemoryStorage::new(Arc::new(clock.clone()));
        Self {
            storages: (0..3).map(|_| storage()).collect(),
            clock,
        }
    }

    /// The cell of the queue `default`, and another one.
    fn cells_of_default(&self) -> (usize, usize) {
        let cells: Cells = self.storages.iter().cloned().collect();
        let from = cells.of(&"default".parse().unwrap());
        (from, (from + 1) % 3)
    }

    fn builder(&self) -> VerkBuilder {
        let cells: Cells = self.storages.iter().cloned().collect();
        Verk::builder()
            .cells(cells)
            .clock(Arc::new(self.clock.clone()))
            .heartbeat(3_650 * DAY)
            .queue("nobody", 1)
    }

    /// A node that declares the report.
    async fn node(&self) -> Verk {
        let verk = self.builder().register::<Report>().build().await.unwrap();
        verk.start().unwrap();
        verk
    }

    /// The times of the runs that are enqueued in each cell.
    async fn runs(&self) -> Vec<Vec<SystemTime>> {
        let mut all = Vec::new();
        for storage in &self.storages {
            let ticks = ticks(storage, "default").await;
            all.push(ticks.iter().map(verk_core::cron::Tick::due).collect());
        }
        all
    }

    /// Lets time pass until there are so many runs.
    async fn until_runs(&self, count: usize) -> Vec<Vec<SystemTime>> {
        within(PATIENCE, async {
            loop {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                let runs = self.runs().await;
                match runs.iter().map(Vec::len).sum::<usize>() {
                    enough if enough >= count => return runs,
                    _ => self.clock.advance(Duration::from_secs(120)),
                }
            }
        })
        .await
    }

    async fn has_entry(&self, cell: usize) -> bool {
        let named = self.storages[cell].cron_named(&["report".to_owned()]).await;
        named.unwrap()[0].is_some()
    }
}

/// Each run comes once, in the cell in which its queue lies then. No node restarts for it, and none
/// that starts brings the entry back to the old cell. A day later it is no orphan.
#[tokio::test]
async fn an_entry_runs_where_its_queue_lies() {
    let fleet = Fleet::new();
    let (from, to) = fleet.cells_of_default();
    let default = || "default".parse().unwrap();
    let first = fleet.node().await;
    let runs = fleet.until_runs(2).await;
    assert_eq!(runs[from].len(), 2);

    let operator = fleet.builder().build().await.unwrap();
    let moved = operator.admin().move_queue(default(), to).run();
    let moved = moved.await.unwrap();
    assert!(moved.is_complete(), "{moved:?}");
    assert_eq!(
        (fleet.has_entry(from).await, fleet.has_entry(to).await),
        (false, true)
    );
    let runs = fleet.until_runs(5).await;
    assert_eq!(
        (runs[from].len(), runs[to].len()),
        (0, 5),
        "the waiting jobs moved, too"
    );

    let second = fleet.node().await;
    first.shutdown().await;
    let runs = fleet.until_runs(8).await;
    assert_eq!((runs[from].len(), runs[to].len()), (0, 8));
    assert_eq!(
        (fleet.has_entry(from).await, fleet.has_entry(to).await),
        (false, true)
    );
    let due: BTreeSet<SystemTime> = runs[to].iter().copied().collect();
    assert_eq!(due.len(), 8, "each once");
    let (first_due, last_due) = (due.first().unwrap(), due.last().unwrap());
    assert!(
        last_due.duration_since(*first_due).unwrap() < 8 * DAY,
        "none is missing"
    );
    let entry = second.cron().get("report").await.unwrap().unwrap();
    assert!(
        entry.pause.is_none() && entry.next > Some(fleet.clock.now()),
        "{entry:?}"
    );
    second.shutdown().await;
}

/// Runs that are due while the entry moves, or while a crash keeps it from its end, are made up for
/// in the new cell.
#[tokio::test]
async fn a_run_that_is_due_meanwhile_is_not_lost() {
    for crashes in [false, true] {
        let fleet = Fleet::new();
        let (from, to) = fleet.cells_of_default();
        let operator = fleet.builder().build().await.unwrap();
        let entry = Cron::every("1m").class("Report", [1]).queue("default");
        let entry = entry.catch_up(CatchUp::All);
        operator.cron().upsert("report", entry).await.unwrap();
        let next = async |cell: usize| {
            let names = ["report".to_owned()];
            let named = fleet.storages[cell].cron_named(&names).await;
            named.unwrap().remove(0).unwrap().next
        };
        let before = next(from).await;
        fleet.clock.advance(Duration::from_secs(600));
        let admin = operator.admin();
        let run = || admin.move_queue("default".parse().unwrap(), to).run();
        if crashes {
            // The records of the beginning and of the closed cell, and two pauses.
            fleet.storages[from].faults().refuse_after(4);
            run().await.unwrap_err();
            fleet.storages[from].faults().set_refusing(false);
            assert_eq!(next(from).await, None, "it is paused");
            fleet.clock.advance(Duration::from_secs(600));
        }
        assert!(run().await.unwrap().is_complete());
        assert_eq!(next(to).await, before);
    }
}
