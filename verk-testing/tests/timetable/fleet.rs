//! Fleets of nodes on one storage in memory, in virtual time.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use verk_core::{
    Event, EventKind, Verk, VerkBuilder, Worker,
    cron::{CatchUp, Cron, CronEntry, Tick},
    events::Events,
    names::NodeId,
    storage::{DueStore as _, Lease},
    time::Clock as _,
};
use verk_testing::{MemoryStorage, VirtualClock, within};

use crate::{DAY, Later, OtherPolicy, Report, ticks};

const PATIENCE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);

/// A storage and its nodes.
pub(crate) struct Fleet {
    clock: VirtualClock,
    pub(crate) storage: MemoryStorage,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let clock = VirtualClock::new();
        let storage = MemoryStorage::new(Arc::new(clock.clone()));
        Self { clock, storage }
    }

    fn builder(&self, clock: &VirtualClock) -> VerkBuilder {
        Verk::builder()
            .storage(self.storage.clone())
            .clock(Arc::new(clock.clone()))
            .heartbeat(3_650 * DAY)
            .queue("nobody", 1)
    }

    /// A node that declares what a worker does.
    async fn node<W: Worker>(&self) -> (Verk, Events) {
        let verk = self.builder(&self.clock).register::<W>().build().await;
        let verk = verk.unwrap();
        let events = verk.events();
        verk.start().unwrap();
        (verk, events)
    }

    /// A node that declares nothing.
    pub(crate) async fn other(&self) -> (Verk, Events) {
        let verk = self.builder(&self.clock).build().await.unwrap();
        let events = verk.events();
        verk.start().unwrap();
        (verk, events)
    }

    /// Lets time pass until an entry is so. Each step is short for the managers.
    async fn until(
        &self,
        verk: &Verk,
        name: &str,
        is_so: impl Fn(&CronEntry) -> bool,
    ) -> CronEntry {
        self.until_in_steps(verk, name, Duration::from_millis(100), is_so)
            .await
    }

    pub(crate) async fn until_in_steps(
        &self,
        verk: &Verk,
        name: &str,
        step: Duration,
        is_so: impl Fn(&CronEntry) -> bool,
    ) -> CronEntry {
        within(PATIENCE, async {
            loop {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                match verk.cron().get(name).await {
                    Ok(Some(entry)) if is_so(&entry) => return entry,
                    _ => self.clock.advance(step),
                }
            }
        })
        .await
    }
}

async fn event(events: &mut Events, is_it: impl Fn(&EventKind) -> bool) -> Event {
    within(PATIENCE, async {
        loop {
            let event = events
                .recv()
                .await
                .expect("the node lives")
                .expect("no lag");
            if is_it(&event.what) {
                return event;
            }
        }
    })
    .await
}

fn expression(entry: &CronEntry) -> Option<&str> {
    entry.schedule.as_ref()?.expression()
}

#[tokio::test]
async fn after_an_outage_the_policy_decides() {
    for (catch_up, runs, missed) in [
        (CatchUp::None, 0, 3),
        (CatchUp::Last, 1, 2),
        (CatchUp::All, 3, 0),
    ] {
        let fleet = Fleet::new();
        let (verk, mut events) = fleet.other().await;
        let entry = Cron::every("100s")
            .class("A", [0])
            .queue("waits")
            .catch_up(catch_up);
        verk.cron().upsert("a", entry).await.unwrap();
        let first = verk.cron().get("a").await.unwrap().unwrap().next.unwrap();
        fleet.storage.faults().set_refusing(true);
        fleet.clock.advance(Duration::from_secs(350));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        fleet.storage.faults().set_refusing(false);
        let later = first + Duration::from_secs(300);
        let entry = fleet
            .until(&verk, "a", |entry| entry.next == Some(later))
            .await;
        assert_eq!((entry.runs, entry.missed), (runs, missed), "{catch_up:?}");
        let ticks = ticks(&fleet.storage, "waits").await;
        let told: u64 = ticks.iter().map(Tick::missed).sum();
        if catch_up == CatchUp::Last {
            assert_eq!(told, 2, "the job learns of it");
        }
        if missed > 0 {
            let is_it = |what: &EventKind| matches!(what, EventKind::CronMissed { .. });
            let event = event(&mut events, is_it).await;
            assert!(matches!(event.what, EventKind::CronMissed { missed: m, .. } if m == missed));
        }
        verk.shutdown().await;
    }
}

#[tokio::test]
async fn nodes_whose_clocks_differ_take_each_run_once() {
    let fleet = Fleet::new();
    let minutes = |start: SystemTime, minutes: i64| {
        let distance = MINUTE * u32::try_from(minutes.abs()).unwrap();
        if minutes < 0 {
            start - distance
        } else {
            start + distance
        }
    };
    let mut nodes = Vec::new();
    for skew in [0, 5, -5] {
        let clock = VirtualClock::starting_at(minutes(fleet.clock.now(), skew));
        let verk = fleet.builder(&clock).build().await.unwrap();
        verk.start().unwrap();
        nodes.push((verk, clock));
    }
    let entry = Cron::every("10m").class("A", [0]).queue("waits");
    nodes[0].0.cron().upsert("a", entry).await.unwrap();
    for _ in 0..240 {
        fleet.clock.advance(MINUTE / 2);
        for (_, clock) in &nodes {
            clock.advance(MINUTE / 2);
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let is_done = |entry: &CronEntry| entry.runs >= 12;
    let entry = fleet.until(&nodes[0].0, "a", is_done).await;
    assert_eq!((entry.runs, entry.missed), (12, 0));
    let mut due: Vec<SystemTime> = ticks(&fleet.storage, "waits")
        .await
        .iter()
        .map(Tick::due)
        .collect();
    assert_eq!(due.len(), 12);
    due.sort();
    due.dedup();
    assert_eq!(due.len(), 12);
    for (verk, _) in nodes {
        verk.shutdown().await;
    }
}

#[tokio::test]
async fn two_versions_side_by_side_agree_on_the_newer() {
    let fleet = Fleet::new();
    let (old, _) = fleet.node::<Report>().await;
    let entry = fleet.until(&old, "report", |_| true).await;
    assert_eq!(expression(&entry), Some("30 2 * * *"));

    let (new, _) = fleet.node::<Later>().await;
    let is_new = |entry: &CronEntry| expression(entry) == Some("45 3 * * *");
    fleet.until(&new, "report", is_new).await;

    // A node of the old version starts again, as one that crashed does.
    let (again, mut events) = fleet.node::<Report>().await;
    let is_it =
        |what: &EventKind| matches!(what, EventKind::CronDisagrees { name } if name == "report");
    event(&mut events, is_it).await;
    let entry = again.cron().get("report").await.unwrap().unwrap();
    assert!(is_new(&entry), "the newer one holds");

    // A rollback: no live node declares the new one.
    new.shutdown().await;
    let is_old = |entry: &CronEntry| expression(entry) == Some("30 2 * * *");
    fleet.until(&again, "report", is_old).await;
    old.shutdown().await;
    again.shutdown().await;
}

#[tokio::test]
async fn a_deploy_keeps_the_next_run_and_what_happened() {
    let fleet = Fleet::new();
    let (old, _) = fleet.node::<Report>().await;
    let before = fleet
        .until_in_steps(&old, "report", 5 * MINUTE, |entry| entry.runs == 2)
        .await;
    let (new, _) = fleet.node::<OtherPolicy>().await;
    let after = fleet
        .until(&new, "report", |entry| entry.catch_up == CatchUp::All)
        .await;
    assert_eq!((after.next, after.runs), (before.next, 2));
    assert_eq!(after.last, before.last);
    old.shutdown().await;
    let entry = fleet
        .until_in_steps(&new, "report", 5 * MINUTE, |entry| entry.runs >= 3)
        .await;
    assert_eq!(
        (entry.runs, entry.missed),
        (3, 0),
        "nothing twice, nothing missing"
    );
    new.shutdown().await;
}

#[tokio::test]
async fn an_entry_that_nobody_declares_runs_for_a_day_and_is_then_paused() {
    let fleet = Fleet::new();
    let (old, _) = fleet.node::<Report>().await;
    fleet.until(&old, "report", |_| true).await;
    let (other, mut events) = fleet.other().await;
    old.shutdown().await;
    let hour = 60 * MINUTE;
    let marked = fleet
        .until_in_steps(&other, "report", MINUTE, |entry| entry.orphaned.is_some())
        .await;
    assert!(marked.pause.is_none());
    let paused = fleet
        .until_in_steps(&other, "report", hour / 2, |entry| entry.pause.is_some())
        .await;
    assert_eq!(
        (paused.next, paused.runs),
        (None, 1),
        "it has run meanwhile"
    );
    assert_eq!(paused.pause.unwrap().by.as_deref(), Some("verk"));
    let is_it = |what: &EventKind| matches!(what, EventKind::CronOrphaned { .. });
    event(&mut events, is_it).await;

    let (back, _) = fleet.node::<Report>().await;
    let entry = fleet
        .until(&back, "report", |entry| entry.next.is_some())
        .await;
    assert!(entry.pause.is_none());
    fleet
        .until(&back, "report", |entry| entry.orphaned.is_none())
        .await;
    other.shutdown().await;
    back.shutdown().await;
}

#[tokio::test]
async fn a_run_is_taken_while_the_holder_of_the_lease_stands_still() {
    let fleet = Fleet::new();
    let frozen = NodeId::register("frozen").unwrap();
    let poll = fleet.storage.poll_schedule(&frozen, 365 * DAY).await;
    assert_eq!(poll.unwrap().lease, Lease::Granted);
    let (verk, _) = fleet.other().await;
    let entry = Cron::every("1m").class("A", [0]).queue("waits");
    verk.cron().upsert("a", entry).await.unwrap();
    let entry = fleet.until(&verk, "a", |entry| entry.runs == 2).await;
    assert_eq!(entry.missed, 0);
    verk.shutdown().await;
}
