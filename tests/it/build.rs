//! The errors of `build()` and `run()`, and their texts.

use std::time::Duration;

use verk::{
    JobContext, Outcome, Verk, Worker, WorkerOptions,
    job::{ArgsError, ArgsReader, ArgsWriter},
    outcome::PerformError,
};
use verk_testing::MemoryStorage;

use crate::support::{Log, States};

/// A worker by hand, whose class the caller chooses.
#[derive(Debug)]
struct Impostor;

impl Worker for Impostor {
    const CLASS: &'static str = "Note";
    const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT;

    fn encode_args(&self) -> Result<String, ArgsError> {
        Ok(ArgsWriter::new().finish())
    }

    fn decode_args(_: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
        Ok(Self)
    }

    async fn perform(self, _: JobContext) -> Result<Outcome, PerformError> {
        Ok(Outcome::Done)
    }
}

#[tokio::test]
async fn two_workers_of_one_class_are_an_error_that_names_both() {
    let builder = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("default", 1);
    let error = builder
        .register::<Impostor>()
        .build()
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(r#"two workers have the class "Note", at "#),
        "{error}"
    );
    assert!(
        error.contains("tests/it/lifecycle.rs:") && error.contains("Impostor"),
        "{error}"
    );
    assert!(!error.contains('\n'), "{error}");
}

#[tokio::test]
async fn missing_state_is_named_with_the_line_to_add() {
    let error = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("default", 1)
        .build()
        .await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("worker Note (tests/it/lifecycle.rs:"),
        "{error}"
    );
    assert!(
        error.contains("support::Log>: add `.state(value)`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_program_that_only_enqueues_needs_no_state_but_cannot_run() {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .register::<Impostor>()
        .build()
        .await
        .unwrap();
    let error = verk.run_until(async {}).await.unwrap_err();
    assert_eq!(
        format!("{error:?}"),
        r#"no queues to run: add `.queue("default", 25)` to the builder, or set VERK_QUEUES=default:25"#
    );
}

#[tokio::test]
async fn a_disabled_node_runs_no_queues_whatever_the_builder_says() {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .disabled(true)
        .queue("default", 1)
        .build()
        .await
        .unwrap();
    verk.run_until(async {}).await.unwrap();
    assert!(verk.config().disabled && verk.queues().is_empty());
    assert_eq!(verk.storage().nodes().await.unwrap(), []);
}

#[tokio::test]
async fn all_mistakes_are_reported_together() {
    let builder = Verk::builder()
        .queue("", 1)
        .queue("default", 0)
        .heartbeat(Duration::MAX)
        .poll_interval(Duration::ZERO);
    let error = builder
        .state(Log::default())
        .build()
        .await
        .unwrap_err()
        .to_string();
    for part in [
        "queue name \"\"",
        "concurrency of queue default is 0",
        "heartbeat is ",
        "poll_interval is 0",
        "no storage: add `.redis(url)`",
    ] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn a_node_id_has_one_holder() {
    let storage = MemoryStorage::default();
    let build = || {
        let builder = Verk::builder().storage(storage.clone()).queue("default", 1);
        let builder = builder
            .node_id("worker-0".to_owned())
            .heartbeat(Duration::from_secs(1));
        States::new().give(builder).build()
    };
    let first = build().await.unwrap();
    // Waits once for as long as the claim would last; the first one renews it meanwhile.
    let error = build().await.unwrap_err().to_string();
    assert!(
        error.starts_with(r#"the node_id "worker-0" is held by the living node worker-0."#),
        "{error}"
    );
    first.shutdown().await;

    let third = build().await.unwrap();
    third.shutdown().await;
}
