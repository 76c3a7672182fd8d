//! No worker is linked into this program.

use std::{
    io::{Read, pipe},
    sync::Mutex,
};

use verk_core::Verk;
use verk_testing::MemoryStorage;

/// What is logged while a Verk with these queues is built.
async fn logged(queues: &[&str]) -> String {
    let (mut reader, writer) = pipe().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(writer))
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut builder = Verk::builder().storage(MemoryStorage::default());
    for queue in queues {
        builder = builder.queue(queue, 1);
    }
    builder.build().await.unwrap().shutdown().await;
    drop(guard);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_node_with_queues_and_no_worker_warns() {
    for (queues, warnings) in [(&["default"][..], 1), (&[], 0)] {
        let text = logged(queues).await;
        let warns = |line: &&str| {
            ["WARN", "has no worker", "use that_crate as _;"]
                .iter()
                .all(|part| line.contains(part))
        };
        assert_eq!(text.lines().filter(warns).count(), warnings, "{text}");
    }
}
