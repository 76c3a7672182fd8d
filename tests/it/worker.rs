//! What `#[verk::worker]` adds around the function: extractors, and the texts of its options for an
//! error.

use verk::{
    BoxError, Event, EventKind, FromJob, JobContext, RetryIn, events::AfterFailure, job::Failure,
};

use crate::support::{Fixture, at_once, queue_name};

#[derive(Debug, thiserror::Error)]
enum ChargeError {
    #[error("the card was declined")]
    Declined,
    #[error("the order is gone")]
    Gone,
    #[error("the bank is closed")]
    Closed,
}

/// The function decides by the worker's own error.
fn by_error(attempt: u32, error: &ChargeError) -> RetryIn {
    match error {
        ChargeError::Declined => RetryIn::Kill,
        ChargeError::Gone => RetryIn::Discard,
        ChargeError::Closed if attempt == 1 => RetryIn::After(std::time::Duration::ZERO),
        ChargeError::Closed => RetryIn::Kill,
    }
}

fn class_of(error: &ChargeError) -> String {
    format!("Charge::{error:?}")
}

#[verk::worker(retry_in = by_error, error_class = class_of)]
async fn charge(error: String) -> Result<(), ChargeError> {
    Err(match error.as_str() {
        "declined" => ChargeError::Declined,
        "gone" => ChargeError::Gone,
        _ => ChargeError::Closed,
    })
}

/// An extractor of a program's own.
struct Tenant(String);

impl FromJob for Tenant {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        let args = ctx.job().args();
        if args.contains("nobody") {
            return Err("no tenant of that name".into());
        }
        Ok(Self(format!("tenant of {args}")))
    }
}

#[verk::worker(max_retry_count = 0)]
async fn bill(
    #[extract] Tenant(tenant): Tenant,
    name: String,
    verk::State(log): verk::State<crate::support::Log>,
) {
    log.push(format!("{name}: {tenant}"));
}

async fn failure(fixture: &mut Fixture) -> (Failure, AfterFailure) {
    fixture
        .wait_for(|event| match event {
            Event {
                what: EventKind::JobFailed { failure, then, .. },
                ..
            } => Some((failure, then)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn retry_in_and_error_class_see_the_worker_s_own_error() {
    let mut fixture = Fixture::new().await;
    fixture.verk.start().unwrap();

    fixture.verk.enqueue(Charge::new("declined")).await.unwrap();
    let (failed, then) = failure(&mut fixture).await;
    assert_eq!(failed.error_class, "Charge::Declined");
    assert_eq!(failed.error_message, "the card was declined");
    assert!(matches!(then, AfterFailure::Dead), "{then:?}");

    fixture.verk.enqueue(Charge::new("gone")).await.unwrap();
    let (failed, then) = failure(&mut fixture).await;
    assert_eq!(failed.error_class, "Charge::Gone");
    assert!(matches!(then, AfterFailure::Discarded), "{then:?}");

    fixture.verk.enqueue(Charge::new("closed")).await.unwrap();
    let (_, then) = failure(&mut fixture).await;
    assert!(matches!(then, AfterFailure::Retry { .. }), "{then:?}");
    let (_, then) = failure(&mut fixture).await;
    assert!(matches!(then, AfterFailure::Dead), "{then:?}");
    fixture.verk.shutdown().await;
}

#[tokio::test]
async fn extractors_are_made_for_each_run() {
    let mut fixture = Fixture::new().await;
    fixture.verk.start().unwrap();
    fixture.verk.enqueue(Bill::new("ada")).await.unwrap();
    fixture.wait_for_finished(1).await;
    assert_eq!(fixture.log.entries(), [r#"ada: tenant of ["ada"]"#]);
    fixture.verk.shutdown().await;
}

#[tokio::test]
async fn an_extractor_that_fails_fails_the_run() {
    let mut fixture = Fixture::new().await;
    fixture.verk.start().unwrap();
    fixture.verk.enqueue(Bill::new("nobody")).await.unwrap();
    let (failed, then) = failure(&mut fixture).await;
    assert_eq!(failed.error_class, "ExtractError");
    assert_eq!(failed.error_message, "no tenant of that name");
    assert!(matches!(then, AfterFailure::Dead), "{then:?}");
    assert_eq!(fixture.log.entries(), [""; 0]);
    fixture.verk.shutdown().await;
}

#[verk::worker(timeout = "1h", tags = ["nightly"])]
async fn curious(ctx: JobContext, verk::State(log): verk::State<crate::support::Log>) {
    let left = ctx
        .deadline()
        .map(|deadline| deadline - ctx.client().clock().instant());
    let waited = ctx
        .enqueued_at()
        .map(|at| ctx.client().clock().now().duration_since(at));
    log.push(format!(
        "{} attempt {} in {}, {:?}, {left:?} left, waited {waited:?}",
        ctx.job().class(),
        ctx.attempt(),
        ctx.queue(),
        ctx.tags()
    ));
}

#[tokio::test]
async fn a_running_job_can_ask_about_itself() {
    let mut fixture = Fixture::new().await;
    fixture.verk.enqueue(Curious::new()).await.unwrap();
    fixture.verk.start().unwrap();
    fixture.wait_for_finished(1).await;
    let expected =
        r#"Curious attempt 1 in default, ["nightly"], Some(3600s) left, waited Some(Ok(0ns))"#;
    assert_eq!(fixture.log.entries(), [expected]);
    fixture.verk.shutdown().await;
}

#[tokio::test]
async fn jobs_of_borrowed_items_are_enqueued_in_a_task() {
    let it = Fixture::new().await;
    let client = it.verk.client().clone();
    let names = ["ada ", "grace "].map(str::to_owned);
    let task = tokio::spawn(async move {
        let jobs = names.iter().map(|name| Charge::new(name.trim()));
        client.enqueue_all(jobs).await
    });
    assert_eq!(task.await.unwrap().unwrap().len(), 2);
}

#[verk::worker(max_retry_count = 2, retry_at = at_once)]
async fn limited() -> Result<(), String> {
    Err("never".into())
}

#[verk::worker(retry_at = at_once)]
async fn unlimited() -> Result<(), String> {
    Err("never".into())
}

#[tokio::test]
async fn a_number_in_the_payload_beats_the_worker_which_beats_the_configuration() {
    let mut it = Fixture::with(|builder| builder.queue("default", 1).max_retry_count(1)).await;
    it.verk.start().unwrap();
    // Of Elixir's Verk: its 13 keys, with a limit or without.
    let of_elixir = |limit: &str| {
        format!(
            r#""created_at":null,"enqueued_at":1,"error_backtrace":null,"error_message":null,"failed_at":null,"finished_at":null,"max_retry_count":{limit},"retried_at":null,"retry_count":0"#
        )
    };
    let (dead, discarded) = (AfterFailure::Dead, AfterFailure::Discarded);
    for (class, options, runs, end) in [
        // No number: the worker's own, or the configured one.
        ("Limited", r#""retry":true"#, 3, dead),
        ("Limited", r#""x":"no retry""#, 3, dead),
        ("Limited", r#""retry":null"#, 3, dead),
        ("Limited", r#""retry":"9""#, 3, dead),
        ("Limited", &of_elixir("null"), 3, dead),
        ("Unlimited", r#""retry":true"#, 2, dead),
        ("Unlimited", r#""x":"no retry""#, 2, dead),
        // A number, `max_retry_count` first.
        ("Limited", r#""retry":1"#, 2, dead),
        ("Limited", r#""retry":0"#, 1, dead),
        ("Limited", r#""retry":1,"max_retry_count":3"#, 4, dead),
        ("Limited", r#""retry":true,"max_retry_count":0"#, 1, dead),
        ("Limited", &of_elixir("1"), 2, dead),
        ("Unlimited", r#""retry":3"#, 4, dead),
        // `false` wins.
        ("Limited", r#""retry":false"#, 1, discarded),
        (
            "Limited",
            r#""retry":false,"max_retry_count":9"#,
            1,
            discarded,
        ),
        ("Unlimited", r#""retry":false"#, 1, discarded),
    ] {
        let payload =
            format!(r#"{{"class":"{class}","args":[],"jid":"1","queue":"default",{options}}}"#);
        let queue = queue_name("default");
        let jobs = [payload.into()];
        it.verk.storage().enqueue(&queue, &jobs).await.unwrap();
        let mut run = 0;
        let then = loop {
            run += 1;
            let then = it.wait_for(|event| match event {
                Event {
                    what: EventKind::JobFailed { then, .. },
                    ..
                } => Some(then),
                _ => None,
            });
            let then = then.await;
            if !matches!(then, AfterFailure::Retry { .. }) {
                break then;
            }
        };
        assert_eq!((run, then), (runs, end), "{class} {options}");
    }
    it.verk.shutdown().await;
}

#[verk::worker(max_retry_count = 0)]
async fn ticking(tick: verk::cron::Tick, verk::State(log): verk::State<crate::support::Log>) {
    let due = tick.due().duration_since(std::time::UNIX_EPOCH).unwrap();
    log.push(format!(
        "{} at {due:?}, {} missed",
        tick.name(),
        tick.missed()
    ));
}

#[verk::worker]
async fn maybe_ticking(
    tick: Option<verk::cron::Tick>,
    verk::State(log): verk::State<crate::support::Log>,
) {
    log.push(tick.map_or_else(|| "no tick".to_owned(), |tick| tick.name().to_owned()));
}

#[tokio::test]
async fn a_job_has_the_tick_that_made_it() {
    let mut fixture = Fixture::new().await;
    fixture.verk.start().unwrap();
    let due = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_732_387_200);
    for class in ["Ticking", "MaybeTicking"] {
        let tick = verk::cron::Tick::new("nightly", due, 2).to_json();
        let payload = format!(
            r#"{{"class":"{class}","jid":"jid of {class}","args":[],"verk":{{"c":{tick}}}}}"#
        );
        let storage = fixture.verk.storage();
        let jobs = [bytes::Bytes::from(payload)];
        storage
            .enqueue(&queue_name("default"), &jobs)
            .await
            .unwrap();
    }
    fixture.wait_for_finished(2).await;
    let mut entries = fixture.log.entries();
    entries.sort();
    assert_eq!(entries, ["nightly", "nightly at 1732387200s, 2 missed"]);

    fixture.verk.enqueue(MaybeTicking::new()).await.unwrap();
    fixture.wait_for_finished(1).await;
    assert_eq!(fixture.log.entries()[2], "no tick");
    fixture.verk.enqueue(Ticking::new()).await.unwrap();
    let (failed, _) = failure(&mut fixture).await;
    assert_eq!(failed.error_class, "ExtractError");
    assert!(
        failed
            .error_message
            .starts_with("no tick made this job: take `Option<Tick>`")
    );
    fixture.verk.shutdown().await;
}
