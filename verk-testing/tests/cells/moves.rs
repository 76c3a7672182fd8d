//! Queues that move from one cell to another, with crashes at every step.

use std::collections::BTreeSet;

use bytes::Bytes;
use verk_core::{
    Client, EnqueueError, EnqueueExt as _, Enqueued, Job, OnConflict, Unique, Until, Verk,
    cells::Cells,
    client::{IntoJob as _, NewJob},
    error::StorageErrorKind,
    manage::{Admin, MoveQueueError, PauseNote, QueueMoveReport, QueuePlace},
    storage::{
        CellStore as _, EffectStore as _, JobSet, ListRequest, Page, PauseStore as _, Source,
        WaitingStore as _,
    },
};
use verk_testing::{
    MemoryStorage,
    conformance::{Harness as _, ScoredJob},
};

use crate::{Fleet, HOUR, name, payload};

/// The queue that moves, another one of the same cell, and the cells.
const QUEUE: &str = "mailers";
const OTHER: &str = "default";
const FROM: usize = 1;
const TO: usize = 2;

const SETS: [JobSet; 3] = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];

/// Another program, which knows only what the cells say.
async fn program(fleet: &Fleet) -> (Verk, Cells) {
    let cells: Cells = fleet.memories.iter().cloned().collect();
    let verk = Verk::builder().cells(cells.clone()).build().await.unwrap();
    (verk, cells)
}

async fn move_queue(admin: &Admin, to: usize) -> Result<QueueMoveReport, MoveQueueError> {
    admin.move_queue(name(QUEUE), to).by("ada").run().await
}

fn sync(queue: &str, args: u32, unique: Unique) -> NewJob {
    let job = Job::new("Sync", name(queue), format!("[{args}]")).unwrap();
    job.into_job().unique(unique)
}

/// Jobs with and without locks in every place, and jobs of another queue among them. Returns the
/// ids of those of the queue that moves.
async fn fill(fleet: &Fleet) -> BTreeSet<String> {
    let home = &fleet.memories[FROM];
    let mut ids = BTreeSet::new();
    for number in 0..4 {
        for queue in [QUEUE, OTHER] {
            let jid = format!("{queue}-{number}");
            fleet.put(home, queue, &jid).await;
            for (place, set) in SETS.into_iter().enumerate() {
                // Two of each have the same score.
                let score = 5_000_000_000.0 + f64::from(number / 2);
                let jid = format!("{queue}-{place}-{number}");
                let job = payload(queue, &jid);
                home.add_member(set, ScoredJob { score, job }).await;
            }
        }
        ids.insert(format!("{QUEUE}-{number}"));
        ids.extend((0..SETS.len()).map(|place| format!("{QUEUE}-{place}-{number}")));
    }
    let dead = Unique::new().hold_when_dead(HOUR);
    for job in [
        sync(QUEUE, 1, Unique::new()),
        sync(QUEUE, 2, Unique::new().on_conflict(OnConflict::Replace)).schedule_in(HOUR),
        sync(QUEUE, 3, Unique::new().on_conflict(OnConflict::KeepLast)),
        sync(QUEUE, 4, Unique::new().until(Until::Time(HOUR))),
        sync(QUEUE, 5, dead),
    ] {
        ids.insert(fleet.client.enqueue(job).await.unwrap().to_string());
    }
    // It waits for the lock of another one.
    let waits = sync(QUEUE, 3, Unique::new().on_conflict(OnConflict::KeepLast));
    ids.insert(fleet.client.enqueue(waits).await.unwrap().to_string());
    let queue = fleet.admin.queue(QUEUE).unwrap();
    let died = queue.list(&Default::default()).await.unwrap().entries;
    let died = died.into_iter().find(|entry| {
        let job = entry.job().unwrap();
        job.class() == "Sync" && job.args() == "[5]"
    });
    died.unwrap().kill().await.unwrap();
    // The lock of a job that is done.
    let done = sync(QUEUE, 6, Unique::new().throttle(HOUR));
    let done = fleet.client.enqueue(done).await.unwrap();
    run(fleet, &fleet.memories[FROM], done.as_str()).await;
    ids
}

/// Runs a job of the queue, as a node of a cell.
async fn run(fleet: &Fleet, cell: &MemoryStorage, jid: &str) {
    use verk_core::storage::{Effects, Move, MoveTarget, Settled};
    let _ = fleet;
    let source = Source::Queue(name(QUEUE));
    let jobs = cell.list(&source, &ListRequest::default()).await.unwrap();
    let is_it = |job: &Bytes| Job::decode(job.clone()).unwrap().jid().as_str() == jid;
    let mut jobs = jobs.jobs.into_iter().map(|waiting| waiting.job);
    let step = Move {
        held: jobs.find(is_it).unwrap(),
        to: MoveTarget::Delete,
        effects: Effects::NONE,
    };
    let settled = cell.move_jobs(&source, &[step], None).await;
    assert!(matches!(settled[..], [Settled::Done]), "{settled:?}");
}

/// The ids of the jobs of a queue that one cell has, in all its places, sorted.
async fn ids(cell: &MemoryStorage, queue: &str) -> Vec<String> {
    let sets = SETS.into_iter().map(Source::Set);
    let mut all = Vec::new();
    for place in sets.chain([Source::Queue(name(queue))]) {
        let request = ListRequest {
            limit: 1_000,
            ..ListRequest::default()
        };
        let jobs = cell.list(&place, &request).await.unwrap().jobs.into_iter();
        let jobs = jobs.map(|waiting| Job::decode(waiting.job).unwrap());
        let jobs = jobs.filter(|job| job.queue() == Some(&name(queue)));
        all.extend(jobs.map(|job| job.jid().to_string()));
    }
    for lock in cell.locks(ALL).await.unwrap().locks {
        all.extend(
            lock.next
                .filter(|(_, its)| *its == name(queue))
                .map(|(jid, _)| jid.to_string()),
        );
    }
    all.sort();
    all
}

const ALL: Page = Page {
    offset: 0,
    limit: 1_000,
};

/// Where the queue should be after the move: nothing is lost, nothing is there twice.
async fn assert_moved(fleet: &Fleet, expected: &BTreeSet<String>, others: &[String]) {
    let there = ids(&fleet.memories[TO], QUEUE).await;
    assert_eq!(there, expected.iter().cloned().collect::<Vec<_>>());
    for cell in [0, FROM] {
        assert_eq!(ids(&fleet.memories[cell], QUEUE).await, [""; 0]);
    }
    assert_eq!(ids(&fleet.memories[FROM], OTHER).await, others);
    let locks = |cell: usize| async move { fleet.memories[cell].locks(ALL).await.unwrap().locks };
    assert_eq!(locks(FROM).await, []);
    assert_eq!(locks(TO).await.len(), 6);
    for memory in &fleet.memories {
        assert_eq!(memory.paused_queues().await.unwrap(), []);
        let moved = &memory.moved_queues().await.unwrap();
        assert_eq!(moved.len(), 1, "each cell knows it");
    }

    // Another program finds it there, and each lock with it.
    let (verk, cells) = program(fleet).await;
    assert_eq!(cells.of(&name(QUEUE)), TO);
    let client = verk.client();
    for args in 1..=6 {
        let unique = Unique::new().on_conflict(OnConflict::Error);
        let again = client.enqueue(sync(QUEUE, args, unique)).await;
        assert!(
            matches!(again, Err(EnqueueError::Duplicate { .. })),
            "{args}: {again:?}"
        );
    }
    let jid = client.enqueue(crate::job(QUEUE, 1)).await.unwrap();
    let queued = fleet.queued(&fleet.memories[TO], QUEUE).await;
    assert_eq!(queued.last(), Some(&jid.to_string()));
}

#[tokio::test]
async fn a_queue_moves_with_all_that_it_has() {
    let fleet = Fleet::of(3);
    assert_eq!(
        (fleet.cells.of(&name(QUEUE)), fleet.cells.of(&name(OTHER))),
        (FROM, FROM)
    );
    let expected = fill(&fleet).await;
    let others = ids(&fleet.memories[FROM], OTHER).await;
    let order = fleet.queued(&fleet.memories[FROM], QUEUE).await;
    let (verk, cells) = program(&fleet).await;
    let report = move_queue(&verk.admin(), TO).await.unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.from, report.to, report.locks), (FROM, TO, 1));
    assert_eq!(report.jobs.moved(), expected.len() as u64);
    let places = &report.jobs.places;
    assert!(
        places
            .iter()
            .all(|it| (it.left, it.before, it.found) == (0, 0, it.moved))
    );
    // One waits for the lock of another, and so is in no place.
    assert_eq!(
        places.iter().map(|it| it.after).sum::<u64>(),
        expected.len() as u64 - 1
    );
    assert_eq!(cells.of(&name(QUEUE)), TO);
    let moved = fleet.queued(&fleet.memories[TO], QUEUE).await;
    assert_eq!(moved[..order.len()], order, "in their order");
    assert_moved(&fleet, &expected, &others).await;

    let again = move_queue(&verk.admin(), TO).await.unwrap();
    assert_eq!((again.from, again.jobs.moved()), (TO, 0));
    let back = move_queue(&verk.admin(), FROM).await.unwrap();
    assert!(back.is_complete(), "{back:?}");
    assert_eq!(ids(&fleet.memories[TO], QUEUE).await, [""; 0]);
    assert_eq!(
        ids(&fleet.memories[FROM], QUEUE).await.len(),
        expected.len() + 1
    );
    assert_eq!(cells.of(&name(QUEUE)), FROM);
}

/// A crash, a lost reply, or a cell that is down, at each step of each cell: the next run completes
/// the move.
#[tokio::test]
async fn each_job_moves_once_after_a_crash_at_any_step() {
    let mut crashes = 0;
    for cell in 0..3 {
        for replies in [true, false] {
            for after in 1.. {
                let fleet = Fleet::of(3);
                let expected = fill(&fleet).await;
                let others = ids(&fleet.memories[FROM], OTHER).await;
                let (verk, _) = program(&fleet).await;
                let faults = fleet.memories[cell].faults();
                match replies {
                    true => faults.refuse_after(after),
                    false => faults.lose_after(after),
                }
                let run = move_queue(&verk.admin(), TO).await;
                faults.set_refusing(false);
                let runs_through = match run {
                    Ok(report) => report.is_complete(),
                    Err(error) => {
                        assert!(matches!(error, MoveQueueError::Storage { .. }), "{error}");
                        crashes += 1;
                        false
                    }
                };
                let (verk, cells) = program(&fleet).await;
                if !runs_through {
                    let report = move_queue(&verk.admin(), TO).await.unwrap();
                    assert!(report.is_complete(), "{cell} {after}: {report:?}");
                }
                assert_eq!(cells.of(&name(QUEUE)), TO);
                assert_moved(&fleet, &expected, &others).await;
                if runs_through {
                    break;
                }
            }
        }
    }
    assert!(crashes > 60, "{crashes}");
}

/// Programs that do not know of the move: the old cell tells them.
#[tokio::test]
async fn a_client_that_knows_nothing_finds_the_queue() {
    let fleet = Fleet::of(3);
    let stale: Vec<Client> = vec![
        Client::new(fleet.cells.view()),
        program(&fleet).await.0.client().clone(),
    ];
    for client in &stale {
        let jid = client.enqueue(crate::job(QUEUE, 1)).await.unwrap();
        assert_eq!(
            fleet.queued(&fleet.memories[FROM], QUEUE).await.last(),
            Some(&jid.to_string())
        );
    }
    let first = stale[0]
        .enqueue_once("order-17", crate::job(QUEUE, 7))
        .await
        .unwrap();
    let (verk, _) = program(&fleet).await;
    move_queue(&verk.admin(), TO).await.unwrap();

    for (args, client) in (10..).zip(&stale) {
        // What a key was used for is known, wherever that was.
        let again = client
            .enqueue_once("order-17", crate::job(QUEUE, 7))
            .await
            .unwrap();
        assert_eq!(again, Enqueued::Seen(first.jid().clone()));
        let unique = || sync(QUEUE, args, Unique::new());
        let new = client.enqueue_unique(unique()).await.unwrap();
        let there = fleet.queued(&fleet.memories[TO], QUEUE).await;
        assert_eq!(there.last(), Some(&new.jid().to_string()));
        let met = client.enqueue_unique(unique()).await.unwrap();
        assert!(matches!(met, Enqueued::Duplicate { .. }), "{met:?}");
        // Now it knows.
        let jid = client.enqueue(crate::job(QUEUE, 1)).await.unwrap();
        let there = fleet.queued(&fleet.memories[TO], QUEUE).await;
        assert_eq!(there.last(), Some(&jid.to_string()));
    }
    let there = ids(&fleet.memories[FROM], QUEUE).await;
    assert_eq!(there, [""; 0]);
    assert_eq!(fleet.memories[FROM].seen("no").await.unwrap(), None);
}

/// Between the two cells, none takes a lock: the enqueue fails with a kind of its own after some
/// seconds, or is made once the move ends.
#[tokio::test]
async fn an_enqueue_with_a_lock_waits_for_the_move() {
    let fleet = Fleet::of(3);
    let unique = |args| sync(QUEUE, args, Unique::new());
    fleet.client.enqueue(unique(1)).await.unwrap();
    let (verk, _) = program(&fleet).await;
    // The new cell is down once both know that the queue moves.
    fleet.memories[TO].faults().refuse_after(2);
    move_queue(&verk.admin(), TO).await.unwrap_err();
    fleet.memories[TO].faults().set_refusing(false);
    let mover = verk.admin();

    let (client, plain) = (fleet.client.clone(), crate::job(QUEUE, 9));
    client.enqueue(plain).await.unwrap();
    let waits = tokio::spawn(async move { client.enqueue(unique(2)).await });
    let moves = tokio::spawn(async move { move_queue(&mover, TO).await });
    let report = moves.await.unwrap().unwrap();
    assert!(report.jobs.resumed && report.is_complete(), "{report:?}");
    waits.await.unwrap().unwrap();
    assert_eq!(ids(&fleet.memories[FROM], QUEUE).await, [""; 0]);
    assert_eq!(ids(&fleet.memories[TO], QUEUE).await.len(), 3);
}

#[tokio::test]
async fn a_move_that_cannot_begin_changes_nothing() {
    let fleet = Fleet::of(3);
    fill(&fleet).await;
    let (verk, _) = program(&fleet).await;
    let admin = verk.admin();
    let error = move_queue(&admin, 3).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no such cell: the cells have numbers from 0 to 2"
    );
    let one = Verk::builder()
        .storage(MemoryStorage::default())
        .build()
        .await
        .unwrap();
    let error = move_queue(&one.admin(), 1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no such cell: the fleet has one cell, 0"
    );
    let spread: Cells = fleet.memories.iter().cloned().collect();
    let spread = Verk::builder()
        .cells(spread)
        .spread_queue(QUEUE, 2)
        .build()
        .await
        .unwrap();
    let error = move_queue(&spread.admin(), TO).await.unwrap_err();
    assert!(matches!(error, MoveQueueError::Spread), "{error}");
    assert_eq!(admin.moved_queues().await.unwrap(), []);

    // One that did not end comes first.
    fleet.memories[TO].faults().refuse_after(3);
    move_queue(&admin, TO).await.unwrap_err();
    fleet.memories[TO].faults().set_refusing(false);
    let error = move_queue(&admin, 0).await.unwrap_err();
    assert!(
        matches!(error, MoveQueueError::OtherCell { to: TO }),
        "{error}"
    );
    let moved = admin.moved_queues().await.unwrap();
    let [
        QueuePlace {
            queue, cell, to, ..
        },
    ] = &moved[..]
    else {
        panic!("{moved:?}");
    };
    assert_eq!((queue.as_str(), *cell, *to), (QUEUE, FROM, Some(TO)));
    move_queue(&admin, TO).await.unwrap();
    move_queue(&admin, 0).await.unwrap();
    assert_eq!(fleet.memories[0].locks(ALL).await.unwrap().locks.len(), 6);
}

/// The pause of an operator stays in all cells, and a move that is stopped in time leaves none.
#[tokio::test]
async fn pauses_are_those_of_operators_afterwards() {
    let fleet = Fleet::of(3);
    fill(&fleet).await;
    let (verk, _) = program(&fleet).await;
    let admin = verk.admin();
    let stopped = admin
        .move_queue(name(QUEUE), TO)
        .until(|| true)
        .run()
        .await
        .unwrap();
    assert!(stopped.jobs.stopped && !stopped.is_complete());
    for memory in &fleet.memories {
        assert_eq!(memory.paused_queues().await.unwrap(), []);
    }
    admin
        .pause_queue(QUEUE, PauseNote::new().by("grace"))
        .await
        .unwrap();
    let report = move_queue(&admin, TO).await.unwrap();
    assert!(report.jobs.resumed && report.is_complete(), "{report:?}");
    for memory in &fleet.memories {
        assert_eq!(memory.paused_queues().await.unwrap(), [name(QUEUE)]);
    }
    let pauses = admin.pauses().await.unwrap();
    assert_eq!(pauses[0].by.as_deref(), Some("grace"));
}

/// Without an end of the move, an enqueue with a lock fails.
#[tokio::test]
async fn an_enqueue_with_a_lock_does_not_wait_for_ever() {
    let fleet = Fleet::of(3);
    let (verk, _) = program(&fleet).await;
    fleet
        .client
        .enqueue(sync(QUEUE, 1, Unique::new()))
        .await
        .unwrap();
    // The records of the beginning and of the closed gate; then the new cell is down.
    fleet.memories[TO].faults().refuse_after(2);
    move_queue(&verk.admin(), TO).await.unwrap_err();
    fleet.memories[TO].faults().set_refusing(false);
    let Err(EnqueueError::Storage { source, .. }) =
        fleet.client.enqueue(sync(QUEUE, 2, Unique::new())).await
    else {
        panic!("it was stored");
    };
    assert_eq!(source.kind(), StorageErrorKind::Moved, "{source}");
}
