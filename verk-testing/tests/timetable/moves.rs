//! A periodic job whose queue moves to another cell, in virtual time.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use verk_core::{Verk, VerkBuilder, cells::Cells, storage::CronStore as _, time::Clock as _};
use verk_testing::{MemoryStorage, VirtualClock, within};

use crate::{DAY, Report, ticks};

const PATIENCE: Duration = Duration::from_secs(30);

struct Fleet {
    clock: VirtualClock,
    storages: Vec<MemoryStorage>,
}

impl Fleet {
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
    let clock = VirtualClock::new();
    let storage = || MemoryStorage::new(Arc::new(clock.clone()));
    let fleet = Fleet {
        storages: (0..3).map(|_| storage()).collect(),
        clock: clock.clone(),
    };
    let cells: Cells = fleet.storages.iter().cloned().collect();
    let default = || "default".parse().unwrap();
    let (from, to) = (cells.of(&default()), (cells.of(&default()) + 1) % 3);
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
        entry.pause.is_none() && entry.next > Some(clock.now()),
        "{entry:?}"
    );
    second.shutdown().await;
}
