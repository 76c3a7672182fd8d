//! A storage that other programs have filled: [`fill`].

use std::{slice, time::Duration};

use bytes::Bytes;
use verk_core::{
    manage::Admin,
    names::{Jid, NodeId, QueueName},
    stats::Day,
    storage::{
        AuditStore, Conflict, Counts, DeadLimits, Due, DueSet, EffectStore, Executions, JobStore,
        LockId, LockRef, LockedJob, Minute, Move, MoveTarget, NodeStore, PauseStore, ProcessReport,
        ProcessStore, Settled, Source, StatsReport, StatsStore, StoredNodeInfo, WaitingStore,
    },
    time::from_unix_seconds,
};
use verk_testing::MemoryStorage;

use super::random::Random;

/// Fills every place with bad jobs, names, notes and reports. Returns the names of the queues.
pub(crate) async fn fill(
    storage: &MemoryStorage,
    admin: &Admin,
    random: &mut Random,
) -> Vec<String> {
    let mut queues: Vec<String> = (0..3).map(|_| random.name()).collect();
    queues.push(random.of(&[".", "..", "~."]).to_owned());
    for name in &queues {
        let jobs: Vec<Bytes> = (0..=random.below(6))
            .map(|_| random.payload().into())
            .collect();
        let queue = name.parse().unwrap();
        storage.enqueue(&queue, &jobs).await.unwrap();
        if random.once_in(2) {
            storage.pause(&queue, &random.note().into()).await.unwrap();
        }
    }
    for place in 0..3 {
        for _ in 0..=random.below(6) {
            let job: Bytes = random.payload().into();
            let seconds = [0.0, 1.7e9, 1.7e9, 1_700_000_000.123_456, 4e9, 1e18];
            let at = from_unix_seconds(seconds[random.below(seconds.len())]);
            add(storage, place, Due { at, job }).await;
        }
    }
    for _ in 0..3 {
        storage
            .report_process(&process(admin, random))
            .await
            .unwrap();
        storage.record_action(&random.note().into()).await.unwrap();
    }
    locks(storage, random).await;
    #[cfg(feature = "cron")]
    cron(storage, admin, random).await;
    for _ in 0..2 {
        node(storage, admin, random).await;
    }
    queues
}

/// Locks in every place, with bad names, and jobs that name one of them or one that is free.
async fn locks(storage: &MemoryStorage, random: &mut Random) {
    let queue: QueueName = random.name().parse().unwrap();
    for number in 0..4_u128 {
        let id = LockId::from_bits(number);
        let times = [0.0, 1.7e9, 4e9, 1e18].map(from_unix_seconds);
        let job = |random: &mut Random| LockedJob {
            lock: LockRef {
                id,
                jid: Jid::from(random.text()),
                queue: queue.clone(),
            },
            job: random.payload().into(),
            at: [None, Some(times[random.below(4)])][random.below(2)],
            class: random.text(),
            lasts: [None, Some(Duration::from_secs(1 << 30))][random.below(2)],
            on_conflict: [Conflict::Skip, Conflict::KeepLast][random.below(2)],
        };
        let jobs: Vec<LockedJob> = (0..=random.below(3)).map(|_| job(random)).collect();
        storage.enqueue_locked(&jobs).await;
    }
    for place in 0..3 {
        let id = LockId::from_bits(random.below(6) as u128);
        let jid = serde_json::to_string(&random.text()).unwrap();
        let job = format!(r#"{{"class":"A","jid":{jid},"args":[],"verk":{{"u":{{"d":"{id}"}}}}}}"#);
        let at = from_unix_seconds(1.7e9);
        let job = job.into();
        add(storage, place, Due { at, job }).await;
    }
}

/// Entries of the timetable: good ones with bad texts, paused ones, and ones that cannot run.
#[cfg(feature = "cron")]
async fn cron(storage: &MemoryStorage, admin: &Admin, random: &mut Random) {
    use verk_core::{
        cron::Cron,
        manage::PauseNote,
        storage::{CronStore, CronUpsert},
    };

    let timetable = admin.cron();
    for number in 0..3 {
        let entry = match number {
            0 => Cron::every("10m"),
            _ => Cron::new("30 2 * * *").tz("Europe/Berlin"),
        };
        let (name, class) = (random.name(), random.text());
        let entry = entry.class(&class, [random.text()]).queue(&random.name());
        if timetable.upsert(&name, entry).await.is_err() {
            continue;
        }
        if random.once_in(2) {
            timetable.run_now(&name).await.unwrap();
        }
        if random.once_in(3) {
            let note = PauseNote::new().by(random.text()).reason(random.text());
            timetable.pause(&name, note).await.unwrap();
        }
    }
    let upsert = CronUpsert {
        seen: None,
        queue: None,
        definition: random.note().into(),
        hash: "a".to_owned(),
        next: Some(from_unix_seconds(1.7e9)),
        even_if_superseded: true,
    };
    storage.upsert_cron(&random.name(), &upsert).await.unwrap();
    let orphan = random.name();
    storage.upsert_cron(&orphan, &upsert).await.unwrap();
    let since = Some(from_unix_seconds(1e18));
    storage.mark_cron(&orphan, since).await.unwrap();
}

/// Puts a payload into a set, as a node does.
async fn add(storage: &MemoryStorage, place: usize, job: Due) {
    let source = "source".parse().unwrap();
    storage
        .enqueue(&source, slice::from_ref(&job.job))
        .await
        .unwrap();
    let from = Source::Queue(source);
    let held = job.job.clone();
    let to = match place {
        0 => MoveTarget::Set {
            set: DueSet::Schedule,
            job,
        },
        1 => MoveTarget::Set {
            set: DueSet::Retry,
            job,
        },
        _ => MoveTarget::Dead {
            job,
            limits: DeadLimits {
                max_jobs: 1_000_000,
                timeout: Duration::from_secs(1 << 40),
            },
        },
    };
    let moved = storage.move_jobs(&from, &[Move::new(held, to)], None).await;
    let is_there = matches!(moved[..], [Settled::Done | Settled::Merged]);
    assert!(is_there, "{moved:?}");
    storage.clear(&from).await.unwrap();
}

fn process(admin: &Admin, random: &mut Random) -> ProcessReport {
    let work = (0..random.below(3)).map(|_| {
        let payload = serde_json::to_string(&String::from_utf8_lossy(&random.payload())).unwrap();
        let queue = serde_json::to_string(&random.text()).unwrap();
        let work = format!(r#"{{"queue":{queue},"payload":{payload},"run_at":1700000000}}"#);
        (random.text(), work.into())
    });
    let work = work.collect();
    ProcessReport {
        identity: random.text(),
        info: random.note().into(),
        concurrency: [0, 5, usize::MAX / 4][random.below(3)],
        busy: [0, 5, usize::MAX / 4][random.below(3)],
        quiet: random.once_in(2),
        beat: admin.now(),
        rss: [0, 1, u64::MAX][random.below(3)],
        rtt: Duration::from_micros(300),
        work,
        sidekiq_6_work: false,
    }
}

/// A node that says bad things about itself, and whose jobs have bad classes.
async fn node(storage: &MemoryStorage, admin: &Admin, random: &mut Random) {
    let (node, now) = (NodeId::from(&*random.name()), admin.now());
    let info = StoredNodeInfo {
        version: random.text(),
        level: 1,
        process: random.text(),
        registered_at: Some(now),
        class_count: random.below(1_000_000),
        classes: random.note().into(),
        cron: random.note().into(),
    };
    let queues = [random.name().parse().unwrap()];
    let day = Duration::from_secs(86_400);
    storage.register(&node, &queues, day, &info).await.unwrap();
    let counts = Counts {
        succeeded: [0, 3, u64::MAX / 64][random.below(3)],
        failed: [0, 2, u64::MAX / 64][random.below(3)],
    };
    let runs = Executions {
        counts,
        took: Duration::from_secs(random.below(1 << 40) as u64),
        ..Executions::default()
    };
    let classes = (0..3).map(|_| (random.text(), runs.clone()));
    let report = StatsReport {
        days: [(Day::of(now), counts)].into(),
        queues: queues.map(|queue| (queue, counts)).into(),
        executions: [(Minute::of(now), classes.collect())].into(),
    };
    storage.record_stats(&node, 1, &report).await.unwrap();
}
