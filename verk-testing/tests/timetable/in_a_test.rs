//! Periodic jobs in a [`TestVerk`].

use std::time::Duration;

use futures_util::FutureExt as _;
use verk_core::{
    BuildError, EventKind, Verk,
    cron::{CatchUp, Cron, CronError},
    manage::PauseNote,
    storage::Page,
    time::Clock as _,
};
use verk_testing::{MemoryStorage, Operation, TestVerk};

use crate::{DAY, Fails, Report, Wrong, at, ticks};

const ALL: Page = Page {
    offset: 0,
    limit: 100,
};

#[tokio::test]
async fn a_worker_declares_its_periodic_jobs() {
    let verk = TestVerk::builder().cron::<Report>().build();
    let entry = verk.verk().cron().get("report").await.unwrap().unwrap();
    assert_eq!(entry.class, "Report");
    assert!(entry.words.contains("Europe/Berlin"), "{}", entry.words);
    let done = verk.advance(365 * DAY).await;
    assert_eq!((done.succeeded, done.failed), (365, 0), "{done:?}");
    verk.assert_ticks("report", 365);
}

/// So two nodes that take the same run give its job the same id.
#[tokio::test]
async fn the_id_of_a_run_follows_from_its_name_and_its_time() {
    let verk = TestVerk::builder().build();
    let timetable = verk.verk().cron();
    let entry = Cron::every("1h").class("Nobody", [1]).queue("aside");
    timetable.upsert("hourly", entry).await.unwrap();
    verk.advance(DAY / 24).await;
    let entry = timetable.get("hourly").await.unwrap().unwrap();
    let jid = entry.last[0].jid.as_ref().map(|jid| jid.as_str());
    // The first 24 hex digits of the SHA-256 of "hourly\n1735693200000000".
    assert_eq!(jid, Some("307e7efbad303618407bbdef"));
}

#[tokio::test]
async fn periodic_jobs_of_other_workers_do_not_run_in_a_test() {
    let verk = TestVerk::builder().register::<Report>().build();
    verk.advance(10 * DAY).await;
    assert_eq!(verk.totals().ended(), 0);
    assert!(verk.verk().cron().list(ALL).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_time_that_the_clocks_skip_or_repeat_is_taken_once() {
    // Midnight in UTC before the clocks change in Berlin, in spring and in autumn of 2025.
    for midnight in [1_743_292_800, 1_761_436_800] {
        let verk = TestVerk::builder()
            .starting_at(at(midnight))
            .cron::<Report>()
            .build();
        verk.advance(DAY / 2).await;
        verk.assert_ticks("report", 1);
    }
}

#[tokio::test]
async fn after_a_dead_job_the_next_run_comes() {
    let verk = TestVerk::builder().cron::<Fails>().build();
    let done = verk.advance(3 * DAY).await;
    assert_eq!((done.dead, done.succeeded), (3, 0));
    verk.assert_ticks("fails", 3);
}

#[tokio::test]
async fn a_wrong_declaration_is_an_error_of_build() {
    let build = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("default", 1)
        .register::<Wrong>()
        .build();
    let Err(BuildError::Config(errors)) = build.await else {
        panic!("it builds");
    };
    assert!(errors.to_string().contains("\"wrong\""), "{errors}");
    assert!(errors.to_string().contains("0 to 59"), "{errors}");
}

#[tokio::test]
async fn an_entry_is_stored_replaced_and_removed() {
    let verk = TestVerk::new();
    let timetable = verk.verk().cron();
    let entry = |period| Cron::every(period).class("Sync", [7]).queue("sync");
    assert!(timetable.upsert("sync", entry("10m")).await.unwrap());
    assert!(!timetable.upsert("sync", entry("10m")).await.unwrap());
    let stored = timetable.get("sync").await.unwrap().unwrap();
    assert_eq!(stored.words, "every 10 minutes");
    assert_eq!(
        (stored.class.as_str(), stored.args.as_str()),
        ("Sync", "[7]")
    );
    assert_eq!(stored.upcoming.len(), 5);
    assert_eq!(stored.next, Some(stored.upcoming[0]));

    verk.advance(Duration::from_secs(900)).await;
    verk.assert_ticks("sync", 1);
    assert!(timetable.upsert("sync", entry("5m")).await.unwrap());
    verk.advance(Duration::from_secs(900)).await;
    verk.assert_ticks("sync", 4);

    assert!(timetable.remove("sync").await.unwrap());
    assert!(!timetable.remove("sync").await.unwrap());
    let mut ticked = verk
        .events()
        .only(|what| matches!(what, EventKind::CronTicked { .. }));
    verk.advance(DAY).await;
    assert!(ticked.recv().now_or_never().is_none(), "no run follows");
}

#[tokio::test]
async fn what_is_no_entry_is_refused() {
    let verk = TestVerk::new();
    let timetable = verk.verk().cron();
    let class = |cron: Cron| cron.class("A", [0]);
    let refused = async |name: &str, entry| timetable.upsert(name, entry).await.unwrap_err();
    let error = refused("a", class(Cron::new("0 0 1--100000000 * *"))).await;
    assert!(matches!(error, CronError::Schedule(_)), "{error}");
    let error = refused("a", class(Cron::new("@daily").tz("Mars/Olympus"))).await;
    assert!(matches!(error, CronError::Schedule(_)), "{error}");
    let error = refused("a", class(Cron::every("often"))).await;
    assert!(matches!(error, CronError::Period { .. }), "{error}");
    let error = refused("a", Cron::new("@daily")).await;
    assert!(matches!(error, CronError::NoJob), "{error}");
    let error = refused("a", Cron::new("@daily").class("A", 7)).await;
    assert!(matches!(error, CronError::Job(_)), "{error}");
    let error = refused("two\nlines", class(Cron::new("@daily"))).await;
    assert!(matches!(error, CronError::InvalidName(_)), "{error}");
    assert!(timetable.list(ALL).await.unwrap().is_empty());
    let error = timetable.run_now("a").await.unwrap_err();
    assert!(matches!(error, CronError::NoEntry { .. }), "{error}");
}

#[tokio::test]
async fn a_paused_entry_makes_up_for_nothing() {
    let verk = TestVerk::new();
    let timetable = verk.verk().cron();
    let daily = || Cron::new("@daily").class("A", [0]).catch_up(CatchUp::All);
    timetable.upsert("a", daily()).await.unwrap();
    assert!(
        timetable
            .pause("a", PauseNote::new().by("ada"))
            .await
            .unwrap()
    );
    assert!(!timetable.pause("a", PauseNote::new()).await.unwrap());
    verk.advance(3 * DAY).await;
    verk.assert_ticks("a", 0);
    let jid = timetable.run_now("a").await.unwrap();
    let entry = timetable.get("a").await.unwrap().unwrap();
    assert_eq!(entry.pause.unwrap().by.as_deref(), Some("ada"));
    assert_eq!((entry.next, entry.runs), (None, 1));
    assert_eq!(
        (entry.last[0].jid.as_ref(), entry.last[0].asked),
        (Some(&jid), true)
    );
    assert!(timetable.resume("a").await.unwrap());
    assert!(!timetable.resume("a").await.unwrap());
    verk.advance(2 * DAY).await;
    verk.assert_ticks("a", 3);
}

#[tokio::test]
async fn a_run_that_is_asked_for_leaves_the_next_alone() {
    let verk = TestVerk::new();
    let timetable = verk.verk().cron();
    let entry = Cron::every("1h")
        .class("A", [0])
        .splay(Duration::from_secs(600));
    timetable.upsert("a", entry).await.unwrap();
    let next = timetable.get("a").await.unwrap().unwrap().next;
    timetable.run_now("a").await.unwrap();
    assert_eq!(timetable.get("a").await.unwrap().unwrap().next, next);
    let ticks = ticks(verk.storage(), "default").await;
    assert_eq!(ticks.len(), 1);
    assert_eq!(ticks[0].due(), verk.clock().now());
}

#[tokio::test]
async fn a_splay_spreads_the_jobs_of_entries() {
    let verk = TestVerk::new();
    for number in 0..20 {
        let entry = Cron::every("1h")
            .class("A", [number])
            .queue("spread")
            .splay(Duration::from_secs(600));
        let name = format!("entry {number}");
        verk.verk().cron().upsert(&name, entry).await.unwrap();
    }
    let hour = Duration::from_secs(3_600);
    verk.advance(hour).await;
    let scheduled = verk.verk().admin().scheduled_set().count().await.unwrap();
    assert!(scheduled > 10, "{scheduled}");
    verk.advance(Duration::from_secs(600)).await;
    assert_eq!(
        verk.verk().admin().scheduled_set().count().await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_lost_reply_repeats_no_run() {
    let verk = TestVerk::builder().cron::<Report>().build();
    let mut lost = verk
        .events()
        .only(|what| matches!(what, EventKind::ReplyLost { .. }));
    verk.storage().faults().lose_reply(Operation::TickCron);
    verk.advance(3 * DAY).await;
    verk.assert_ticks("report", 3);
    assert_eq!(verk.totals().succeeded, 3);
    assert!(lost.recv().await.unwrap().is_ok());
}

#[tokio::test]
async fn events_say_what_was_enqueued() {
    let verk = TestVerk::builder().cron::<Report>().build();
    let mut events = verk
        .events()
        .only(|what| matches!(what, EventKind::CronTicked { .. }));
    verk.advance(DAY).await;
    let event = events.recv().await.unwrap().unwrap();
    let EventKind::CronTicked { name, missed, .. } = event.what else {
        panic!("{event:?}");
    };
    assert_eq!((name.as_str(), missed), ("report", 0));
    assert_eq!(event.job.unwrap().class(), "Report");
}
