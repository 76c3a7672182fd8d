//! Periodic jobs that an operator stored.

use verk_core::{
    cron::Cron,
    manage::{LeftReason, Migrated, PauseNote},
};

use crate::Fleet;

fn daily(class: &str) -> Cron {
    Cron::new("0 7 * * *").class(class, [1]).queue("reports")
}

async fn filled() -> Fleet {
    let fleet = Fleet::of(1);
    let timetable = fleet.admin.cron();
    timetable.upsert("daily", daily("Report")).await.unwrap();
    timetable.upsert("paused", daily("Sync")).await.unwrap();
    let note = PauseNote::new().by("bea");
    timetable.pause("paused", note).await.unwrap();
    fleet
}

async fn check(source: &Fleet, target: &Fleet) {
    let timetable = source.admin.cron();
    for name in ["daily", "paused"] {
        assert!(timetable.get(name).await.unwrap().is_none());
    }
    let timetable = target.admin.cron();
    let entry = timetable.get("daily").await.unwrap().unwrap();
    assert!(entry.next.is_some() && entry.pause.is_none());
    assert_eq!(
        (entry.class.as_str(), entry.args.as_str()),
        ("Report", "[1]")
    );
    let entry = timetable.get("paused").await.unwrap().unwrap();
    let pause = entry.pause.unwrap();
    assert_eq!((pause.by.as_deref(), entry.next), (Some("bea"), None));
}

#[tokio::test]
async fn they_move_with_their_pauses() {
    let (source, target) = (filled().await, Fleet::of(3));
    let report = source.migrate(&target).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    let counts = &report.places[0];
    assert_eq!(counts.place, Migrated::PeriodicJobs);
    assert_eq!((counts.found, counts.moved, counts.left), (2, 2, 0));
    assert_eq!((counts.before, counts.after), (0, 2));
    check(&source, &target).await;
}

#[tokio::test]
async fn a_crash_at_each_step_moves_them_once() {
    for (in_source, replies) in [(true, true), (true, false), (false, true), (false, false)] {
        for after in 0.. {
            let (source, target) = (filled().await, Fleet::of(1));
            let fleet = if in_source { &source } else { &target };
            let faults = fleet.memories[0].faults();
            match replies {
                true => faults.refuse_after(after),
                false => faults.lose_after(after),
            }
            let run = source.migrate(&target).await;
            faults.set_refusing(false);
            if run.is_err() {
                // Never both run it.
                let named = async |fleet: &Fleet| fleet.admin.cron().get("daily").await.unwrap();
                let (here, there) = (named(&source).await, named(&target).await);
                let runs = [here, there].map(|it| it.is_some_and(|it| it.next.is_some()));
                assert_ne!(runs, [true, true]);
            }
            assert!(source.migrate(&target).await.unwrap().is_complete());
            check(&source, &target).await;
            if run.is_ok() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn another_entry_of_the_name_stays() {
    let (source, target) = (filled().await, Fleet::of(1));
    let timetable = target.admin.cron();
    timetable.upsert("daily", daily("Other")).await.unwrap();
    let report = source.migrate(&target).await.unwrap();
    assert_eq!((report.moved(), report.left()), (1, 1));
    assert_eq!(report.left[0].id, "daily");
    assert_eq!(report.left[0].reason, LeftReason::OtherEntry);
    let entry = source.admin.cron().get("daily").await.unwrap().unwrap();
    assert!(entry.next.is_some(), "it still runs where it is");
}
