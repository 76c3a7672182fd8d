//! How do I enqueue jobs for Ruby's Sidekiq?
//!
//! ```console
//! $ REDIS_URL=redis://127.0.0.1:6379 cargo run --example sidekiq_client
//! ```
//!
//! A real Sidekiq or `sidekiq_worker` runs them, whichever fetches them first. Prints the id of
//! each job.

use std::{env, time::Duration};

use sidekiq_jobs::{Charge, Entry, Import, Welcome};
use verk::{BoxError, Job, QueueName, job::RetryLimit, prelude::*};

mod sidekiq_jobs;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let verk = Verk::builder().redis(redis).build().await?; // no queues: it only enqueues

    // Now.
    let jid = Welcome::enqueue("ada@example.com").await?;
    println!("{jid} welcome");

    // Later.
    let later = Welcome::new("later@example.com").schedule_in(Duration::from_secs(2));
    println!("{} later", later.enqueue().await?);

    // Many, in few round trips.
    let users = (1..=250).map(|n| Welcome::new(format!("user-{n}@example.com")));
    for jid in verk.client().enqueue_all(users).await? {
        println!("{jid} bulk");
    }

    // With options for one job, which Ruby obeys too.
    let charge = Charge::new(1_200, 3).max_retry_count(5).tags(["vip"]);
    println!("{} charge", charge.enqueue().await?);
    let once = Charge::new(1_300, 3).retry_limit(RetryLimit::Never);
    println!("{} once", once.enqueue().await?);
    let patient = Charge::new(1_400, 3)
        .queue("mailers")
        .retry_queue("default")
        .retry_for(Duration::from_secs(2 * 24 * 60 * 60));
    println!("{} patient", patient.enqueue().await?);

    // Numbers stay exact on the way.
    let entry = Entry {
        amounts: vec![0.1, 1e300, 123_456_789.123_456_78],
        ids: vec![u64::MAX],
        memo: None,
        lines: vec![vec![], vec![1, 2]],
    };
    let jid = Import::enqueue(12_345_678_901_234_567, 0.1, "Grüße, 世界 🚀", entry).await?;
    println!("{jid} import");

    // A class that only Ruby has.
    let args = serde_json::to_string(&("annual", 2026))?;
    let print = Job::new("Reports::Print", QueueName::new("default")?, args)?;
    println!("{} print", verk.enqueue(print).await?);
    Ok(())
}
