//! How do I run the jobs that Ruby's Sidekiq enqueued?
//!
//! ```console
//! $ VERK_QUEUES=default:10,mailers:5 REDIS_URL=redis://127.0.0.1:6379 cargo run --example sidekiq_worker
//! ```
//!
//! and in Ruby, with that `REDIS_URL`:
//!
//! ```ruby
//! Sidekiq::Client.push("class" => "Mailers::Welcome", "queue" => "mailers", "args" => ["ada@example.com"])
//! ```
//!
//! Ctrl-C stops: running jobs may finish, the rest goes back to the front of its queue.

use std::env;

use verk::{BoxError, prelude::*};

mod sidekiq_jobs; // the workers register themselves

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();

    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let verk = Verk::builder()
        .config(Config::from_env()?)
        .redis(redis)
        .build()
        .await?;
    verk.run().await?;
    Ok(())
}
