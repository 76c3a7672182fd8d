//! What failed assertions say.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

mod twins {
    /// One of two that claim a class.
    #[verk::worker(class = "Twin")]
    pub(super) async fn first_twin() {}
}

fn message(assertion: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[tokio::test]
async fn failures_say_what_is_enqueued_instead() {
    let (verk, _log) = with_log();
    assert_eq!(
        message(|| verk.assert_enqueued(|_: &Greet| true)),
        "no Greet that matches is enqueued; nothing is"
    );
    Greet::enqueue("ada").await.unwrap();
    Countdown::new(3u32)
        .schedule_in(HOUR)
        .enqueue()
        .await
        .unwrap();
    assert_eq!(
        message(|| verk.assert_enqueued(|job: &Greet| job.name == "bob")),
        "no Greet that matches is enqueued; these 2 are:\n  Greet [\"ada\"] in queue mailers\n  Countdown [3] in queue default, in 3600s"
    );
    assert_eq!(
        message(|| verk.assert_scheduled(|_: &Countdown| true, DAY)),
        "no Countdown that matches is scheduled in 86400s; this is:\n  Countdown [3] in queue default, in 3600s"
    );
    assert_eq!(
        message(|| verk.refute_enqueued(|job: &Greet| job.name == "ada")),
        "a Greet that matches is enqueued; these 2 are:\n  Greet [\"ada\"] in queue mailers\n  Countdown [3] in queue default, in 3600s"
    );
    verk.refute_enqueued(|job: &Greet| job.name == "bob");
    verk.drain().await;
    assert_eq!(
        message(|| verk.assert_enqueued(|_: &Greet| true)),
        "no Greet that matches is enqueued; this is:\n  Countdown [3] in queue default, in 3600s\n(1 runs ended before)"
    );
}

#[tokio::test]
async fn a_failed_assertion_points_at_the_test() {
    let (verk, _log) = with_log();
    let place = std::sync::Arc::new(std::sync::Mutex::new(None));
    let seen = std::sync::Arc::clone(&place);
    let here = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() == here {
            *seen.lock().unwrap() = info.location().map(|at| (at.file().to_owned(), at.line()));
        } else {
            before(info);
        }
    }));
    let line = line!() + 1;
    message(|| verk.assert_enqueued(|_: &Greet| true));
    assert_eq!(*place.lock().unwrap(), Some((file!().to_owned(), line)));
}

#[tokio::test]
async fn a_class_that_two_workers_claim_is_refused() {
    struct SecondTwin;
    impl verk::Worker for SecondTwin {
        const CLASS: &'static str = "Twin";
        const OPTIONS: verk::WorkerOptions = verk::WorkerOptions::DEFAULT;
        fn encode_args(&self) -> Result<String, verk::job::ArgsError> {
            Ok(verk::job::ArgsWriter::new().finish())
        }
        fn decode_args(_: &mut verk::job::ArgsReader<'_>) -> Result<Self, verk::job::ArgsError> {
            Ok(Self)
        }
        async fn perform(self, _: JobContext) -> Result<Outcome, verk::outcome::PerformError> {
            Ok(Outcome::Done)
        }
    }

    let verk = TestVerk::builder().register::<SecondTwin>().build();
    let error = twins::FirstTwin::enqueue().await.unwrap_err();
    assert!(matches!(error, EnqueueError::DuplicateClass(_)), "{error}");
    let message = error.to_string();
    assert!(
        message.contains(r#"two workers have the class "Twin""#),
        "{message}"
    );
    assert!(
        message.contains("tests/testing/assertions.rs:"),
        "{message}"
    );
    verk.refute_enqueued(|_: &twins::FirstTwin| true);
    assert_eq!(verk.drain().await.ended(), 0);
}
