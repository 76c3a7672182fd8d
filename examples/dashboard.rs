//! What does the dashboard look like? A page of a small shop that works, in one command.
//!
//! ```text
//! cargo run --example dashboard
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example dashboard
//! ```
//!
//! Without `REDIS_URL` the jobs are in the memory of this process, and so are three nodes. Some
//! workers succeed, some fail, one takes long and one never ends; jobs wait for their time, and a
//! queue is paused. With it, the page shows that Redis, without the arguments of its jobs. Set
//! `DASHBOARD_ADDR` to listen at another address of this machine.

use std::{
    env,
    error::Error,
    time::{Duration, SystemTime},
};

use rand::RngExt as _;
use tokio::{net::TcpListener, time};
use verk::{prelude::*, redis::RedisConfig};
use verk_testing::MemoryStorage;
use verk_web::{Access, Dashboard};

#[verk::worker(queue = "mailers", max_retry_count = 5)]
async fn send_welcome(email: String) -> Result<(), String> {
    pause(20..200).await;
    if rand::rng().random_bool(0.04) {
        return Err(format!("the mail server refused {email}"));
    }
    Ok(())
}

#[verk::worker(queue = "payments", max_retry_count = 3, retry_at = soon)]
async fn charge_card(order: u64, cents: u64) -> Result<(), String> {
    pause(50..900).await;
    match rand::rng().random_range(0..10) {
        0..=1 => Err(format!("the bank did not answer for order {order}")),
        2 => Err(format!("card declined: order {order}, {cents} cents")),
        _ => Ok(()),
    }
}

/// Has a bug: it always fails, so its jobs end in the dead set.
#[verk::worker(max_retry_count = 1, retry_at = soon)]
async fn resize_image(path: String) -> Result<(), std::io::Error> {
    pause(5..40).await;
    Err(std::io::Error::other(format!("{path} is not an image")))
}

#[verk::worker(queue = "reports")]
async fn build_report(year: u16) {
    pause(4_000..15_000).await;
    println!("the report of {year} is built");
}

/// Waits for something that never comes, until the program ends.
#[verk::worker(queue = "reports")]
async fn import_products(url: String) {
    println!("importing from {url}");
    std::future::pending::<()>().await;
}

#[verk::worker(queue = "newsletter")]
async fn send_newsletter(email: String) {
    println!("newsletter to {email}");
}

#[expect(clippy::disallowed_methods, reason = "this is the work")]
async fn pause(milliseconds: std::ops::Range<u64>) {
    let milliseconds = rand::rng().random_range(milliseconds);
    time::sleep(Duration::from_millis(milliseconds)).await;
}

/// A real backoff starts at some twenty seconds.
fn soon(failed_at: SystemTime, retry_count: u32) -> SystemTime {
    failed_at + Duration::from_secs(5 << retry_count.min(6))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::var("DASHBOARD_ADDR").unwrap_or_else(|_| "127.0.0.1:7420".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("the dashboard is at http://{}/", listener.local_addr()?);
    if env::var("REDIS_URL").is_ok() {
        // It runs no queue, so it registers no node there.
        let redis = RedisConfig::from_env()?;
        let verk = Verk::builder().redis(redis).build().await?;
        return serve(listener, Dashboard::new(verk.admin(), Access::open())).await;
    }

    let storage = MemoryStorage::default();
    let mut nodes = Vec::new();
    for queues in [
        &[("default", 5), ("mailers", 10), ("newsletter", 5)][..],
        &[("default", 5), ("payments", 4)],
        &[("reports", 3)],
    ] {
        let mut builder = Verk::builder()
            .storage(storage.clone())
            .execution_metrics(true);
        for &(queue, concurrency) in queues {
            builder = builder.queue(queue, concurrency);
        }
        let node = builder.build().await?;
        node.start()?;
        nodes.push(node);
    }
    let Some(verk) = nodes.first().cloned() else {
        return Ok(());
    };
    fill(&verk).await?;
    tokio::spawn(work(verk.clone()));
    let dashboard = Dashboard::new(verk.admin(), Access::open())
        .title("the shop, in memory")
        .show_args();
    serve(listener, dashboard).await?;
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

/// Until Ctrl-C.
async fn serve(listener: TcpListener, dashboard: Dashboard) -> Result<(), Box<dyn Error>> {
    let stop = async {
        // Without a handler for the signal, it ends the process by itself.
        let _ = tokio::signal::ctrl_c().await;
    };
    verk_web::serve(listener, dashboard, stop).await?;
    Ok(())
}

/// What is there when the page opens first.
async fn fill(verk: &Verk) -> Result<(), Box<dyn Error>> {
    verk.admin().pause_queue_everywhere("newsletter").await?;
    for number in 0..400 {
        let email = format!("reader{number}@example.com");
        verk.enqueue(SendNewsletter::new(email)).await?;
    }
    for hours in 1..=48 {
        let later = Duration::from_secs(3_600 * u64::from(hours));
        let report = BuildReport::new(1_990 + hours).schedule_in(later);
        verk.enqueue(report).await?;
    }
    for year in 2_001..=2_012 {
        verk.enqueue(BuildReport::new(year)).await?;
    }
    let products = ImportProducts::new("https://supplier.example/products.xml");
    verk.enqueue(products).await?;
    for number in 0..30 {
        verk.enqueue(ResizeImage::new(format!("cat-{number}.txt")))
            .await?;
    }
    Ok(())
}

/// Customers, forever.
async fn work(verk: Verk) -> Result<(), verk::EnqueueError> {
    for order in 1_000.. {
        let email = format!("customer{order}@example.com");
        verk.enqueue(SendWelcome::new(email)).await?;
        let cents = rand::rng().random_range(100..20_000);
        verk.enqueue(ChargeCard::new(order, cents)).await?;
        if order % 50 == 0 {
            verk.enqueue(ResizeImage::new(format!("dog-{order}.txt")))
                .await?;
            verk.enqueue(BuildReport::new(2_026)).await?;
        }
        pause(20..400).await;
    }
    Ok(())
}
