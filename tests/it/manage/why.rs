//! Why a job is not running, on both storages.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use verk::{
    Client, EnqueueExt as _, OnConflict, State, Unique,
    cron::Cron,
    manage::{Admin, Explanation, JobPlace, JobRef, PauseNote, Query, Reason, RefPlace, Why},
    storage::{HolderPlace, JobSet, ProcessReport, Storage},
    time::{Clock, SystemClock, unix_seconds},
};
use verk_testing::within;

use super::{payload, payloads, storages};
use crate::support::{Fixture, Gate, PATIENCE, queue_name};

const UNIQUE: Unique = Unique::new().by(&[]);

/// The explanation, however many calls it takes on a busy machine.
async fn known(admin: &Admin, job: &JobRef) -> Explanation {
    let mut job = job.clone();
    loop {
        match admin.why(&job).await.unwrap() {
            Why::Known(explanation) => return explanation,
            Why::Searching { next, .. } => job = next,
        }
    }
}

async fn reasons(admin: &Admin, job: &JobRef) -> Vec<Reason> {
    known(admin, job).await.reasons
}

/// What a caller keeps of a job that it saw.
fn through_a_url(job: &JobRef) -> JobRef {
    let place = job.place.as_ref().map(ToString::to_string);
    let place = place.map(|place| place.parse::<RefPlace>().unwrap());
    let job = JobRef::new(job.jid.clone());
    place.map_or(job.clone(), |place| job.at(place))
}

#[tokio::test]
async fn a_job_in_a_queue_is_explained_by_what_runs_it_and_what_is_before_it() {
    for shared in storages().await {
        let admin = &shared.one;
        shared.enqueue(&payloads("A", 10..13)).await;
        let last = JobRef::new("12");
        let default = queue_name("default");
        let behind = |jobs| Reason::Behind {
            queue: queue_name("default"),
            jobs,
            exact: true,
        };
        let nobody = Reason::NoProcess {
            queue: default.clone(),
        };
        let explanation = known(admin, &last).await;
        assert_eq!(explanation.place, JobPlace::Queue(default.clone()));
        assert_eq!(explanation.class.as_deref(), Some("A"));
        assert_eq!(explanation.reasons, [nobody, behind(2)]);

        let mut consumer = shared.consumer().await;
        assert_eq!(consumer.fetch(1).await.len(), 1);
        let listed = admin.queue("default").unwrap().list(&Query::new()).await;
        let seen = JobRef::of(&listed.unwrap().entries[1]).unwrap();
        assert_eq!(seen.jid, last.jid);
        for job in [&last, &seen, &through_a_url(&seen)] {
            assert_eq!(reasons(admin, job).await, [behind(1)]);
        }
        assert_eq!(consumer.fetch(1).await.len(), 1);
        assert_eq!(reasons(admin, &seen).await, [behind(0)], "it moved up");

        let note = PauseNote::new().by("ada").reason("the bank is closed");
        shared.other.pause_queue("default", note).await.unwrap();
        let paused = reasons(admin, &seen).await;
        let [Reason::Paused(pause), next] = &paused[..] else {
            panic!("{paused:?}");
        };
        assert_eq!(*next, behind(0));
        assert_eq!(pause.by.as_deref(), Some("ada"));

        // A node holds the job that it fetched first.
        let held = known(admin, &JobRef::new("10")).await;
        assert!(matches!(held.place, JobPlace::Node { .. }), "{held}");
        let [Reason::Running { node: Some(_), .. }] = &held.reasons[..] else {
            panic!("{held}");
        };
    }
}

#[tokio::test]
async fn a_job_in_a_set_is_explained_by_its_time() {
    for shared in storages().await {
        let admin = &shared.one;
        let _node = shared.consumer().await;
        let jobs = [payload("A", "fails")];
        shared.add(JobSet::Retry, &jobs).await;
        let overdue = reasons(admin, &JobRef::new("fails")).await;
        assert!(
            matches!(overdue[..], [Reason::Overdue { .. }]),
            "{overdue:?}"
        );

        let retry = admin.retry_set();
        let entry = retry.find("fails").await.unwrap().unwrap();
        let stale = JobRef::of(&entry).unwrap();
        let at = SystemClock.now() + Duration::from_secs(3_600);
        assert!(entry.reschedule(at).await.unwrap());
        let entry = retry.find("fails").await.unwrap().unwrap();
        let seen = JobRef::of(&entry).unwrap();
        for job in [&stale, &seen, &through_a_url(&seen)] {
            let explanation = known(admin, job).await;
            assert_eq!(explanation.place, JobPlace::Set(JobSet::Retry));
            let [
                Reason::Retry {
                    number: 1, due_in, ..
                },
            ] = &explanation.reasons[..]
            else {
                panic!("{explanation}");
            };
            assert!(!due_in.is_zero());
        }

        assert!(entry.kill().await.unwrap());
        let dead = known(admin, &seen).await;
        assert_eq!(
            dead.place,
            JobPlace::Set(JobSet::Dead),
            "it is searched for"
        );
        assert!(matches!(dead.reasons[..], [Reason::Dead { .. }]), "{dead}");
        assert_eq!(admin.dead_set().clear().await.unwrap(), 1);
        let gone = known(admin, &seen).await;
        assert_eq!((gone.place, gone.class), (JobPlace::Nowhere, None));
        assert_eq!(gone.reasons, [Reason::Gone]);
    }
}

#[tokio::test]
async fn a_long_search_continues_where_it_stopped() {
    let storage = verk_testing::MemoryStorage::default();
    let admin = Client::new(std::sync::Arc::new(storage.clone())).admin();
    let storage: &dyn Storage = &storage;
    let queue = queue_name("default");
    let oldest = [payload("A", "the-oldest")];
    storage.enqueue(&queue, &oldest).await.unwrap();
    let others = payloads("A", 0..25_000);
    storage.enqueue(&queue, &others).await.unwrap();
    let mut job = JobRef::new("the-oldest");
    let mut last = 0;
    let mut calls = 0;
    let explanation = loop {
        match admin.why(&job).await.unwrap() {
            Why::Known(explanation) => break explanation,
            Why::Searching {
                looked_at,
                of,
                next,
            } => {
                assert!(last <= looked_at && looked_at <= of, "{looked_at}");
                assert_eq!(of, 25_001);
                (job, last) = (through_a_url(&next), looked_at);
                assert_eq!(job, next);
            }
        }
        calls += 1;
    };
    assert!(calls >= 2, "one call reads at most 10 000");
    let behind = explanation.reasons.last().unwrap();
    assert!(
        matches!(behind, Reason::Behind { jobs: 0, .. }),
        "{behind:?}"
    );

    // The newest is found in the first call. Its position is not exact.
    let newest = reasons(&admin, &JobRef::new("24999")).await;
    let behind = newest.last().unwrap();
    let Reason::Behind {
        jobs: 10_000,
        exact: false,
        ..
    } = behind
    else {
        panic!("{behind:?}");
    };
}

#[tokio::test]
async fn a_job_that_sidekiq_runs_is_found_in_the_report_of_its_process() {
    for shared in storages().await {
        let work = r#"{"queue":"low","payload":"{\"class\":\"Slow\",\"jid\":\"b4b5\",\"args\":[]}","run_at":1795465721}"#;
        let report = ProcessReport {
            identity: "vm:1:0f".to_owned(),
            info: Bytes::from("{}"),
            concurrency: 5,
            busy: 1,
            quiet: false,
            beat: SystemClock.now(),
            rss: 0,
            rtt: Duration::ZERO,
            work: [("os9".to_owned(), Bytes::from(work))].into(),
            sidekiq_6_work: false,
        };
        shared.storage.report_process(&report).await.unwrap();
        let explanation = known(&shared.one, &JobRef::new("b4b5")).await;
        assert_eq!(
            explanation.to_string(),
            "Slow b4b5 runs in process vm:1:0f: it runs there since 2026-11-23T20:28:41Z, \
             in process vm:1:0f"
        );
    }
}

#[verk::worker]
async fn held_up(State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test]
async fn a_running_job_is_explained_by_its_node_also_when_that_is_silent() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1)).await;
    let jid = it.verk.enqueue(HeldUp::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    let admin = it.verk.admin();
    let job = JobRef::new(jid);
    let node = within(PATIENCE, async {
        loop {
            let running = reasons(&admin, &job).await;
            if let [
                Reason::Running {
                    node: Some(node),
                    process: Some(process),
                    since: Some(_),
                },
            ] = &running[..]
            {
                let nonce = node.as_str().rsplit('.').next().unwrap();
                assert!(process.ends_with(nonce), "{process}");
                return node.clone();
            }
            assert!(
                matches!(running[..], [Reason::Running { .. }]),
                "{running:?}"
            );
            it.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await;
    it.storage.faults().expire_heartbeat(&node);
    let silent = reasons(&admin, &job).await;
    let [Reason::NodeSilent { node: of, .. }] = &silent[..] else {
        panic!("{silent:?}");
    };
    assert_eq!(*of, node);
    it.gate.open();
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_class_that_no_node_has_is_a_reason() {
    let it = Fixture::new().await;
    let admin = it.verk.admin();
    let jobs = [payload("Nobody", "j1")];
    let queue = queue_name("default");
    it.verk.storage().enqueue(&queue, &jobs).await.unwrap();
    let found = reasons(&admin, &JobRef::new("j1")).await;
    let [
        Reason::NoWorker { class, .. },
        Reason::Behind { jobs: 0, .. },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!(class, "Nobody");
    let known_class = it.verk.enqueue(HeldUp::new()).await.unwrap();
    let found = reasons(&admin, &JobRef::new(known_class)).await;
    assert!(
        matches!(found[..], [Reason::Behind { jobs: 1, .. }]),
        "{found:?}"
    );
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_job_that_waits_for_a_lock_is_explained_by_the_job_that_holds_it() {
    for shared in storages().await {
        let admin = &shared.one;
        let client = Client::new(Arc::clone(&shared.storage));
        let unique = UNIQUE.on_conflict(OnConflict::KeepLast);
        let send = async || client.enqueue(HeldUp::new().unique(unique)).await.unwrap();
        let (first, second) = (send().await, send().await);
        let queue = queue_name("default");

        let waits = known(admin, &JobRef::new(second.clone())).await;
        let JobPlace::Lock(lock) = waits.place else {
            panic!("{waits}");
        };
        assert_eq!(waits.class.as_deref(), Some("HeldUp"));
        let [
            Reason::WaitsForLock {
                holder,
                place: HolderPlace::Waiting { .. },
                queue: Some(to),
                ..
            },
        ] = &waits.reasons[..]
        else {
            panic!("{waits}");
        };
        assert_eq!((holder, to), (&first, &queue));

        let holds = reasons(admin, &JobRef::new(first.clone())).await;
        let Some(Reason::HoldsLock {
            lock: of,
            next: Some(next),
            until: None,
            ..
        }) = holds.last()
        else {
            panic!("{holds:?}");
        };
        assert_eq!((*of, next), (lock, &second));

        // It comes to its queue.
        assert_eq!(admin.queue("default").unwrap().clear().await.unwrap(), 1);
        let now = known(admin, &JobRef::new(second)).await;
        assert_eq!(now.place, JobPlace::Queue(queue), "{now}");
        let holds = matches!(
            now.reasons.last(),
            Some(Reason::HoldsLock { next: None, .. })
        );
        assert!(holds, "{now}");
    }
}

#[tokio::test]
async fn a_dead_job_whose_lock_is_taken_says_by_whom() {
    for shared in storages().await {
        let admin = &shared.one;
        let client = Client::new(Arc::clone(&shared.storage));
        let send = async || client.enqueue(HeldUp::new().unique(UNIQUE)).await.unwrap();
        let dead = send().await;
        let jobs = admin.queue("default").unwrap();
        assert!(
            jobs.find(&dead)
                .await
                .unwrap()
                .unwrap()
                .kill()
                .await
                .unwrap()
        );
        let found = reasons(admin, &JobRef::new(dead.clone())).await;
        assert!(matches!(found[..], [Reason::Dead { .. }]), "{found:?}");
        let other = send().await;
        let found = reasons(admin, &JobRef::new(dead)).await;
        let [Reason::Dead { .. }, Reason::LockTaken { holder, .. }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(*holder, other);
    }
}

#[tokio::test]
async fn the_job_of_a_run_says_which_run_it_is_also_when_it_has_ended() {
    for shared in storages().await {
        let admin = &shared.one;
        let entry = Cron::new("@daily").class("Report", [0]);
        admin.cron().upsert("report", entry).await.unwrap();
        let job = JobRef::new(admin.cron().run_now("report").await.unwrap());
        let found = reasons(admin, &job).await;
        let Some(Reason::Periodic { name, due, missed }) = found.last() else {
            panic!("{found:?}");
        };
        assert_eq!((name.as_str(), *missed), ("report", 0));

        assert_eq!(admin.queue("default").unwrap().clear().await.unwrap(), 1);
        let ended = reasons(admin, &job).await;
        let [Reason::Gone, Reason::Periodic { name, due: of, .. }] = &ended[..] else {
            panic!("{ended:?}");
        };
        let differ = unix_seconds(*of) - unix_seconds(*due);
        assert!(name == "report" && differ.abs() < 0.001, "{ended:?}");
        let other = reasons(admin, &JobRef::new("other")).await;
        assert_eq!(other, [Reason::Gone]);
    }
}
