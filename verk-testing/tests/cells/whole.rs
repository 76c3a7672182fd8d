//! What a client and an operator do with jobs, pauses, locks and counts of the whole fleet.

use std::{collections::BTreeSet, time::Duration};

use futures_util::TryStreamExt;
use verk_core::{
    EnqueueExt as _, Enqueued, OnConflict, Unique,
    manage::{Action, AuditEntry, Filter, Found, PauseNote, Query},
    names::NodeId,
    stats::Day,
    storage::{Counts, Page, PauseStore as _, Source, StatsReport, StatsStore as _},
    time::{Clock as _, SystemClock},
};

use crate::{Fleet, HOUR, QUEUES, fleets, jids, job, name};

const ALL: Page = Page {
    offset: 0,
    limit: 1_000,
};

/// How many jobs each cell has in a queue.
async fn counts(fleet: &Fleet, queue: &str) -> Vec<usize> {
    use verk_core::storage::WaitingStore as _;
    let mut counts = Vec::new();
    for cell in &fleet.memories {
        counts.push(cell.len(&Source::Queue(name(queue))).await.unwrap());
    }
    counts
}

#[tokio::test]
async fn a_job_goes_to_the_cell_of_its_queue() {
    for fleet in fleets() {
        let client = &fleet.client;
        for queue in QUEUES {
            client.enqueue(job(queue, 1)).await.unwrap();
            client.enqueue_once(queue, job(queue, 2)).await.unwrap();
            let unique = job(queue, 3).unique(Unique::new());
            client.enqueue_unique(unique).await.unwrap();
        }
        let jobs = QUEUES
            .iter()
            .flat_map(|queue| [job(queue, 4), job(queue, 5)]);
        assert_eq!(client.enqueue_all(jobs).await.unwrap().len(), 16);
        let later = QUEUES.map(|queue| job(queue, 6).schedule_in(HOUR));
        assert_eq!(client.enqueue_all(later).await.unwrap().len(), 8);
        for queue in QUEUES {
            let mut expected = vec![0; fleet.memories.len()];
            expected[fleet.cells.of(&name(queue))] = 5;
            assert_eq!(counts(&fleet, queue).await, expected, "{queue}");
        }
        let mut sorted = QUEUES;
        sorted.sort_unstable();
        let known = fleet.view.queues().await.unwrap();
        assert_eq!(known, sorted.map(name));

        let scheduled = fleet
            .admin
            .scheduled_set()
            .list(&Query::new())
            .await
            .unwrap();
        assert_eq!((scheduled.total, scheduled.entries.len()), (8, 8));
        for entry in scheduled.entries {
            let queue = entry.job().unwrap().queue().unwrap().clone();
            assert!(entry.requeue().await.unwrap());
            let found = fleet.home(queue.as_str());
            assert_eq!(fleet.queued(found, queue.as_str()).await.len(), 6);
        }
        let stats = fleet.admin.stats().await.unwrap();
        assert_eq!((stats.enqueued(), stats.scheduled), (48, 0));
    }
}

#[tokio::test]
async fn what_must_happen_once_happens_once() {
    for fleet in fleets() {
        for queue in QUEUES {
            let client = &fleet.client;
            let first = client.enqueue_once(queue, job(queue, 1)).await.unwrap();
            let again = client.enqueue_once(queue, job(queue, 1)).await.unwrap();
            assert_eq!(again, Enqueued::Seen(first.jid().clone()));

            let unique = || job(queue, 2).unique(Unique::new().on_conflict(OnConflict::Skip));
            let first = client.enqueue_unique(unique()).await.unwrap();
            let again = client.enqueue_unique(unique()).await.unwrap();
            assert!(matches!(again, Enqueued::Duplicate { .. }), "{again:?}");
            let later = client.enqueue_unique(unique().schedule_in(HOUR)).await;
            assert!(matches!(later.unwrap(), Enqueued::Duplicate { .. }));
            assert_eq!(fleet.queued(fleet.home(queue), queue).await.len(), 2);
            let entry = fleet.admin.queue(queue).unwrap().find(first.jid()).await;
            let lock = entry.unwrap().unwrap().lock().unwrap();
            let lock = fleet.admin.lock(lock).await.unwrap().unwrap();
            assert_eq!(&lock.jid, first.jid());
        }
        let mixed = QUEUES.iter().chain(&QUEUES);
        let mixed = mixed.map(|queue| job(queue, 3).unique(Unique::new()));
        let all = fleet.client.enqueue_all_unique(mixed).await.unwrap();
        let new = all.iter().filter(|one| matches!(one, Enqueued::New(_)));
        assert_eq!((all.len(), new.count()), (16, 8));
    }
}

#[tokio::test]
async fn locks_are_read_in_pages_and_freed() {
    for fleet in fleets() {
        for queue in QUEUES {
            for number in 0..5 {
                let unique = job(queue, number).unique(Unique::new());
                fleet.client.enqueue_unique(unique).await.unwrap();
            }
        }
        for limit in [1, 3, 7, 40, 100] {
            let (mut seen, mut offset) = (BTreeSet::new(), 0);
            loop {
                let page = fleet.admin.locks(Page { offset, limit }).await.unwrap();
                assert_eq!(page.len, 40);
                assert!(page.looked_at <= limit);
                offset += page.looked_at;
                seen.extend(page.locks.iter().map(|lock| lock.id));
                if page.looked_at == 0 {
                    break;
                }
            }
            assert_eq!((seen.len(), offset), (40, 40), "{limit}");
        }
        let locks = fleet.admin.locks(ALL).await.unwrap().locks;
        for lock in &locks {
            assert!(fleet.admin.release_lock(lock).await.unwrap());
            assert!(!fleet.admin.release_lock(lock).await.unwrap());
            assert_eq!(fleet.admin.lock(lock.id).await.unwrap(), None);
        }
        assert_eq!(fleet.admin.locks(ALL).await.unwrap().locks, []);
    }
}

#[tokio::test]
async fn jobs_are_selected_and_changed_wherever_they_lie() {
    for fleet in fleets() {
        let admin = &fleet.admin;
        let night = SystemClock.now() + 10 * HOUR;
        for queue in QUEUES {
            let jobs = (0..20).map(|number| job(queue, number));
            fleet.client.enqueue_all(jobs).await.unwrap();
            let jobs = admin.queue(queue).unwrap();
            assert_eq!(jobs.select().limit(12).kill().await.unwrap(), 12);
            assert_eq!(jobs.select().limit(4).reschedule(night).await.unwrap(), 4);
            assert_eq!(jobs.count().await.unwrap(), 4);
        }
        let (dead, scheduled) = (admin.dead_set(), admin.scheduled_set());
        assert_eq!(dead.count().await.unwrap(), 96);
        assert_eq!(scheduled.count().await.unwrap(), 32);
        let mut seen = BTreeSet::new();
        let mut entries = dead.select().entries();
        while let Some(entry) = entries.try_next().await.unwrap() {
            assert!(seen.insert(entry.job().unwrap().jid().clone()));
        }
        assert_eq!(seen.len(), 96);

        let of_mailers = Filter::new().queue("mailers");
        let selected = dead.select().matching(of_mailers.clone());
        assert_eq!(selected.count().await.unwrap(), 12);
        let selected = dead.select().matching(of_mailers.clone());
        assert_eq!(selected.delete().await.unwrap(), 12);
        assert_eq!(dead.select().limit(50).requeue().await.unwrap(), 50);
        assert_eq!(dead.count().await.unwrap(), 34);
        assert_eq!(admin.stats().await.unwrap().enqueued(), 82);
        for queue in QUEUES {
            let elsewhere = counts(&fleet, queue).await;
            assert_eq!(elsewhere.iter().filter(|count| **count > 0).count(), 1);
        }

        let page = scheduled.list(&Query::new().limit(30)).await.unwrap();
        let chosen: Vec<_> = page.entries.iter().collect();
        let acted = scheduled.act_on(&chosen, Action::Kill).await.unwrap();
        assert_eq!((acted.done, acted.gone), (30, 0));
        let acted = scheduled.act_on(&chosen, Action::Kill).await.unwrap();
        assert_eq!((acted.done, acted.gone), (0, 30));
        assert_eq!(dead.clear().await.unwrap(), 64);
        assert_eq!(dead.clear().await.unwrap(), 0);
        assert_eq!(scheduled.select().requeue().await.unwrap(), 2);
        for queue in QUEUES {
            admin.queue(queue).unwrap().clear().await.unwrap();
        }
        assert_eq!(admin.stats().await.unwrap().enqueued(), 0);
        assert_eq!(fleet.view.queues().await.unwrap(), []);
    }
}

/// Each job frees its lock, and all are counted.
#[tokio::test]
async fn unique_jobs_are_cleared_with_their_locks() {
    for fleet in fleets() {
        for queue in QUEUES {
            for number in 0..3 {
                let later = job(queue, number).schedule_in(HOUR);
                if queue.len() == 1 {
                    fleet.client.enqueue(later).await.unwrap();
                } else {
                    let unique = later.unique(Unique::new());
                    fleet.client.enqueue_unique(unique).await.unwrap();
                }
            }
        }
        assert_eq!(fleet.admin.locks(ALL).await.unwrap().len, 18);
        assert_eq!(fleet.admin.scheduled_set().clear().await.unwrap(), 24);
        assert_eq!(fleet.admin.locks(ALL).await.unwrap().locks, []);
    }
}

#[tokio::test]
async fn a_job_is_found_in_every_place() {
    for fleet in fleets() {
        for queue in QUEUES {
            let jid = fleet.client.enqueue(job(queue, 1)).await.unwrap();
            let find = async || match fleet.admin.find_job(&jid).await.unwrap() {
                Some(Found::Waiting(entry)) => entry,
                other => panic!("{other:?}"),
            };
            let entry = find().await;
            assert_eq!(entry.source(), &Source::Queue(name(queue)));
            assert!(entry.kill().await.unwrap());
            let dead = find().await;
            let (set, key) = (fleet.admin.dead_set(), dead.key().unwrap());
            let by_key = set.entry_at(&key).await.unwrap().unwrap();
            assert_eq!(by_key.payload(), dead.payload());
            assert!(dead.reschedule(SystemClock.now() + HOUR).await.unwrap());
            assert!(find().await.delete().await.unwrap());
            assert!(fleet.admin.find_job(&jid).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_pause_holds_in_every_cell() {
    for fleet in fleets() {
        let admin = &fleet.admin;
        let mut listener = fleet.view.open_pause_listener().await.unwrap();
        assert!(listener.paused().await.unwrap().is_empty());
        let note = || PauseNote::new().by("ada");
        assert!(admin.pause_queue("mailers", note()).await.unwrap());
        assert!(!admin.pause_queue("mailers", note()).await.unwrap());
        for cell in &fleet.memories {
            assert_eq!(cell.paused_queues().await.unwrap(), [name("mailers")]);
        }
        listener.changed().await.unwrap();
        assert!(listener.paused().await.unwrap().contains(&name("mailers")));
        assert_eq!(admin.pauses().await.unwrap()[0].by.as_deref(), Some("ada"));

        // A pause that is not complete is shown, and completed by another.
        for cell in &fleet.memories[1..] {
            assert!(cell.resume(&name("mailers")).await.unwrap());
        }
        assert_eq!(admin.paused_queues().await.unwrap(), [name("mailers")]);
        let is_complete = fleet.memories.len() == 1;
        assert_eq!(
            admin.pause_queue("mailers", note()).await.unwrap(),
            !is_complete
        );
        assert!(admin.resume_queue_everywhere("mailers").await.unwrap());
        assert!(!admin.resume_queue_everywhere("mailers").await.unwrap());
        for cell in &fleet.memories {
            assert_eq!(cell.paused_queues().await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn counts_are_sums() {
    for fleet in fleets() {
        let day = Day::of(SystemClock.now());
        let counts = Counts {
            succeeded: 3,
            failed: 1,
        };
        for cell in &fleet.memories {
            let mut report = StatsReport::default();
            report.days.insert(day, counts);
            report.queues.insert(name("mailers"), counts);
            let node = NodeId::register("web").unwrap();
            assert!(cell.record_stats(&node, 1, &report).await.unwrap());
        }
        let cells = fleet.memories.len() as u64;
        fleet.client.enqueue(job("mailers", 1)).await.unwrap();
        let stats = fleet.admin.stats().await.unwrap();
        assert_eq!((stats.processed, stats.failed), (4 * cells, cells));
        let queue = &stats.queues[0];
        assert_eq!((queue.processed, queue.enqueued), (4 * cells, 1));
        let of_day = fleet.admin.stats_of_day(day).await.unwrap();
        assert_eq!((of_day.processed, of_day.failed), (4 * cells, cells));
        let history = fleet.admin.stats_history(3).await.unwrap();
        let processed: Vec<u64> = history.iter().map(|day| day.processed).collect();
        assert_eq!(processed, [4 * cells, 0, 0]);
    }
}

#[tokio::test]
async fn actions_are_recorded_in_their_order() {
    for fleet in fleets() {
        for action in ["one", "two", "three"] {
            let entry = AuditEntry::new(action).by("ada");
            fleet.admin.record_action(entry).await.unwrap();
        }
        let page = Page {
            offset: 1,
            limit: 5,
        };
        let read = fleet.admin.audit(page).await.unwrap();
        let actions: Vec<&str> = read.iter().map(|entry| &*entry.action).collect();
        assert_eq!(actions, ["two", "one"]);
    }
}

#[tokio::test]
async fn the_doctor_finds_the_same() {
    let mut reports = Vec::new();
    for fleet in fleets() {
        for queue in QUEUES {
            let jobs = (0..30).map(|number| job(queue, number));
            fleet.client.enqueue_all(jobs).await.unwrap();
            let jobs = fleet.admin.queue(queue).unwrap();
            jobs.select().limit(20).kill().await.unwrap();
        }
        for cell in &fleet.memories[..1] {
            use verk_core::storage::JobStore as _;
            cell.enqueue(&name("a"), &["broken".into()]).await.unwrap();
        }
        reports.push(fleet.admin.doctor().max_jobs(100).examine().await.unwrap());
        let whole = fleet.admin.doctor().examine().await.unwrap();
        assert_eq!((whole.jobs, whole.complete), (241, true));
    }
    assert_eq!(reports[0].jobs, 181);
    assert!(!reports[0].complete);
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0], reports[2]);
}

#[tokio::test]
async fn an_operator_sees_what_follows() {
    for fleet in fleets() {
        let mut tail = fleet.admin.tail();
        tail.step().await.unwrap();
        let jids: Vec<_> = {
            let jobs = QUEUES.map(|queue| job(queue, 1));
            fleet.client.enqueue_all(jobs).await.unwrap()
        };
        for (queue, jid) in QUEUES.iter().zip(&jids) {
            let entry = fleet.admin.queue(queue).unwrap().find(jid).await.unwrap();
            assert!(entry.unwrap().kill().await.unwrap());
        }
        let events = tail.step().await.unwrap();
        let died = events.iter().filter_map(|event| match event {
            verk_core::manage::TailEvent::Died(entry) => Some(entry.job().unwrap().jid().clone()),
            _ => None,
        });
        assert_eq!(
            died.collect::<BTreeSet<_>>(),
            jids.into_iter().collect::<BTreeSet<_>>()
        );
        let found = fleet.admin.dead_set();
        let query = Query::new().filter(Filter::new().class("Welcome"));
        let found = found.search(&query, Duration::from_secs(5)).await.unwrap();
        assert_eq!(jids_of(&found.entries), 8);
    }
}

fn jids_of(entries: &[verk_core::manage::Entry]) -> usize {
    jids(entries).into_iter().collect::<BTreeSet<_>>().len()
}
