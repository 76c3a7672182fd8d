//! The web service, without a socket.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use shop::{
    jobs::{housekeeping::ExpireCart, orders::ConfirmOrder},
    ops, web,
};
use tower::ServiceExt;
use verk::testing::TestVerk;

use crate::store_with_order;

#[tokio::test]
async fn requests_become_jobs() {
    let (store, order) = store_with_order("ada@example.com").await;
    let cart_lifetime = Duration::from_secs(60);
    let router = web::router(store, cart_lifetime);
    let send = async |method: &str, path: &str, body: &'static str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let order_of_two = r#"{"email":"ada@example.com","sku":"mug","quantity":2}"#;

    // Without a Verk nothing can be enqueued: the client may try again, and no order is stored.
    let (status, _) = send("POST", "/orders", order_of_two).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, _) = send("GET", &format!("/orders/{}", order + 1), "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let verk = TestVerk::new();
    let (status, body) = send("POST", "/orders", order_of_two).await;
    assert_eq!(
        (status, body),
        (StatusCode::ACCEPTED, format!(r#"{{"id":{}}}"#, order + 1))
    );
    verk.assert_enqueued(|job: &ConfirmOrder| job.order == order + 1);
    let (_, body) = send("GET", &format!("/orders/{}", order + 1), "").await;
    assert!(body.contains(r#""cents":2500,"status":"placed""#), "{body}");

    send("POST", "/carts", r#"{"email":"ada@example.com"}"#).await;
    verk.assert_scheduled(|job: &ExpireCart| job.cart == 1, cart_lifetime);
    assert_eq!(send("PUT", "/carts/1", "").await.0, StatusCode::NO_CONTENT);
    assert_eq!(send("PUT", "/carts/2", "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn probes_and_metrics_answer() {
    let verk = TestVerk::new();
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let router = ops::router(verk.verk(), metrics);
    for path in ["/live", "/metrics"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
    }
}
