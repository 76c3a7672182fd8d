//! The timetable: [`CronStore`](verk_core::storage::CronStore).

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::future::join_all;
use verk_core::{
    error::Applied,
    storage::{
        CronChange, CronPush, CronSeen, CronTick, CronUpsert, JobSet, MAX_BATCH_BYTES,
        MAX_CRON_RECORDS, MAX_SUPERSEDED, Page, Storage, StoredCron, Ticked,
    },
};

use super::{
    Harness,
    fixture::{
        ALL, AT_0, Fixture, TTL, assert_refused, at, bytes, due, first, job, members, node_id,
        queue_name, queue_page,
    },
};
use crate::{Key, Operation};

/// An entry has what was stored, and nothing happened to it yet.
pub async fn an_entry_is_read_as_it_was_stored(harness: &dyn Harness) {
    let storage = harness.storage();
    assert_eq!(entry(&*storage, "a").await, None);
    store(&*storage, "a", 60).await;
    let stored = StoredCron {
        name: "a".to_owned(),
        definition: job("a, 60"),
        hash: "a60".to_owned(),
        revision: 1,
        next: Some(at(60)),
        ..StoredCron::default()
    };
    assert_eq!(entry(&*storage, "a").await, Some(stored.clone()));
    assert_eq!(storage.cron_entries(ALL).await.unwrap(), [stored]);
}

/// Entries are read in the order in which they run, those that run no more last, and equal ones by
/// name. Reading changes nothing.
pub async fn entries_are_read_in_order(harness: &dyn Harness) {
    let storage = harness.storage();
    for (name, seconds) in [("c", 10), ("b:x", 20), ("a", 20), ("d", 5), ("e", 30)] {
        store(&*storage, name, seconds).await;
    }
    assert!(storage.pause_cron("d", &"note".into()).await.unwrap());
    let before = harness.dump().await;
    let names = async |page| {
        let entries = storage.cron_entries(page).await.unwrap();
        let names = entries.into_iter().map(|entry| entry.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(ALL).await, ["c", "a", "b:x", "e", "d"]);
    assert_eq!(names(first(2)).await, ["c", "a"]);
    let (offset, limit) = (2, 2);
    assert_eq!(names(Page { offset, limit }).await, ["b:x", "e"]);
    let (offset, limit) = (5, 2);
    assert_eq!(names(Page { offset, limit }).await, [""; 0]);
    let asked = ["e", "nobody", "a"].map(str::to_owned);
    let named = storage.cron_named(&asked).await.unwrap();
    let named = named.into_iter().map(|entry| entry.map(|entry| entry.name));
    let expected = [Some("e".to_owned()), None, Some("a".to_owned())];
    assert_eq!(named.collect::<Vec<_>>(), expected);
    assert_eq!(harness.dump().await, before);
}

/// A page has as many entries as fit into a batch. All names get an answer, however many.
pub async fn many_entries_are_read_in_parts(harness: &dyn Harness) {
    let storage = harness.storage();
    let names: Vec<String> = (0..5).map(|number| format!("large {number}")).collect();
    for name in &names {
        let definition = vec![b'x'; MAX_BATCH_BYTES / 2];
        let upsert = CronUpsert {
            definition: definition.into(),
            ..upsert(name, 60)
        };
        let stored = storage.upsert_cron(name, &upsert).await.unwrap();
        assert_eq!(stored, CronChange::Done);
    }
    let page = storage.cron_entries(ALL).await.unwrap();
    assert!((1..=2).contains(&page.len()), "{}", page.len());
    let named = storage.cron_named(&names).await.unwrap();
    assert!(named.iter().all(Option::is_some), "{}", named.len());
    let nobody = vec!["nobody".to_owned(); 250];
    let named = storage.cron_named(&nobody).await.unwrap();
    assert_eq!(named, vec![None; 250]);
}

/// A definition is replaced only by a caller who has seen the last one. The counts stay.
pub async fn an_upsert_compares_what_was_seen(harness: &dyn Harness) {
    let storage = harness.storage();
    store(&*storage, "a", 60).await;
    tick(&*storage, "a", 120, &["x"]).await;
    let was = entry(&*storage, "a").await.unwrap();
    let seen = was.seen();
    let before = harness.dump().await;
    let wrong = [
        None,
        Some(CronSeen {
            revision: 2,
            ..seen
        }),
        Some(CronSeen {
            next: Some(at(60)),
            ..seen
        }),
        Some(CronSeen { next: None, ..seen }),
    ];
    for seen in wrong {
        let upsert = CronUpsert {
            seen,
            ..upsert("a", 90)
        };
        let answer = storage.upsert_cron("a", &upsert).await.unwrap();
        assert_eq!(answer, CronChange::Differs, "{seen:?}");
    }
    let upsert = CronUpsert {
        seen: Some(seen),
        ..upsert("a", 90)
    };
    let absent = storage.upsert_cron("b", &upsert).await.unwrap();
    assert_eq!(absent, CronChange::Differs, "there is no such entry");
    assert_eq!(harness.dump().await, before);

    let answer = storage.upsert_cron("a", &upsert).await.unwrap();
    assert_eq!(answer, CronChange::Done);
    let expected = StoredCron {
        definition: job("a, 90"),
        hash: "a90".to_owned(),
        revision: 2,
        next: Some(at(90)),
        ..was
    };
    assert_eq!(entry(&*storage, "a").await, Some(expected));
    let again = storage.upsert_cron("a", &upsert).await.unwrap();
    assert_eq!(again, CronChange::Differs, "a second time");
}

/// Of many that store the same entry at once, one does.
pub async fn of_many_upserts_at_once_one_takes_effect(harness: &dyn Harness) {
    let storage = harness.storage();
    let new = upsert("a", 60);
    let upserts = (0..20).map(|_| storage.upsert_cron("a", &new));
    let answers = join_all(upserts).await;
    let done = |answer: &Result<_, _>| *answer.as_ref().unwrap() == CronChange::Done;
    assert_eq!(answers.iter().filter(|answer| done(answer)).count(), 1);
    assert_eq!(entry(&*storage, "a").await.unwrap().revision, 1);
}

/// A definition that was replaced comes back only if it is asked for. The newest so many are
/// remembered.
pub async fn a_superseded_definition_stays_away(harness: &dyn Harness) {
    let storage = harness.storage();
    let replace = async |seconds, even_if_superseded| {
        let entry = entry(&*storage, "a").await;
        let upsert = CronUpsert {
            seen: entry.map(|entry| entry.seen()),
            even_if_superseded,
            ..upsert("a", seconds)
        };
        storage.upsert_cron("a", &upsert).await.unwrap()
    };
    assert_eq!(replace(1, false).await, CronChange::Done);
    assert_eq!(replace(2, false).await, CronChange::Done);
    let before = harness.dump().await;
    assert_eq!(replace(1, false).await, CronChange::Superseded);
    assert_eq!(harness.dump().await, before);
    assert_eq!(replace(2, false).await, CronChange::Done, "it is there");
    assert_eq!(replace(1, true).await, CronChange::Done, "a rollback");
    assert_eq!(replace(2, false).await, CronChange::Superseded);
    assert_eq!(replace(1, false).await, CronChange::Done, "it is there");
    for number in 0..MAX_SUPERSEDED as u64 - 1 {
        assert_eq!(replace(100 + number, false).await, CronChange::Done);
    }
    assert_eq!(replace(2, false).await, CronChange::Superseded);
    assert_eq!(replace(50, false).await, CronChange::Done);
    assert_eq!(replace(2, false).await, CronChange::Done, "forgotten");
}

/// A tick enqueues, moves on and counts, in one step, and only once.
pub async fn a_tick_enqueues_once(harness: &dyn Harness) {
    let storage = harness.storage();
    store(&*storage, "a", 60).await;
    let queue = |name, payload| CronPush::Queue {
        queue: queue_name(name),
        job: job(payload),
    };
    let ticks = [
        vec![queue("default", "1")],
        vec![
            queue("default", "2"),
            queue("mailers", "3"),
            queue("default", "4"),
        ],
        vec![CronPush::Later(due(90, "5")), queue("default", "6")],
        vec![],
    ];
    for (number, pushes) in ticks.into_iter().enumerate() {
        let was = entry(&*storage, "a").await.unwrap();
        let next = at(120 + number as u64);
        let tick = CronTick {
            seen: was.seen(),
            next: Some(next),
            missed: 2,
            locked: None,
            record: format!("tick {number}").into(),
            pushes,
        };
        assert_eq!(storage.tick_cron("a", &tick).await.unwrap(), Ticked::Done);
        let before = harness.dump().await;
        let expected = StoredCron {
            next: Some(next),
            runs: was.runs + tick.pushes.len() as u64,
            missed: was.missed + 2,
            last: [vec![tick.record.clone()], was.last.clone()].concat(),
            ..was
        };
        assert_eq!(entry(&*storage, "a").await, Some(expected), "{number}");
        assert_eq!(
            storage.tick_cron("a", &tick).await.unwrap(),
            Ticked::Differs
        );
        assert_eq!(harness.dump().await, before, "{number}");
    }
    let jobs = async |name| queue_page(&*storage, &queue_name(name), ALL).await;
    assert_eq!(jobs("default").await, bytes(&["1", "2", "4", "6"]));
    assert_eq!(jobs("mailers").await, bytes(&["3"]));
    let scheduled = members(&*storage, JobSet::Schedule).await;
    assert_eq!(scheduled, [(AT_0 + 90.0, job("5"))]);
    let queues = storage.queues().await.unwrap();
    assert_eq!(queues, ["default", "mailers"].map(queue_name));
}

/// Of many nodes that see the same run, one enqueues it.
pub async fn of_many_ticks_at_once_one_takes_effect(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    store(&*fixture.storage, "a", 60).await;
    let tick = tick_of(&entry(&*fixture.storage, "a").await.unwrap(), 120, &["x"]);
    let answers = join_all((0..20).map(|_| fixture.storage.tick_cron("a", &tick))).await;
    let done = |answer: &Result<_, _>| *answer.as_ref().unwrap() == Ticked::Done;
    assert_eq!(answers.iter().filter(|answer| done(answer)).count(), 1);
    assert_eq!(fixture.queued().await, bytes(&["x"]));
}

/// A tick of an entry that has changed since it was read has no effect.
pub async fn a_tick_of_an_old_state_changes_nothing(harness: &dyn Harness) {
    let storage = harness.storage();
    type Change = fn(CronSeen) -> CronUpsert;
    let changes: [(&str, Option<Change>); 4] = [
        (
            "replaced",
            Some(|seen| CronUpsert {
                seen: Some(seen),
                ..upsert("replaced", 60)
            }),
        ),
        ("paused", None),
        ("removed", None),
        ("ticked", None),
    ];
    for (name, change) in changes {
        store(&*storage, name, 60).await;
        let was = entry(&*storage, name).await.unwrap();
        match (name, change) {
            (_, Some(change)) => {
                let upsert = change(was.seen());
                storage.upsert_cron(name, &upsert).await.map(drop)
            }
            ("paused", _) => storage.pause_cron(name, &"n".into()).await.map(drop),
            ("removed", _) => storage.remove_cron(name).await.map(drop),
            _ => {
                tick(&*storage, name, 120, &[]).await;
                Ok(())
            }
        }
        .unwrap();
        let before = harness.dump().await;
        let answer = storage.tick_cron(name, &tick_of(&was, 180, &["x"])).await;
        assert_eq!(answer.unwrap(), Ticked::Differs, "{name}");
        assert_eq!(harness.dump().await, before, "{name}");
    }
}

/// A run that is asked for enqueues, and does not touch the time of the next. A paused entry can be
/// asked too.
pub async fn a_run_can_be_asked_for(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    store(storage, "a", 60).await;
    tick(storage, "a", 60, &["x"]).await;
    assert_eq!(entry(storage, "a").await.unwrap().next, Some(at(60)));
    storage.pause_cron("a", &"note".into()).await.unwrap();
    let was = entry(storage, "a").await.unwrap();
    let asked = CronTick {
        next: None,
        ..tick_of(&was, 0, &["y"])
    };
    let answer = storage.tick_cron("a", &asked).await.unwrap();
    assert_eq!(answer, Ticked::Done);
    assert_eq!(entry(storage, "a").await.unwrap().runs, 2);
    assert_eq!(fixture.queued().await, bytes(&["x", "y"]));
}

/// The newest records are kept.
pub async fn old_records_are_dropped(harness: &dyn Harness) {
    let storage = harness.storage();
    store(&*storage, "a", 60).await;
    for number in 0..MAX_CRON_RECORDS as u64 + 3 {
        tick(&*storage, "a", 61 + number, &[]).await;
    }
    let last = entry(&*storage, "a").await.unwrap().last;
    let expected = (0..MAX_CRON_RECORDS as u64).map(|back| 61 + MAX_CRON_RECORDS as u64 + 2 - back);
    let expected: Vec<Bytes> = expected.map(|next| record(next).into()).collect();
    assert_eq!(last, expected);
}

/// A paused entry has no next run until it is resumed. A definition may change meanwhile.
pub async fn a_paused_entry_does_not_run(harness: &dyn Harness) {
    let storage = &*harness.storage();
    assert!(!storage.pause_cron("a", &"note".into()).await.unwrap());
    store(storage, "a", 60).await;
    assert!(storage.pause_cron("a", &"by ada".into()).await.unwrap());
    let paused = entry(storage, "a").await.unwrap();
    assert_eq!((paused.next, &paused.pause), (None, &Some(job("by ada"))));
    assert!(!storage.pause_cron("a", &"again".into()).await.unwrap());
    assert_eq!(entry(storage, "a").await, Some(paused.clone()));
    assert_eq!(next_of_poll(storage).await, None);

    let replaced = CronUpsert {
        seen: Some(paused.seen()),
        ..upsert("a", 90)
    };
    let answer = storage.upsert_cron("a", &replaced).await.unwrap();
    assert_eq!(answer, CronChange::Done);
    assert_eq!(
        entry(storage, "a").await.unwrap().next,
        None,
        "still paused"
    );

    let answer = storage.resume_cron("a", &paused.seen(), Some(at(70))).await;
    assert_eq!(answer.unwrap(), CronChange::Differs, "of the old state");
    let seen = entry(storage, "a").await.unwrap().seen();
    let answer = storage.resume_cron("a", &seen, Some(at(70))).await.unwrap();
    assert_eq!(answer, CronChange::Done);
    let resumed = entry(storage, "a").await.unwrap();
    assert_eq!((resumed.next, &resumed.pause), (Some(at(70)), &None));
    let seen = resumed.seen();
    let answer = storage.resume_cron("a", &seen, Some(at(80))).await.unwrap();
    assert_eq!(answer, CronChange::Differs, "not paused");
    assert_eq!(entry(storage, "a").await, Some(resumed));
}

/// An entry is marked and removed; nothing of it stays.
pub async fn an_entry_is_marked_and_removed(harness: &dyn Harness) {
    let storage = &*harness.storage();
    let empty = harness.dump().await;
    assert!(!storage.mark_cron("a", Some(at(1))).await.unwrap());
    assert!(!storage.remove_cron("a").await.unwrap());
    assert_eq!(harness.dump().await, empty);
    store(storage, "a", 60).await;
    for since in [Some(at(1)), Some(at(2)), None] {
        assert!(storage.mark_cron("a", since).await.unwrap());
        let stored = entry(storage, "a").await.unwrap();
        assert_eq!((stored.orphaned, stored.revision), (since, 1));
    }
    storage.mark_cron("a", Some(at(1))).await.unwrap();
    tick(storage, "a", 90, &[]).await;
    storage.pause_cron("a", &"note".into()).await.unwrap();
    assert!(storage.remove_cron("a").await.unwrap());
    assert!(!storage.remove_cron("a").await.unwrap());
    assert_eq!(harness.dump().await, empty);
}

/// The node that has the lease learns when the first entry is due.
pub async fn the_lease_tells_when_the_first_entry_is_due(harness: &dyn Harness) {
    let storage = &*harness.storage();
    assert_eq!(next_of_poll(storage).await, None);
    store(storage, "a", 60).await;
    assert_eq!(next_of_poll(storage).await, Some(at(60)));
    store(storage, "b", 30).await;
    assert_eq!(next_of_poll(storage).await, Some(at(30)));
    tick(storage, "b", 90, &[]).await;
    assert_eq!(next_of_poll(storage).await, Some(at(60)));
    let never = CronTick {
        next: None,
        ..tick_of(&entry(storage, "a").await.unwrap(), 0, &[])
    };
    storage.tick_cron("a", &never).await.unwrap();
    assert_eq!(next_of_poll(storage).await, Some(at(90)));
    harness.break_key(&Key::CronDue).await;
    let next = next_of_poll(storage).await.expect("a time in the past");
    assert!(next < at(0));
    harness.mend_key(&Key::CronDue).await;
}

/// A full backend refuses a tick that enqueues, whole. Ticks that do not, and what operators ask
/// for, take effect.
pub async fn a_full_backend_refuses_only_new_jobs(harness: &dyn Harness) {
    let storage = &*harness.storage();
    for name in ["a", "b", "c"] {
        store(storage, name, 60).await;
    }
    harness.fill().await;
    let before = harness.dump().await;
    let was = entry(storage, "a").await.unwrap();
    let refused = storage.tick_cron("a", &tick_of(&was, 90, &["x"])).await;
    assert_refused(refused, Applied::NotApplied);
    let later = CronTick {
        pushes: vec![CronPush::Later(due(90, "x"))],
        ..tick_of(&was, 90, &[])
    };
    assert_refused(storage.tick_cron("a", &later).await, Applied::NotApplied);
    let refused = storage.upsert_cron("d", &upsert("d", 60)).await;
    assert_refused(refused, Applied::NotApplied);
    assert_eq!(harness.dump().await, before);

    tick(storage, "a", 90, &[]).await;
    assert!(storage.pause_cron("b", &"note".into()).await.unwrap());
    let seen = entry(storage, "b").await.unwrap().seen();
    let resumed = storage.resume_cron("b", &seen, Some(at(90))).await.unwrap();
    assert_eq!(resumed, CronChange::Done);
    assert!(storage.mark_cron("b", Some(at(1))).await.unwrap());
    assert!(storage.remove_cron("c").await.unwrap());
    harness.make_room().await;
    tick(storage, "a", 120, &["x"]).await;
}

/// Without a key of the right type, nothing happens, and the caller learns it.
pub async fn a_broken_key_stops_the_timetable(harness: &dyn Harness) {
    let storage = &*harness.storage();
    store(storage, "a", 60).await;
    let was = entry(storage, "a").await.unwrap();
    let note: Bytes = "note".into();
    for key in [Key::Cron, Key::CronDue] {
        harness.break_key(&key).await;
        let before = harness.dump().await;
        let not_applied = Applied::NotApplied;
        assert_refused(storage.cron_entries(ALL).await, not_applied);
        let named = storage.cron_named(&["a".to_owned()]).await;
        assert_refused(named, not_applied);
        let new = storage.upsert_cron("b", &upsert("b", 60)).await;
        assert_refused(new, not_applied);
        let ticked = storage.tick_cron("a", &tick_of(&was, 90, &["x"])).await;
        assert_refused(ticked, not_applied);
        assert_refused(storage.pause_cron("a", &note).await, not_applied);
        let resumed = storage.resume_cron("a", &was.seen(), None).await;
        assert_refused(resumed, not_applied);
        assert_refused(storage.mark_cron("a", None).await, not_applied);
        assert_refused(storage.remove_cron("a").await, not_applied);
        assert_eq!(harness.dump().await, before);
        harness.mend_key(&key).await;
    }
    let later = CronPush::Later(due(90, "x"));
    let queued = CronPush::Queue {
        queue: queue_name("default"),
        job: job("x"),
    };
    for key in [
        Key::Queue(queue_name("default")),
        Key::Set(JobSet::Schedule),
    ] {
        harness.break_key(&key).await;
        let before = harness.dump().await;
        for pushes in [
            vec![queued.clone(), later.clone()],
            vec![later.clone(), queued.clone()],
        ] {
            let both = CronTick {
                pushes,
                ..tick_of(&was, 90, &[])
            };
            assert_refused(storage.tick_cron("a", &both).await, Applied::NotApplied);
        }
        assert_eq!(harness.dump().await, before);
        harness.mend_key(&key).await;
    }
    tick(storage, "a", 90, &["x"]).await;
}

/// After a lost reply, the entry says whether the tick took effect.
// matrix: cron × lost reply
pub async fn a_lost_reply_is_resolved_by_reading(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    store(storage, "a", 60).await;
    tick(storage, "a", 90, &["x"]).await;
    let was = entry(storage, "a").await.unwrap();
    let next = tick_of(&was, 120, &["y"]);
    harness.lose_reply(Operation::TickCron).await;
    assert_refused(storage.tick_cron("a", &next).await, Applied::Unknown);
    let now = entry(storage, "a").await.unwrap();
    assert_eq!((now.next, now.runs), (Some(at(120)), was.runs + 1));
    let again = storage.tick_cron("a", &next).await.unwrap();
    assert_eq!(again, Ticked::Differs);
    assert_eq!(fixture.queued().await, bytes(&["x", "y"]));

    let replaced = CronUpsert {
        seen: Some(now.seen()),
        ..upsert("a", 150)
    };
    harness.lose_reply(Operation::UpsertCron).await;
    let lost = storage.upsert_cron("a", &replaced).await;
    assert_refused(lost, Applied::Unknown);
    let now = entry(storage, "a").await.unwrap();
    assert_eq!(now.hash, replaced.hash);
}

pub(super) fn upsert(name: &str, seconds: u64) -> CronUpsert {
    CronUpsert {
        seen: None,
        queue: None,
        definition: format!("{name}, {seconds}").into(),
        hash: format!("{name}{seconds}"),
        next: Some(at(seconds)),
        even_if_superseded: false,
    }
}

pub(super) async fn store(storage: &dyn Storage, name: &str, seconds: u64) {
    let stored = storage.upsert_cron(name, &upsert(name, seconds)).await;
    assert_eq!(stored.unwrap(), CronChange::Done);
}

fn record(next: u64) -> String {
    format!("to {next}")
}

pub(super) fn tick_of(entry: &StoredCron, next: u64, jobs: &[&str]) -> CronTick {
    let push = |payload: &&str| CronPush::Queue {
        queue: queue_name("default"),
        job: job(payload),
    };
    CronTick {
        seen: entry.seen(),
        next: Some(at(next)),
        pushes: jobs.iter().map(push).collect(),
        missed: 0,
        locked: None,
        record: record(next).into(),
    }
}

/// Takes a run of an entry, which then runs at `next`.
async fn tick(storage: &dyn Storage, name: &str, next: u64, jobs: &[&str]) {
    let was = entry(storage, name).await.expect("an entry");
    let ticked = storage.tick_cron(name, &tick_of(&was, next, jobs)).await;
    assert_eq!(ticked.unwrap(), Ticked::Done);
}

pub(super) async fn entry(storage: &dyn Storage, name: &str) -> Option<StoredCron> {
    let mut named = storage.cron_named(&[name.to_owned()]).await.unwrap();
    assert_eq!(named.len(), 1);
    named.remove(0)
}

async fn next_of_poll(storage: &dyn Storage) -> Option<SystemTime> {
    storage.poll_schedule(&node_id(), TTL).await.unwrap().cron
}
