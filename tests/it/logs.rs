//! The lines of jobs in the log.

use std::{
    fmt::{Debug, Write},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::{
    Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};
use verk::{Event, EventKind, Outcome, prelude::*};
use verk_testing::RedisServer;

use crate::support::{Fixture, States, at_once};

/// Logs, also after it has waited, and also where its future is dropped.
#[verk::worker(retry_at = at_once)]
async fn chatty(password: String, ctx: JobContext) -> Result<(), String> {
    struct Dropped;
    impl Drop for Dropped {
        fn drop(&mut self) {
            tracing::info!("dropped");
        }
    }
    let _dropped = Dropped;
    tracing::info!("before");
    tokio::task::yield_now().await;
    tracing::info!(len = password.len(), "after");
    if ctx.attempt() == 1 {
        return Err("not yet".into());
    }
    Ok(())
}

/// Keeps every span and every line, each with its fields in order.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    spans: Vec<String>,
    /// With the level, the target and the span that it is in.
    lines: Vec<(Level, String, Option<String>, String)>,
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut fields = Fields(attributes.metadata().name().to_owned());
        attributes.record(&mut fields);
        self.0.lock().unwrap().spans.push(fields.0);
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        self.0.lock().unwrap().lines.push((
            *metadata.level(),
            metadata.target().to_owned(),
            context.event_span(event).map(|span| span.name().to_owned()),
            fields.0,
        ));
    }
}

impl Recorder {
    /// For this thread, on which all of a test runs.
    fn install(&self, level: LevelFilter) -> DefaultGuard {
        let subscriber = tracing_subscriber::registry().with(self.clone().with_filter(level));
        tracing::subscriber::set_default(subscriber)
    }

    fn spans(&self) -> Vec<String> {
        self.0.lock().unwrap().spans.clone()
    }

    /// The lines of a target, each with its level and its span.
    fn lines_of(&self, target: &str) -> Vec<(Level, Option<String>, String)> {
        let recorded = self.0.lock().unwrap();
        let lines = recorded.lines.iter().filter(|line| line.1 == target);
        lines
            .map(|(level, _, span, fields)| (*level, span.clone(), fields.clone()))
            .collect()
    }

    /// Levels and messages of what is said of jobs.
    fn said_of_jobs(&self) -> Vec<(Level, String)> {
        let lines = self.lines_of("verk::job").into_iter();
        let message = |fields: &str| {
            let (_, message) = fields.split_once("message=").unwrap();
            message.split(' ').next().unwrap().to_owned()
        };
        lines
            .map(|(level, _, fields)| (level, message(&fields)))
            .collect()
    }
}

/// Runs a job that fails once, with the default levels, or those of starts, ends and failures.
async fn run_chatty(levels: impl Into<Option<[LevelFilter; 3]>>) -> (verk::Jid, String) {
    let levels = levels.into();
    let mut it = Fixture::with(|mut builder| {
        if let Some([start, done, fail]) = levels {
            builder = builder
                .start_job_log_level(start)
                .done_job_log_level(done)
                .fail_job_log_level(fail);
        }
        builder.queue("default", 5)
    })
    .await;
    let jid = it.verk.enqueue(Chatty::new("hunter2")).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_finished(1).await;
    let node = it.verk.storage().nodes().await.unwrap().remove(0).id;
    it.verk.shutdown().await;
    (jid, node.to_string())
}

#[tokio::test]
async fn each_run_has_a_span_that_its_worker_logs_in_and_no_argument_is_logged() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::TRACE);
    let (jid, node) = run_chatty([LevelFilter::INFO; 3]).await;
    drop(guard);

    let span = |attempt| {
        format!(r#"job class="Chatty" jid={jid} queue=default attempt={attempt} node={node}"#)
    };
    assert_eq!(recorder.spans(), [span(1), span(2)]);
    let own = recorder.lines_of(module_path!());
    assert_eq!(own.len(), 6, "{own:?}");
    for (_, span, _) in &own {
        assert_eq!(span.as_deref(), Some("job"));
    }
    let lines = recorder.lines_of("verk::job");
    for ((_, _, fields), attempt) in lines.iter().zip([1, 1, 2, 2]) {
        let named = format!(r#"class="Chatty" jid={jid} queue=default attempt={attempt}"#);
        assert!(fields.contains(&named), "{fields}");
    }
    assert!(
        lines[1].2.contains(r#"error_message="not yet""#),
        "{lines:?}"
    );
    let everything = format!("{:?}", recorder.0.lock().unwrap());
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[tokio::test]
async fn starts_ends_and_failures_are_logged_at_their_levels() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::TRACE);
    run_chatty([LevelFilter::TRACE, LevelFilter::DEBUG, LevelFilter::ERROR]).await;
    drop(guard);
    let said = [
        (Level::TRACE, "start"),
        (Level::ERROR, "fail"),
        (Level::TRACE, "start"),
        (Level::DEBUG, "done"),
    ];
    assert_eq!(
        recorder.said_of_jobs(),
        said.map(|(level, text)| (level, text.to_owned()))
    );
}

#[tokio::test]
async fn by_default_a_retry_warns_and_a_start_is_for_debugging() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::TRACE);
    run_chatty(None).await;
    drop(guard);
    let said = [
        (Level::DEBUG, "start"),
        (Level::WARN, "fail"),
        (Level::DEBUG, "start"),
        (Level::INFO, "done"),
    ];
    assert_eq!(
        recorder.said_of_jobs(),
        said.map(|(level, text)| (level, text.to_owned()))
    );
}

/// Fails with what its argument says.
#[verk::worker(retry_at = in_2030)]
async fn ends_as(how: String) -> Result<Outcome, String> {
    match how.as_str() {
        "snoozed" => Ok(Outcome::Snooze(Duration::from_secs(60))),
        "discarded" => Ok(Outcome::Discard("not needed".into())),
        "dead" => Ok(Outcome::Kill("never works".into())),
        "done" => Ok(Outcome::Done),
        _ => Err("no".into()),
    }
}

/// 2030-01-01, at 0:00 UTC, and a quarter of a second.
fn in_2030(_: SystemTime, _: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_893_456_000_250)
}

/// The line that a run leaves which ends like this, with its level.
async fn line_of(how: &str, max_retry_count: u32) -> (Level, String) {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::INFO);
    let mut it = Fixture::new().await;
    it.verk.start().unwrap();
    let job = EndsAs::new(how).max_retry_count(max_retry_count);
    it.verk.enqueue(job).await.unwrap();
    it.wait_for(|event| match event {
        Event {
            what: EventKind::JobFinished { .. },
            ..
        }
        | Event {
            what: EventKind::JobFailed { .. },
            ..
        }
        | Event {
            what: EventKind::JobSnoozed { .. },
            ..
        }
        | Event {
            what: EventKind::JobDiscarded { .. },
            ..
        } => Some(()),
        _ => None,
    })
    .await;
    it.verk.shutdown().await;
    drop(guard);
    let mut lines = recorder.lines_of("verk::job");
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (level, _, line) = lines.remove(0);
    (level, line)
}

#[tokio::test]
async fn an_end_names_its_attempt_its_time_its_outcome_and_when_the_job_runs_again() {
    let cases = [
        ("done", 1, Level::INFO, "done", ""),
        ("snoozed", 1, Level::INFO, "snoozed", ""),
        ("discarded", 1, Level::INFO, "discarded", ""),
        ("retry", 1, Level::WARN, "retry", "2030-01-01T00:00:00.250Z"),
        ("no retry", 0, Level::ERROR, "dead", ""),
        ("dead", 1, Level::ERROR, "dead", ""),
    ];
    for (how, max_retry_count, level, outcome, retry_at) in cases {
        let (logged_at, line) = line_of(how, max_retry_count).await;
        assert_eq!(logged_at, level, "{line}");
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}="))?;
            rest.split(' ').next().map(str::to_owned)
        };
        assert_eq!(field("attempt").as_deref(), Some("1"), "{line}");
        assert_eq!(field("outcome"), Some(format!("{outcome:?}")), "{line}");
        let elapsed: f64 = field("elapsed_s").unwrap().parse().unwrap();
        assert!((0.0..60.0).contains(&elapsed), "{line}");
        match outcome {
            "retry" => assert_eq!(field("retry_at").as_deref(), Some(retry_at), "{line}"),
            "snoozed" => {
                let at = field("retry_at").unwrap();
                assert!(
                    at.len() == "2030-01-01T00:00:00.000Z".len() && at.ends_with('Z'),
                    "{line}"
                );
            }
            _ => assert_eq!(field("retry_at"), None, "{line}"),
        }
        for rust in ["Some(", "SystemTime", "Retry {", "µs", "ms "] {
            assert!(!line.contains(rust), "{line}");
        }
    }
}

#[tokio::test]
async fn a_node_that_starts_says_what_it_is() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::INFO);
    let server = RedisServer::start();
    let verk = States::new()
        .give(Verk::builder().redis(server.url()))
        .queue("mailers", 3)
        .queue("default", 5)
        .build()
        .await
        .unwrap();
    verk.start().unwrap();
    verk.start().unwrap();
    let node = verk.storage().nodes().await.unwrap().remove(0).id;
    let address = verk.storage().address();
    verk.shutdown().await;
    drop(guard);
    let mut lines = recorder.lines_of("verk_core::verk");
    lines.retain(|(_, _, line)| line.contains("message=started"));
    let [(level, _, line)] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(*level, Level::INFO);
    let version = env!("CARGO_PKG_VERSION");
    let what = format!(r#" version="{version}" node={node} queues="default:5,mailers:3" workers="#);
    assert!(line.contains(&what), "{line}");
    assert!(line.ends_with(&format!(" storage={address:?}")), "{line}");
    assert!(server.url().contains(&address), "{address}");
}

#[tokio::test]
async fn what_is_off_is_not_said() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::TRACE);
    run_chatty([LevelFilter::OFF, LevelFilter::WARN, LevelFilter::OFF]).await;
    drop(guard);
    assert_eq!(recorder.said_of_jobs(), [(Level::WARN, "done".to_owned())]);
}

#[tokio::test]
async fn no_span_is_made_that_nobody_wants() {
    let recorder = Recorder::default();
    let guard = recorder.install(LevelFilter::WARN);
    run_chatty([LevelFilter::INFO; 3]).await;
    drop(guard);
    assert_eq!(recorder.spans(), [] as [&str; 0]);
    assert_eq!(recorder.said_of_jobs(), []);
}
