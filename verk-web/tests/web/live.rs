//! Live figures.

use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use tower::ServiceExt;

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
