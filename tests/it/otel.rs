//! A trace continues from where a job was enqueued to where it runs.

use std::time::Duration;

use bytes::Bytes;
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use tracing::{Instrument, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;
use verk::{
    Event, EventKind, Job, Verk, VerkBuilder,
    prelude::*,
    storage::{JobSet, Source},
};
use verk_testing::{MemoryStorage, RedisServer};

use crate::support::{Fixture, States, at_once, queue_name, wait_for};

#[verk::worker(retry_at = at_once)]
async fn traced(fails: bool, ctx: JobContext) -> Result<(), String> {
    if fails && ctx.attempt() == 1 {
        return Err("the first time".into());
    }
    Ok(())
}

/// Enqueues another job.
#[verk::worker]
async fn relay(ctx: JobContext) -> Result<(), verk::EnqueueError> {
    ctx.client().enqueue(Traced::new(false)).await?;
    Ok(())
}

/// Keeps the spans of this thread, on which all of a test runs.
struct Traces {
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Traces {
    fn record() -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        Self {
            exporter,
            _provider: provider,
            _guard: guard,
        }
    }

    /// The spans of this name that have ended, in that order.
    fn named(&self, name: &str) -> Vec<SpanData> {
        let mut spans = self.exporter.get_finished_spans().unwrap();
        spans.retain(|span| span.name == name);
        spans
    }
}

fn trace_of(span: &SpanData) -> String {
    span.span_context.trace_id().to_string()
}

async fn a_trace_goes_on(builder: VerkBuilder) {
    let traces = Traces::record();
    let verk = States::new()
        .give(builder.queue("default", 5))
        .build()
        .await
        .unwrap();
    let request = tracing::info_span!("request");
    async {
        verk.enqueue(Relay::new()).await.unwrap();
        verk.enqueue(Traced::new(true)).await.unwrap();
    }
    .instrument(request)
    .await;
    let payloads = verk
        .storage()
        .list(
            &Source::Queue(queue_name("default")),
            &crate::support::ALL.into(),
        )
        .await;
    let request = traces.named("request").remove(0);
    for waiting in payloads.unwrap().jobs {
        let job = Job::decode(waiting.job).unwrap();
        let (trace, span) = (trace_of(&request), request.span_context.span_id());
        let expected = format!(r#""00-{trace}-{span}-01""#);
        assert_eq!(job.get("traceparent"), Some(expected.as_str()));
    }

    let mut events = verk.events();
    verk.start().unwrap();
    for _ in 0..3 {
        let finished =
            |event: Event| matches!(event.what, EventKind::JobFinished { .. }).then_some(());
        wait_for(&mut events, finished).await;
    }
    verk.shutdown().await;
    let relay = traces.named("Relay").remove(0);
    assert_eq!(relay.parent_span_id, request.span_context.span_id());
    assert_eq!(relay.span_kind, SpanKind::Consumer);
    assert!(relay.parent_span_is_remote);
    let runs = traces.named("Traced");
    let mut parents: Vec<SpanId> = runs.iter().map(|run| run.parent_span_id).collect();
    parents.sort_by_key(|parent| *parent == relay.span_context.span_id());
    let (of_request, of_relay) = (request.span_context.span_id(), relay.span_context.span_id());
    assert_eq!(
        parents,
        [of_request, of_request, of_relay],
        "a retry goes on with the trace"
    );
    for span in runs.iter().chain([&relay]) {
        assert_eq!(trace_of(span), trace_of(&request));
    }
    let mut failed: Vec<_> = runs
        .iter()
        .filter(|run| run.status != Status::Unset)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed.remove(0).status, Status::error("the first time"));
}

#[tokio::test]
async fn a_trace_goes_on_through_redis() {
    let redis = RedisServer::start();
    a_trace_goes_on(
        Verk::builder()
            .redis(redis.url())
            .poll_interval(Duration::from_millis(50)),
    )
    .await;
}

#[tokio::test]
async fn a_trace_goes_on_through_memory() {
    a_trace_goes_on(Verk::builder().storage(MemoryStorage::default())).await;
}

#[tokio::test]
async fn a_scheduled_job_belongs_to_the_trace_that_scheduled_it() {
    let traces = Traces::record();
    let mut it = Fixture::new().await;
    async {
        let hour = Duration::from_secs(3600);
        let job = Traced::new(false).schedule_in(hour);
        it.verk.enqueue(job).await.unwrap();
    }
    .instrument(tracing::info_span!("request"))
    .await;
    it.verk.start().unwrap();
    it.advance(Duration::from_secs(3601));
    it.wait_for_finished(1).await;
    let (request, run) = (traces.named("request"), traces.named("Traced"));
    assert_eq!(trace_of(&run[0]), trace_of(&request[0]));
    it.verk.shutdown().await;
}

#[tokio::test]
async fn a_trace_that_is_not_valid_is_ignored() {
    let traces = Traces::record();
    let mut it = Fixture::new().await;
    let zeros = "00-00000000000000000000000000000000-0000000000000000-01";
    let invalid = [
        "7".to_owned(),
        "null".to_owned(),
        r#""hello""#.to_owned(),
        format!("{zeros:?}"),
    ];
    for traceparent in &invalid {
        let payload = format!(
            r#"{{"class":"Traced","jid":"1","queue":"default","args":[false],"traceparent":{traceparent}}}"#
        );
        let storage = it.verk.storage();
        storage
            .enqueue(&queue_name("default"), &[Bytes::from(payload)])
            .await
            .unwrap();
    }
    it.verk.start().unwrap();
    it.wait_for_finished(invalid.len()).await;
    it.verk.shutdown().await;
    let runs = traces.named("Traced");
    assert_eq!(runs.len(), invalid.len());
    for run in runs {
        assert_eq!(run.parent_span_id, SpanId::INVALID);
    }
}

#[tokio::test]
async fn without_a_span_a_job_carries_no_trace() {
    let it = Fixture::new().await;
    it.verk.enqueue(Traced::new(false)).await.unwrap();
    let later = Traced::new(true).schedule_in(Duration::from_secs(60));
    it.verk.enqueue(later).await.unwrap();
    let queued = it.queued("default").await.remove(0);
    let scheduled = it.set(JobSet::Schedule).await.remove(0);
    for job in [Job::decode(queued).unwrap(), scheduled] {
        assert_eq!(
            (job.get("traceparent"), job.get("tracestate")),
            (None, None)
        );
    }
}
