//! Keys that change something, on each storage.

use std::time::Duration;

use bytes::Bytes;
use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use verk_core::{
    manage::{Admin, AuditEntry},
    storage::{JobSet, Page, ProcessSignal},
};
use verk_testing::MemoryStorage;

use super::Top;
use crate::tests::fixture::{self, Stored};

async fn audit(admin: &Admin) -> Vec<(String, Option<String>, Option<String>)> {
    let page = Page {
        offset: 0,
        limit: 10,
    };
    let of = |entry: AuditEntry| (entry.action, entry.target, entry.who);
    let entries = admin.audit(page).await.unwrap();
    entries.into_iter().map(of).collect()
}

fn recorded(action: &str, target: &str) -> (String, Option<String>, Option<String>) {
    let who = "ada (command line)".to_owned();
    (action.to_owned(), Some(target.to_owned()), Some(who))
}

async fn dead(admin: &Admin) -> usize {
    admin.dead_set().count().await.unwrap()
}

#[tokio::test]
async fn a_queue_is_paused_and_resumed() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("p").await;
        assert_eq!(
            top.said(),
            "paused queue mailers on all nodes; running jobs continue"
        );
        let pauses = admin.pauses().await.unwrap();
        assert_eq!(pauses[0].queue.as_str(), "mailers");
        assert_eq!(pauses[0].by.as_deref(), Some("ada"));
        top.assert_shows("paused");
        // Its jobs are shown: the key is for the same queue.
        top.press("Enter p").await;
        assert_eq!(top.said(), "resumed queue mailers");
        assert!(admin.pauses().await.unwrap().is_empty());
        assert_eq!(
            audit(admin).await,
            [
                recorded("resume", "in queue mailers"),
                recorded("pause", "in queue mailers")
            ]
        );
    }
}

#[tokio::test]
async fn a_dead_job_runs_now() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("5 r").await;
        assert_eq!(top.said(), "moved Charge c1 to the queue");
        assert_eq!(dead(admin).await, 3);
        assert_eq!(admin.queue("payments").unwrap().count().await.unwrap(), 1);
        assert_eq!(audit(admin).await, [recorded("requeue", "in the dead set")]);
        // The next row is selected, so that the same key is for the next job.
        top.press("r").await;
        assert_eq!(top.said(), "moved SendWelcome d2 to the queue");
    }
}

#[tokio::test]
async fn a_job_is_deleted_after_a_yes_only() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        for no in ["n", "Esc", "Enter", "d", "Space", "q"] {
            top.press("5 d").await;
            assert_eq!(top.said(), "Delete Charge c1? [y/N]");
            top.press(no).await;
            assert_eq!(top.said(), "nothing was changed");
            assert_eq!((dead(admin).await, top.has_quit), (4, false), "{no}");
        }
        // Pasted letters are no keys.
        top.press("d").await;
        top.event(Event::Paste("yyy".to_owned())).await;
        assert_eq!(dead(admin).await, 4);
        top.press("y").await;
        assert_eq!(top.said(), "deleted Charge c1");
        assert_eq!(dead(admin).await, 3);
        assert_eq!(audit(admin).await, [recorded("delete", "in the dead set")]);
    }
}

#[tokio::test]
async fn a_waiting_job_is_killed_from_its_page() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("Enter Enter").await;
        top.assert_shows("w1@example.com");
        top.press("x").await;
        assert_eq!(top.said(), "Move SendWelcome w1 to the dead set? [y/N]");
        top.press("y").await;
        assert_eq!(top.said(), "moved SendWelcome w1 to the dead set");
        assert_eq!(dead(admin).await, 5);
        // The page of a job that is gone is closed.
        top.assert_shows("WAITS");
        top.assert_shows(">w2");
        assert!(!top.shows("w1  "));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    for storage in fixture::storages().await {
        let mut top = Top::start(storage.admin_of("top")).await;
        for (keys, said) in [
            ("5 x", "it is in the dead set already"),
            ("1 Enter r", "it waits in its queue already"),
            (
                "1 d",
                "select a job that waits: on tabs 4 to 6, or with Enter on a queue",
            ),
            ("2 p", "p pauses a queue: select one on tab 1"),
            ("2 Q", "Q and S are for processes: select one on tab 3"),
            (
                "5 g d",
                "open a group with Enter to change one job; `verk jobs` changes all that match",
            ),
            ("6 g", "g groups retries and dead jobs: tabs 4 and 5"),
        ] {
            top.press(keys).await;
            assert_eq!(top.said(), said, "{keys}");
            assert!(top.state.question.is_none(), "{keys}");
        }
    }
}

#[tokio::test]
async fn a_job_that_moved_meanwhile_is_left_alone() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("5 d").await;
        // Another person runs it before the yes.
        let entry = admin.dead_set().find("c1").await.unwrap().unwrap();
        assert!(entry.requeue().await.unwrap());
        top.press("y").await;
        assert_eq!(
            top.said(),
            "nothing was changed: Charge c1 is not there any more"
        );
        assert_eq!(dead(admin).await, 3);
        // The job that took its place is not selected.
        top.press("d").await;
        assert_eq!(
            top.said(),
            "the selected job has moved on: select another one"
        );
        assert!(top.state.question.is_none());
        top.press("Down d").await;
        assert_eq!(top.said(), "Delete SendWelcome d2? [y/N]");
    }
}

#[tokio::test]
async fn a_question_is_for_the_job_that_was_selected() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("5 Down d").await;
        assert_eq!(top.said(), "Delete SendWelcome d2? [y/N]");
        // Jobs come before it while the question waits.
        let job = |jid: &str| Bytes::from(format!(r#"{{"class":"New","jid":"{jid}","args":[]}}"#));
        for jid in ["n1", "n2", "n3"] {
            storage.add(JobSet::Dead, admin.now(), job(jid)).await;
        }
        top.read().await;
        top.press("y").await;
        assert_eq!(top.said(), "deleted SendWelcome d2");
        assert!(admin.dead_set().find("d2").await.unwrap().is_none());
        assert_eq!(dead(admin).await, 6);
    }
}

#[tokio::test]
async fn a_process_gets_its_signal() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.press("3 S").await;
        assert_eq!(
            top.said(),
            "Stop web-1:42:0123456789ab, which ends it after its jobs? [y/N]"
        );
        top.press("y").await;
        assert_eq!(
            top.said(),
            "sent stop; within about 10 seconds it is obeyed by web-1:42:0123456789ab"
        );
        let process = admin.find_process("web-1:42:0123456789ab").await.unwrap();
        assert!(process.is_some());
        assert_eq!(
            audit(admin).await,
            [recorded("stop", "process web-1:42:0123456789ab")]
        );
        assert_eq!(signals(&storage).await, [ProcessSignal::Stop]);
        // It goes away while the question waits.
        top.press("Q").await;
        let identity = "web-1:42:0123456789ab";
        storage.storage().forget_process(identity).await.unwrap();
        top.press("y").await;
        assert_eq!(
            top.said(),
            "quiet was not sent: web-1:42:0123456789ab is gone, or is embedded in another program"
        );
    }
}

/// What the first process is asked to do.
async fn signals(storage: &Stored) -> Vec<ProcessSignal> {
    let processes = storage.storage().processes().await.unwrap();
    storage
        .storage()
        .report_process(&processes[0])
        .await
        .unwrap()
}

#[tokio::test]
async fn a_list_has_pages() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        for number in 0..40 {
            let job = format!(r#"{{"class":"Many","jid":"m{number:02}","args":[{number}]}}"#);
            storage.push("many", Bytes::from(job)).await;
        }
        let mut top = Top::start(admin).await;
        top.press("Down Enter").await;
        top.assert_shows(">m00");
        top.assert_shows(" m17");
        assert!(!top.shows("m18"));
        // From the last row on to the next page, and back to the last row.
        top.press("End Down").await;
        top.assert_shows(">m18");
        top.assert_shows("page 2");
        top.press("Up").await;
        top.assert_shows(">m17");
        top.press("n n n").await;
        top.assert_shows(">m36");
        top.assert_shows("page 3");
        // A terminal with more lines shows more.
        top.resize(80, 60).await;
        top.press("Home").await;
        top.assert_shows(">m00");
        top.assert_shows(" m39");
        // A job that a key is for is that of the page that is shown.
        top.press("Down x y").await;
        assert_eq!(top.said(), "moved Many m01 to the dead set");
    }
}

#[tokio::test]
async fn the_figures_get_old_when_the_storage_does_not_answer() {
    let memory = MemoryStorage::default();
    let verk = verk_core::Verk::builder().storage(memory.clone());
    let admin = verk.build().await.unwrap().admin();
    admin.pause_queue_everywhere("mailers").await.unwrap();
    let mut top = Top::start(&admin).await;
    memory.faults().set_refusing(true);
    top.read().await;
    top.age = Duration::from_secs(75);
    top.assert_shows("NO ANSWER: figures are 1m15s old");
    assert!(
        top.said().starts_with("failed to list the nodes"),
        "{}",
        top.said()
    );
    // They are still there, and keys still work.
    top.assert_shows(">mailers");
    top.press("p").await;
    assert!(top.said().starts_with("failed to resume"), "{}", top.said());
    top.press("5").await;
    top.assert_shows("reading ...");
    memory.faults().set_refusing(false);
    top.age = Duration::ZERO;
    top.read().await;
    assert!(!top.shows("NO ANSWER"));
    top.assert_shows("no jobs in the dead set");
}

#[tokio::test]
async fn keys_that_quit_do_so_everywhere() {
    for storage in fixture::storages().await {
        let mut top = Top::start(storage.admin_of("top")).await;
        top.press("/ q").await;
        assert!(!top.has_quit, "it is a letter of the filter");
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        top.event(Event::Key(key)).await;
        assert!(top.has_quit);
        top.has_quit = false;
        top.press("Esc ? q").await;
        assert!(!top.has_quit, "it ends the help");
        top.press("q").await;
        assert!(top.has_quit);
    }
}

#[tokio::test]
async fn a_queue_that_took_the_place_of_the_selected_one_is_not_paused() {
    for storage in fixture::storages().await {
        let admin = storage.admin_of("top");
        let mut top = Top::start(admin).await;
        top.assert_shows(">mailers");
        let mailers = admin.queue("mailers").unwrap();
        mailers.clear().await.unwrap();
        top.read().await;
        top.press("p").await;
        assert_eq!(top.said(), "the selected queue is gone: select another one");
        assert!(admin.pauses().await.unwrap().is_empty());
        top.press("Down p").await;
        assert_eq!(
            top.said(),
            "paused queue reports on all nodes; running jobs continue"
        );
    }
}
