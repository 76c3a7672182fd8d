//! Periodic jobs on a node, when something is wrong with one of them.

use std::time::Duration;

use verk::{
    EventKind,
    cron::{CatchUp, Cron},
    storage::{CronChange, CronStore, CronUpsert},
    time::Clock,
};
use verk_testing::Key;

use crate::support::{Fixture, queue_name};

/// Runs that no node took in time are no secret.
#[tokio::test]
async fn runs_that_were_missed_are_told() {
    let mut it = Fixture::new().await;
    let entry = Cron::every("1m").class("Nobody", [1]).queue("aside");
    let entry = entry.catch_up(CatchUp::None);
    it.verk.cron().upsert("beat", entry).await.unwrap();
    it.advance(Duration::from_secs(3600));
    it.verk.start().unwrap();
    let missed = it
        .wait_for(|event| match event.what {
            EventKind::CronMissed { name, missed, .. } => Some((name, missed)),
            _ => None,
        })
        .await;
    // The last of the sixty is due now, and not late.
    assert_eq!(missed, ("beat".to_owned(), 59));
    assert_eq!(it.queued("aside").await.len(), 1);
    it.verk.shutdown().await;
}

/// An entry that cannot run, and one whose queue is broken, delay no other.
#[tokio::test]
async fn a_broken_entry_holds_up_no_other() {
    let mut it = Fixture::new().await;
    let timetable = it.verk.cron();
    let entry = |queue: &str| Cron::every("1s").class("Nobody", [1]).queue(queue);
    timetable.upsert("refused", entry("broken")).await.unwrap();
    timetable.upsert("well", entry("aside")).await.unwrap();
    let damaged = CronUpsert {
        seen: None,
        queue: None,
        definition: "no definition".into(),
        hash: "0".to_owned(),
        next: Some(it.clock.now()),
        even_if_superseded: false,
    };
    let stored = it.storage.upsert_cron("damaged", &damaged).await.unwrap();
    assert_eq!(stored, CronChange::Done);
    let broken = Key::Queue(queue_name("broken"));
    it.storage.faults().break_key(broken.clone());
    it.advance(Duration::from_secs(2));
    it.verk.start().unwrap();
    let ticked = it
        .wait_for(|event| match event.what {
            EventKind::CronTicked { name, .. } => Some(name),
            _ => None,
        })
        .await;
    assert_eq!(ticked, "well");
    assert_eq!(it.queued("aside").await.len(), 1);
    it.verk.shutdown().await;
    let entry = timetable.get("damaged").await.unwrap().unwrap();
    assert!(entry.damaged.is_some());
    it.storage.faults().mend_key(&broken);
    assert_eq!(it.queued("broken").await.len(), 0);
}
