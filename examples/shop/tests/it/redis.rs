//! The same workers on a real Redis, as in production.

use std::{process::Command, time::Duration};

use shop::{jobs, jobs::orders::ConfirmOrder, settings::Settings};
use verk::{
    EventKind,
    prelude::*,
    testing::{RedisServer, within},
};

use crate::store_with_order;

#[tokio::test]
async fn an_order_is_paid() {
    if Command::new("redis-server")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: redis-server is not installed");
        return;
    }
    let redis = RedisServer::start();
    let mut settings = Settings::load().unwrap();
    settings.warehouse_url = "http://127.0.0.1:9/".to_owned(); // nothing listens there
    let (store, order) = store_with_order("ada@example.com").await;
    let builder = Verk::builder()
        .config(settings.verk().unwrap())
        .redis(redis.url());
    let verk = jobs::with_state(builder, &settings, store.clone())
        .build()
        .await
        .unwrap();
    let mut events = verk.events();
    verk.start().unwrap();

    ConfirmOrder::enqueue(order).await.unwrap();
    let invoiced = async {
        while let Some(event) = events.recv().await {
            let event = event.unwrap();
            let finished = matches!(event.what, EventKind::JobFinished { .. });
            if finished
                && event
                    .job
                    .is_some_and(|job| job.class() == "GenerateInvoice")
            {
                break;
            }
        }
    };
    within(Duration::from_secs(30), invoiced).await;
    assert_eq!(store.order(order).await.unwrap().status, "paid");
    verk.shutdown().await;
}
