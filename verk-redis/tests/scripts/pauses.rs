//! Pauses that verk shares with programs that know no notes.

use bytes::Bytes;
use verk_core::{
    Client,
    manage::{Admin, PauseNote},
    storage::PauseStore,
};
use verk_testing::RedisServer;

use crate::{Setup, text};

async fn setup() -> (Setup, Admin) {
    let setup = Setup::start().await;
    let admin = Client::new(std::sync::Arc::new(setup.storage.clone())).admin();
    (setup, admin)
}

/// The notes in the storage, by queue.
fn notes(server: &RedisServer) -> Vec<String> {
    let notes = server.command(&["HGETALL", "verk:pauses"]).into_array();
    notes.unwrap().into_iter().map(text).collect()
}

#[tokio::test]
async fn a_pause_of_another_program_is_by_nobody_known() {
    let (setup, admin) = setup().await;
    let server = &setup.server;
    server.command(&["SADD", "paused", "mailers"]);
    let again = PauseNote::new().by("ada");
    assert!(!admin.pause_queue("mailers", again).await.unwrap());
    let pauses = admin.pauses().await.unwrap();
    assert_eq!(pauses.len(), 1);
    assert_eq!(pauses[0].queue.as_str(), "mailers");
    assert_eq!((pauses[0].since, &pauses[0].by), (None, &None));
    assert_eq!(notes(server), [""; 0]);
}

#[tokio::test]
async fn the_note_of_a_pause_that_another_program_ended_is_not_shown() {
    let (setup, admin) = setup().await;
    let server = &setup.server;
    let pause = async |who: &str| {
        let note = PauseNote::new().by(who);
        admin.pause_queue("mailers", note).await.unwrap()
    };
    assert!(pause("ada").await);
    server.command(&["SREM", "paused", "mailers"]);
    assert!(notes(server)[1].contains("ada"), "it knows no notes");
    assert_eq!(admin.pauses().await.unwrap(), []);

    assert!(pause("bob").await);
    let pauses = admin.pauses().await.unwrap();
    assert_eq!(pauses[0].by.as_deref(), Some("bob"));
    server.command(&["SREM", "paused", "mailers"]);
    assert!(!admin.resume_queue_everywhere("mailers").await.unwrap());
    assert_eq!(notes(server), [""; 0], "it is forgotten all the same");

    // Without a note of its own, a pause does not take that of another.
    assert!(pause("ada").await);
    server.command(&["SREM", "paused", "mailers"]);
    let queue = "mailers".parse().unwrap();
    assert!(setup.storage.pause(&queue, &Bytes::new()).await.unwrap());
    assert_eq!(admin.pauses().await.unwrap()[0].by, None);
}

#[tokio::test]
async fn queues_are_paused_and_resumed_while_notes_cannot_be_stored() {
    let (setup, admin) = setup().await;
    setup
        .server
        .command(&["SET", "verk:pauses", "of another program"]);
    let note = PauseNote::new().by("ada");
    assert!(admin.pause_queue("mailers", note).await.unwrap());
    let pauses = admin.pauses().await.unwrap();
    assert_eq!((pauses.len(), &pauses[0].by), (1, &None));
    assert!(admin.resume_queue_everywhere("mailers").await.unwrap());
    assert_eq!(admin.pauses().await.unwrap(), []);
    let kept = text(setup.server.command(&["GET", "verk:pauses"]));
    assert_eq!(kept, "of another program");
}
