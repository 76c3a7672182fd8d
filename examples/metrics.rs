//! How do I see what verk does in Prometheus? Run this, then look at
//! <http://127.0.0.1:9000/metrics>.
//!
//! ```text
//! cargo run --example metrics --features metrics
//! curl --silent http://127.0.0.1:9000/metrics | grep '^verk_'
//! ```
//!
//! The guide lists the metrics. Here the jobs are in the memory of this process; with `.redis(url)`
//! instead of `.storage(..)` they are in Redis.

use std::{error::Error, net::SocketAddr, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use verk::prelude::*;
use verk_testing::MemoryStorage;

/// Takes a while, fails at times, and enqueues the next one.
#[verk::worker(max_retry_count = 3)]
async fn crunch(number: u64, ctx: JobContext) -> Result<(), Box<dyn Error + Send + Sync>> {
    ctx.sleep(Duration::from_millis(number * 37 % 500)).await;
    Crunch::new(number + 1)
        .schedule_in(Duration::from_millis(100))
        .enqueue()
        .await?;
    if number.is_multiple_of(7) {
        return Err(format!("{number} is a multiple of seven").into());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before the rest, because metrics that are recorded without a recorder are lost.
    PrometheusBuilder::new()
        .with_http_listener(SocketAddr::from(([127, 0, 0, 1], 9000)))
        .set_buckets_for_metric(
            Matcher::Suffix("_seconds".to_owned()),
            &[0.001, 0.01, 0.1, 1.0, 10.0, 60.0],
        )?
        .set_buckets_for_metric(
            Matcher::Suffix("_batch_jobs".to_owned()),
            &[1.0, 10.0, 100.0],
        )?
        .install()?;

    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .queue("default", 5)
        .build()
        .await?;
    tokio::spawn(verk.record_metrics(Duration::from_secs(15)));
    Crunch::enqueue(1_u64).await?;
    println!("http://127.0.0.1:9000/metrics");
    verk.run().await?;
    Ok(())
}
