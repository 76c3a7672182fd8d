//! Entries that a person chose from a list: found again by key or place, searched, changed,
//! counted.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use verk::{
    Verk,
    error::Applied,
    manage::{Action, Breakdown, Entry, EntryKey, Filter, Place, Query, SEARCH_BUDGET},
    storage::{JobSet, JobStore as _, MAX_BATCH_BYTES, Order},
    testing::TestVerk,
    time::Clock,
};
use verk_testing::{MemoryStorage, Operation, conformance::Harness as _};

use super::{
    lists::{at, jids},
    payload, payloads, storages,
};

fn key_of(entry: &Entry) -> EntryKey {
    entry.key().unwrap().to_string().parse().unwrap()
}

#[tokio::test]
async fn an_entry_is_found_by_its_key_among_thousands_with_its_time() {
    for shared in storages().await {
        // The id of each is in the arguments of the next.
        let job = |jid: u32| {
            let before = jid.wrapping_sub(1);
            Bytes::from(format!(
                r#"{{"class":"A","jid":"j{jid}","queue":"default","args":["j{before}"]}}"#
            ))
        };
        let mut jobs: Vec<(u32, Bytes)> = (0..1_500).map(|jid| (7, job(jid))).collect();
        jobs.push((7, Bytes::from_static(b"\xff j1499")));
        jobs.extend([(6, payload("A", "j6000")), (8, payload("A", "ü\\\"-8"))]);
        shared.schedule(jobs).await;
        let scheduled = shared.one.scheduled_set();
        for jid in [0, 1, 700, 1_499] {
            let key: EntryKey = format!("2000000007-j{jid}").parse().unwrap();
            let entry = scheduled.entry_at(&key).await.unwrap().expect("it waits");
            assert_eq!(entry.payload(), &job(jid));
            assert_eq!(key_of(&entry), key);
        }
        let odd = scheduled
            .list(&Query::new().order(Order::NewestFirst))
            .await
            .unwrap();
        let key = key_of(&odd.entries[0]);
        assert_eq!(key.jid().as_str(), "ü\"-8");
        assert!(scheduled.entry_at(&key).await.unwrap().is_some());

        for gone in [
            "2000000007-j1500",
            "2000000007-j6000",
            "2000000006-j1",
            "1e300-j1",
            "-inf-j1",
            "inf-j1",
        ] {
            let key: EntryKey = gone.parse().unwrap();
            assert!(scheduled.entry_at(&key).await.unwrap().is_none(), "{gone}");
            let queue = shared.one.queue("default").unwrap();
            assert!(queue.entry_at(&key).await.unwrap().is_none());
        }
        let query = Query::new().filter(Filter::new().text(" j1499"));
        let no_job = scheduled.search(&query, Duration::MAX).await.unwrap();
        assert_eq!(no_job.entries[0].key(), None);
    }
}

#[tokio::test]
async fn a_job_that_was_shown_is_found_around_its_place() {
    for shared in storages().await {
        let jobs = payloads("A", 0..300);
        shared.enqueue(&jobs).await;
        let queue = shared.one.queue("default").unwrap();
        for index in [0, 1, 49, 50, 150, 299, 300, u64::MAX] {
            let around = queue.around(Place::Index(index)).await.unwrap();
            let read: Vec<&Bytes> = around.iter().map(|entry| entry.payload()).collect();
            let place = usize::try_from(index.min(300)).unwrap();
            let expected = &jobs[place.saturating_sub(50)..300.min(place + 50)];
            assert_eq!(read, expected.iter().collect::<Vec<_>>(), "{index}");
            assert!(around.iter().all(|entry| entry.index().is_some()));
        }
        let mut consumer = shared.consumer().await;
        assert_eq!(consumer.fetch(30).await.len(), 30);
        let around = queue.around(Place::Index(150)).await.unwrap();
        assert!(around.iter().any(|entry| entry.payload() == &jobs[150]));
        assert!(queue.around(Place::Score(1.0)).await.unwrap().is_empty());

        let large = |number: usize| {
            let mut payload = vec![b'x'; MAX_BATCH_BYTES / 4];
            payload.extend(number.to_string().into_bytes());
            Bytes::from(payload)
        };
        shared
            .schedule((0..3).map(|number| (number / 2, large(number as usize))))
            .await;
        let scheduled = shared.one.scheduled_set();
        for (score, expected) in [
            (2e9, 2),
            (2e9 + 1.0, 1),
            (2e9 + 0.5, 0),
            (f64::NAN, 0),
            (f64::INFINITY, 0),
        ] {
            let around = scheduled.around(Place::Score(score)).await.unwrap();
            assert_eq!(around.len(), expected, "{score}");
        }
        assert!(scheduled.around(Place::Index(0)).await.unwrap().is_empty());
        assert_eq!(queue.clear().await.unwrap(), 270);
        let all: Vec<Bytes> = (0..9).map(large).collect();
        for job in &all {
            shared.enqueue(std::slice::from_ref(job)).await;
        }
        let around = queue.around(Place::Index(4)).await.unwrap();
        let bytes: usize = around.iter().map(|entry| entry.payload().len()).sum();
        assert!(bytes <= MAX_BATCH_BYTES);
        assert!(around.iter().any(|entry| entry.payload() == &all[4]));
    }
}

#[tokio::test]
async fn a_search_reads_on_until_its_page_is_full() {
    for shared in storages().await {
        let jobs: Vec<Bytes> = (0..3_000_u32)
            .map(|jid| payload(if jid % 700 == 699 { "Rare" } else { "A" }, jid))
            .collect();
        shared.enqueue(&jobs).await;
        shared.schedule((0..).zip(jobs)).await;
        for place in [
            shared.one.queue("default").unwrap(),
            shared.one.scheduled_set(),
        ] {
            let rare = Query::new().filter(Filter::new().class("Rare")).limit(3);
            let found = place.search(&rare, Duration::MAX).await.unwrap();
            assert_eq!(jids(&found), ["699", "1399", "2099"]);
            assert_eq!(
                (found.looked_at, found.total, found.previous),
                (2_100, 3_000, None)
            );
            let next = rare.clone().at(found.next);
            let found = place.search(&next, Duration::MAX).await.unwrap();
            assert_eq!(jids(&found), ["2799"]);
            assert_eq!(found.next, None);
            let back = place
                .search(&rare.clone().at(found.previous), Duration::MAX)
                .await
                .unwrap();
            assert_eq!(jids(&back), ["699", "1399", "2099"]);
            assert!(back.next.is_some());

            let newest = rare.order(Order::NewestFirst);
            let found = place.search(&newest, Duration::MAX).await.unwrap();
            assert_eq!(jids(&found), ["2799", "2099", "1399"]);
            let one_step = place.search(&newest, Duration::ZERO).await.unwrap();
            assert_eq!((one_step.looked_at, one_step.entries.len()), (500, 1));
            let rest = place
                .search(&newest.at(one_step.next), Duration::MAX)
                .await
                .unwrap();
            assert_eq!(jids(&rest), ["2099", "1399", "699"]);
        }
    }
}

#[tokio::test]
async fn a_search_returns_about_a_mebibyte_at_most() {
    for shared in storages().await {
        let large = |jid: u32| {
            let padding = "x".repeat(MAX_BATCH_BYTES / 5);
            Bytes::from(format!(
                r#"{{"class":"A","jid":"{jid}","queue":"default","args":["{padding}"]}}"#
            ))
        };
        shared.enqueue(&payloads("B", 100..1_000)).await;
        for jid in 0..12 {
            shared.enqueue(&[large(jid)]).await;
        }
        let queue = shared.one.queue("default").unwrap();
        let query = Query::new().limit(100).filter(Filter::new().class("A"));
        let (mut read, mut cursor) = (Vec::new(), None);
        loop {
            let found = queue
                .search(&query.clone().at(cursor), Duration::MAX)
                .await
                .unwrap();
            let bytes: usize = found
                .entries
                .iter()
                .map(|entry| entry.payload().len())
                .sum();
            assert!(bytes <= MAX_BATCH_BYTES, "{bytes}");
            read.extend(jids(&found));
            cursor = found.next;
            if cursor.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..12).map(|jid| jid.to_string()).collect();
        assert_eq!(read, expected);
    }
}

/// Each question takes 10 ms; a wait is over at once, and is recorded.
#[derive(Debug)]
struct Ticking {
    start: Instant,
    passed: AtomicU32,
    slept: Mutex<Vec<Duration>>,
}

const TICK: Duration = Duration::from_millis(10);

impl Clock for Ticking {
    fn now(&self) -> SystemTime {
        at(0)
    }

    fn instant(&self) -> Instant {
        self.start + TICK * self.passed.fetch_add(1, Ordering::Relaxed)
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let now = self.start + TICK * self.passed.load(Ordering::Relaxed);
        // The question for the deadline took a tick as well.
        self.slept.lock().unwrap().push(deadline + TICK - now);
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_search_rests_as_long_as_it_works_and_ends_with_its_budget() {
    let clock = Arc::new(Ticking {
        #[expect(clippy::disallowed_methods, reason = "the start of a clock")]
        start: Instant::now(),
        passed: AtomicU32::new(0),
        slept: Mutex::default(),
    });
    let storage = MemoryStorage::default();
    let queue = crate::support::queue_name("default");
    for jobs in payloads("A", 0..20_000).chunks(100) {
        storage.enqueue(&queue, jobs).await.unwrap();
    }
    let verk = Verk::builder()
        .storage(storage)
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let queue = verk.admin().queue("default").unwrap();
    let query = Query::new().filter(Filter::new().class("None"));
    clock.slept.lock().unwrap().clear();
    let found = queue.search(&query, SEARCH_BUDGET).await.unwrap();
    let slept = std::mem::take(&mut *clock.slept.lock().unwrap());
    assert!(found.next.is_some());
    assert!(
        slept.len() >= 2 && slept.iter().all(|slept| *slept == TICK),
        "{slept:?}"
    );
    assert_eq!(found.looked_at, 500 * (slept.len() as u64 + 1));
    assert!(TICK * (2 * u32::try_from(slept.len()).unwrap() + 1) <= SEARCH_BUDGET);
    let all = queue.search(&query, Duration::MAX).await.unwrap();
    assert_eq!((all.looked_at, all.next), (20_000, None));
}

#[tokio::test]
async fn chosen_entries_are_changed_and_the_others_stay() {
    for shared in storages().await {
        shared.add(JobSet::Dead, &payloads("A", 0..250)).await;
        shared.add(JobSet::Dead, &[Bytes::from("no job")]).await;
        shared.enqueue(&payloads("A", 900..901)).await;
        let dead = shared.one.dead_set();
        let (mut entries, mut query) = (Vec::new(), Query::new().limit(100));
        loop {
            let page = dead.list(&query).await.unwrap();
            entries.extend(page.entries);
            let Some(next) = page.next else { break };
            query = query.at(next);
        }
        assert_eq!(entries.len(), 251);
        let queue = shared.one.queue("default").unwrap();
        let elsewhere = queue.list(&Query::new()).await.unwrap().entries;
        assert!(entries[0].delete().await.unwrap());

        let chosen: Vec<&Entry> = entries.iter().chain(&elsewhere).collect();
        let acted = dead.act_on(&chosen, Action::Requeue).await.unwrap();
        assert_eq!((acted.done, acted.gone, acted.skipped), (249, 1, 2));
        assert_eq!(dead.count().await.unwrap(), 1);
        let acted = dead.act_on(&chosen, Action::Delete).await.unwrap();
        assert_eq!((acted.done, acted.gone, acted.skipped), (1, 250, 1));
        assert_eq!(queue.count().await.unwrap(), 250);
        let nothing = dead.act_on(&[], Action::Kill).await.unwrap();
        assert_eq!((nothing.done, nothing.gone, nothing.skipped), (0, 0, 0));
        assert!(elsewhere[0].act(Action::Reschedule(at(5))).await.unwrap());
        assert_eq!(shared.one.scheduled_set().count().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn an_error_says_how_many_chosen_entries_were_changed() {
    let verk = TestVerk::new();
    let admin = verk.client().admin();
    for jid in 0..3 {
        let job = payload("A", jid);
        let queue = crate::support::queue_name("default");
        verk.storage().enqueue(&queue, &[job]).await.unwrap();
    }
    let queue = admin.queue("default").unwrap();
    let entries = queue.list(&Query::new()).await.unwrap().entries;
    verk.storage().lose_reply(Operation::MoveJobs).await;
    let chosen: Vec<&Entry> = entries.iter().collect();
    let error = queue.act_on(&chosen, Action::Kill).await.unwrap_err();
    assert_eq!((error.done, error.source.applied()), (0, Applied::Unknown));
    assert_eq!(queue.act_on(&chosen, Action::Kill).await.unwrap().gone, 3);
}

#[tokio::test]
async fn a_selection_counts_limits_and_reports_its_progress() {
    for shared in storages().await {
        let mut jobs = payloads("A", 0..800);
        jobs.extend(payloads("B", 800..1_200));
        shared.add(JobSet::Dead, &jobs).await;
        shared.enqueue(&jobs).await;
        for place in [shared.one.dead_set(), shared.one.queue("default").unwrap()] {
            let b = || place.select().matching(Filter::new().class("B"));
            assert_eq!(b().count().await.unwrap(), 400);
            assert_eq!(b().limit(7).count().await.unwrap(), 7);
            assert_eq!(place.select().count().await.unwrap(), 1_200);
            assert_eq!(b().text(r#""jid":"81"#).count().await.unwrap(), 10);
            assert_eq!(place.count().await.unwrap(), 1_200, "nothing changed");

            let seen = Arc::new((AtomicUsize::new(0), Mutex::new(Vec::new())));
            let recorded = Arc::clone(&seen);
            let selection = b().limit(150).progress(move |progress| {
                recorded.0.store(progress.done, Ordering::Relaxed);
                recorded
                    .1
                    .lock()
                    .unwrap()
                    .push((progress.looked_at, progress.done));
            });
            assert_eq!(selection.delete().await.unwrap(), 150);
            assert_eq!(seen.0.load(Ordering::Relaxed), 150);
            let steps = seen.1.lock().unwrap().clone();
            assert!(steps.is_sorted(), "{steps:?}");
            assert!(steps.last().unwrap().0 <= 1_200);

            assert_eq!(b().limit(0).delete().await.unwrap(), 0);
            assert_eq!(b().act(Action::Delete).await.unwrap(), 250);
            assert_eq!(place.count().await.unwrap(), 800);
            let found: Vec<_> = futures_util::TryStreamExt::try_collect::<Vec<_>>(
                place.select().class("A").limit(3).entries(),
            )
            .await
            .unwrap();
            assert_eq!(found.len(), 3);
        }
    }
}

fn dead(jid: u32, class: &str, error: Option<&str>) -> Bytes {
    let error = error.map_or(String::new(), |error| {
        format!(r#","error_class":"{error}""#)
    });
    Bytes::from(format!(
        r#"{{"class":"{class}","jid":"{jid}","queue":"default","args":[]{error}}}"#
    ))
}

#[tokio::test]
async fn a_breakdown_counts_classes_and_errors_and_follows_the_set() {
    for shared in storages().await {
        let (set, admin) = (JobSet::Schedule, &shared.one);
        let mut breakdown = Breakdown::new(set);
        assert!(breakdown.update(admin).await.unwrap());
        assert!(breakdown.groups().is_empty());
        let jobs = (0..250).map(|jid| match jid % 5 {
            0 => (jid, dead(jid, "Charge", None)),
            1 => (jid, Bytes::from(format!("no job {jid}"))),
            _ => (jid, dead(jid, "Charge", Some("Closed"))),
        });
        shared.schedule(jobs).await;
        while !breakdown.update(admin).await.unwrap() {}
        let shown = |breakdown: &Breakdown| {
            let groups = breakdown.groups().into_iter();
            let groups = groups.map(|group| (group.class, group.error_class, group.count));
            groups.collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            (text("Charge"), text("Closed"), 150),
            (None, None, 50),
            (text("Charge"), None, 50),
        ];
        assert_eq!(shown(&breakdown), expected);
        assert_eq!(breakdown.groups()[0].newest, at(249));
        assert_eq!((breakdown.covered(), breakdown.total()), (250, 250));

        // What is newer is added without another pass.
        shared
            .schedule([(900, dead(900, "New", Some(&"x".repeat(10_000))))])
            .await;
        assert!(breakdown.update(admin).await.unwrap());
        let groups = breakdown.groups();
        let new = groups
            .iter()
            .find(|group| group.class == text("New"))
            .unwrap();
        assert_eq!(new.error_class.as_ref().unwrap().len(), 200);

        // What leaves, or comes earlier, is noticed; until then the old counts stay.
        let selection = admin.scheduled_set().select().class("Charge");
        assert_eq!(selection.delete().await.unwrap(), 200);
        assert!(!breakdown.update(admin).await.unwrap());
        assert_eq!(breakdown.covered(), 251);
        assert_eq!(breakdown.total(), 51);
        while !breakdown.update(admin).await.unwrap() {}
        assert_eq!((breakdown.covered(), breakdown.groups().len()), (51, 2));
        shared.schedule([(0, dead(901, "Early", None))]).await;
        while !breakdown.update(admin).await.unwrap() {}
        assert_eq!(breakdown.groups().len(), 3);
        assert_eq!(admin.scheduled_set().clear().await.unwrap(), 52);
        while !breakdown.update(admin).await.unwrap() {}
        assert_eq!((breakdown.covered(), breakdown.groups().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_breakdown_counts_the_newest_ten_thousand() {
    let shared = storages().await.swap_remove(0);
    shared
        .schedule((0..12_000).map(|jid| {
            (
                jid,
                dead(jid, if jid < 2_000 { "Old" } else { "New" }, None),
            )
        }))
        .await;
    let mut breakdown = Breakdown::new(JobSet::Schedule);
    let mut steps = 1;
    while !breakdown.update(&shared.one).await.unwrap() {
        steps += 1;
        assert_eq!(breakdown.covered(), 100 * (steps - 1));
    }
    assert_eq!(steps, 100);
    assert_eq!((breakdown.covered(), breakdown.total()), (10_000, 12_000));
    let classes: BTreeSet<_> = breakdown
        .groups()
        .into_iter()
        .map(|group| group.class)
        .collect();
    assert_eq!(classes, BTreeSet::from([Some("New".to_owned())]));
    shared
        .schedule((20_000..21_100).map(|jid| (jid, dead(jid, "Newest", None))))
        .await;
    while !breakdown.update(&shared.one).await.unwrap() {}
    assert_eq!(breakdown.covered(), 10_000);
    let newest = &breakdown.groups()[1];
    assert_eq!(
        (newest.class.as_deref(), newest.count),
        (Some("Newest"), 1_100)
    );
}
