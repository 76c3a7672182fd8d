//! Live figures.

use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use tower::ServiceExt;

use serde_json::{Value, json};
use verk_core::storage::JobSet;

use crate::support::Web;

#[tokio::test]
async fn figures_come_as_events() {
    let web = Web::open().await;
    web.push("q", "{}").await;
    let request = Request::get("/live").body(Body::empty()).unwrap();
    let response = web.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = events.next().await.unwrap().unwrap();
    let text = String::from_utf8(first.to_vec()).unwrap();
    assert!(text.starts_with("event: figures\ndata: {"), "{text}");
    assert!(text.contains(r#""queue:waiting:q":"1""#), "{text}");
}

/// An open stream of events.
struct Stream(axum::body::BodyDataStream);

impl Stream {
    async fn open(web: &Web, last: Option<&str>) -> Self {
        let mut request = Request::get("/api/v1/events");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = web.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self(response.into_body().into_data_stream())
    }

    /// The next event: its id, its name, and its data.
    async fn next(&mut self) -> (String, String, Value) {
        let event = self.0.next().await.unwrap().unwrap();
        let text = String::from_utf8(event.to_vec()).unwrap();
        let field = |name: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().to_owned()
        };
        let data = serde_json::from_str(&field("data: ")).unwrap();
        (field("id: "), field("event: "), data)
    }
}

#[tokio::test]
async fn what_happens_in_the_fleet_comes_as_events() {
    let web = Web::with(|dashboard| dashboard).await;
    let mut stream = Stream::open(&web, None).await;
    let (_, name, counts) = stream.next().await;
    assert_eq!((&*name, &counts["waiting"]), ("counts", &json!(0)));

    web.admin.pause_queue_everywhere("mailers").await.unwrap();
    let (id, name, pause) = stream.next().await;
    assert_eq!((&*name, &pause["queue"]), ("paused", &json!("mailers")));
    assert!(pause["since"].is_string() && pause["time"].is_string());

    // Who comes back gets what happened meanwhile.
    drop(stream);
    web.admin.resume_queue_everywhere("mailers").await.unwrap();
    let mut stream = Stream::open(&web, Some(&id)).await;
    let (none, name, _) = stream.next().await;
    assert_eq!(
        (&*none, &*name),
        ("", "counts"),
        "it may be older than the last event"
    );
    let (id, name, _) = stream.next().await;
    assert_eq!(name, "resumed");
    // Nothing twice.
    drop(stream);
    let mut stream = Stream::open(&web, Some(&id)).await;
    assert_eq!(stream.next().await.1, "counts");

    let now = web.admin.now().duration_since(std::time::UNIX_EPOCH);
    let failed = format!(
        r#"{{"class":"A","jid":"f1","queue":"default","args":["secret"],"retry_count":0,"failed_at":{}}}"#,
        now.unwrap().as_secs_f64()
    );
    web.add(JobSet::Retry, 4_000_000_000, failed).await;
    let (_, name, counts) = stream.next().await;
    assert_eq!((&*name, &counts["retries"]), ("counts", &json!(1)));
    let (_, name, job) = stream.next().await;
    assert_eq!(
        (&*name, &job["jid"], &job["event"]),
        ("failed", &json!("f1"), &json!("failed"))
    );
    assert_eq!(
        (&job["args"], &job["payload"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn who_comes_back_to_another_process_hears_that_events_are_lost() {
    let web = Web::open().await;
    for id in ["1700000000000000.7", "0.0"] {
        let mut stream = Stream::open(&web, Some(id)).await;
        let first = stream.next().await.1;
        let second = stream.next().await.1;
        let names = [&*first, &*second];
        assert!(
            names.contains(&"missed") && names.contains(&"counts"),
            "{names:?}"
        );
    }
}
