//! Periodic entries, which lie in the cell of their queue.

use verk_core::{
    EnqueueExt as _,
    cron::Cron,
    manage::PauseNote,
    storage::{CronChange, CronStore as _, CronUpsert, Page},
};

use crate::{Fleet, QUEUES, fleets, job, name};

fn daily(queue: &str) -> Cron {
    Cron::new("0 7 * * *").job(job(queue, 1))
}

/// The cells that have an entry.
async fn cells_with(fleet: &Fleet, entry: &str) -> Vec<usize> {
    let mut cells = Vec::new();
    for (number, cell) in fleet.memories.iter().enumerate() {
        let named = cell.cron_named(&[entry.to_owned()]).await.unwrap();
        if named[0].is_some() {
            cells.push(number);
        }
    }
    cells
}

#[tokio::test]
async fn an_entry_lies_in_the_cell_of_its_queue() {
    for fleet in fleets() {
        let timetable = fleet.admin.cron();
        for queue in QUEUES {
            assert!(timetable.upsert(queue, daily(queue)).await.unwrap());
            assert!(!timetable.upsert(queue, daily(queue)).await.unwrap());
            let home = fleet.cells.of(&name(queue));
            assert_eq!(cells_with(&fleet, queue).await, [home]);

            let jid = timetable.run_now(queue).await.unwrap();
            let queued = fleet.queued(fleet.home(queue), queue).await;
            assert_eq!(queued, [jid.to_string()]);
            let entry = timetable.get(queue).await.unwrap().unwrap();
            assert_eq!((entry.runs, entry.queue), (1, Some(name(queue))));

            let note = PauseNote::new().by("ada");
            assert!(timetable.pause(queue, note.clone()).await.unwrap());
            assert!(!timetable.pause(queue, note).await.unwrap());
            assert!(timetable.resume(queue).await.unwrap());
            assert!(!timetable.resume(queue).await.unwrap());
        }
        for queue in QUEUES {
            assert!(timetable.remove(queue).await.unwrap());
            assert!(!timetable.remove(queue).await.unwrap());
            assert_eq!(cells_with(&fleet, queue).await, [0; 0]);
        }
        assert!(timetable.run_now("a").await.is_err());
    }
}

#[tokio::test]
async fn entries_are_listed_by_their_next_run() {
    for fleet in fleets() {
        let timetable = fleet.admin.cron();
        for (number, queue) in QUEUES.iter().cycle().take(60).enumerate() {
            let entry = Cron::new(&format!("{} {} * * *", number % 7, number % 5));
            let entry = entry.job(job(queue, 1));
            timetable
                .upsert(&format!("entry-{number:02}"), entry)
                .await
                .unwrap();
        }
        for number in [3, 30, 44] {
            let name = format!("entry-{number:02}");
            timetable.pause(&name, PauseNote::new()).await.unwrap();
        }
        for limit in [1, 7, 60, 100] {
            let (mut all, mut offset) = (Vec::new(), 0);
            loop {
                let page = timetable.list(Page { offset, limit }).await.unwrap();
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= limit);
                offset += page.len();
                all.extend(page.into_iter().map(|entry| {
                    // Those that are paused come last.
                    (entry.next.is_none(), entry.next, entry.name)
                }));
            }
            assert_eq!(all.len(), 60);
            assert!(all.is_sorted());
        }
    }
}

/// It moves with its pause, and never is in two cells afterwards.
#[tokio::test]
async fn an_entry_moves_with_its_queue() {
    for fleet in fleets() {
        let timetable = fleet.admin.cron();
        timetable.upsert("report", daily(QUEUES[0])).await.unwrap();
        timetable
            .pause("report", PauseNote::new().by("ada"))
            .await
            .unwrap();
        for queue in QUEUES.iter().skip(1).chain(&QUEUES) {
            assert!(timetable.upsert("report", daily(queue)).await.unwrap());
            let home = fleet.cells.of(&name(queue));
            assert_eq!(cells_with(&fleet, "report").await, [home]);
            let entry = timetable.get("report").await.unwrap().unwrap();
            assert_eq!(entry.queue, Some(name(queue)));
            assert_eq!(entry.next, None);
            assert_eq!(entry.pause.unwrap().by.as_deref(), Some("ada"));
        }
        assert!(timetable.resume("report").await.unwrap());
        let entry = timetable.get("report").await.unwrap().unwrap();
        assert!(entry.next.is_some() && entry.pause.is_none());
        timetable.upsert("report", daily("mailers")).await.unwrap();
        let entry = timetable.get("report").await.unwrap().unwrap();
        assert!(entry.next.is_some() && entry.pause.is_none());
    }
}

/// As after a crash in the middle of a move, or a change of the layout. The other cell may come
/// before that of the queue, or after it.
#[tokio::test]
async fn a_name_in_two_cells_is_one_entry() {
    for fleet in fleets() {
        let home = fleet.cells.of(&name("mailers"));
        for other in (0..fleet.memories.len()).filter(|cell| *cell != home) {
            one_entry_in(&fleet, home, other).await;
        }
    }
}

async fn one_entry_in(fleet: &Fleet, home: usize, other: usize) {
    let timetable = fleet.admin.cron();
    timetable.upsert("report", daily("mailers")).await.unwrap();
    let names = ["report".to_owned()];
    let stored = fleet.memories[home].cron_named(&names).await.unwrap();
    let stored = stored[0].clone().unwrap();
    let copy = CronUpsert {
        seen: None,
        queue: None,
        definition: stored.definition,
        hash: stored.hash,
        next: stored.next,
        even_if_superseded: true,
    };
    let add_copy = async || {
        let change = fleet.memories[other].upsert_cron("report", &copy).await;
        assert_eq!(change.unwrap(), CronChange::Done);
        assert_eq!(cells_with(fleet, "report").await.len(), 2);
    };
    add_copy().await;

    let jid = timetable.run_now("report").await.unwrap();
    let queued = fleet.queued(&fleet.memories[home], "mailers").await;
    assert!(queued.contains(&jid.to_string()), "{home} {other}");
    assert_eq!(timetable.get("report").await.unwrap().unwrap().runs, 1);
    assert!(timetable.pause("report", PauseNote::new()).await.unwrap());
    assert!(timetable.resume("report").await.unwrap());
    let other_args = Cron::new("0 7 * * *").job(job("mailers", 2));
    assert!(timetable.upsert("report", other_args).await.unwrap());
    assert_eq!(cells_with(fleet, "report").await, [home]);

    add_copy().await;
    assert!(timetable.remove("report").await.unwrap());
    assert_eq!(cells_with(fleet, "report").await, [0; 0]);
}

#[tokio::test]
async fn the_job_of_an_entry_may_be_unique() {
    for fleet in fleets() {
        let timetable = fleet.admin.cron();
        for queue in QUEUES {
            let unique = job(queue, 1).unique(verk_core::Unique::new());
            let entry = Cron::every("1h").job(unique);
            timetable.upsert(queue, entry).await.unwrap();
            timetable.run_now(queue).await.unwrap();
            assert!(timetable.run_now(queue).await.is_err());
        }
    }
}
