//! What does verk do with a job? Watch typed jobs being enqueued, run, retried, scheduled and moved
//! to the dead set.
//!
//! ```text
//! cargo run --example quickstart
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example quickstart
//! ```
//!
//! Without `REDIS_URL` the jobs are in the memory of this process. With it they are in that Redis,
//! under a prefix of their own that is deleted at the end.

use std::{
    env,
    error::Error,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use verk::{
    Event, EventKind, Jid, Job, QueueName,
    events::AfterFailure,
    manage::Query,
    prelude::*,
    redis::{RedisConfig, RedisStorage},
    storage::{JobSet, Source},
    testing::MemoryStorage,
};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Plan {
    Free,
    Pro,
}

/// Succeeds.
#[verk::worker(queue = "mailers")]
async fn send_welcome(email: String, plan: Plan) {
    println!("    send_welcome: dear {email}, thank you for choosing {plan:?}");
}

/// Fails twice, then succeeds.
#[verk::worker(max_retry_count = 5, retry_at = soon)]
async fn charge_card(order: u64, ctx: JobContext) -> Result<(), String> {
    match ctx.attempt() {
        1 | 2 => Err(format!("the bank did not answer for order {order}")),
        attempt => {
            println!("    charge_card: order {order} is paid, at attempt {attempt}");
            Ok(())
        }
    }
}

/// Always fails, so it ends in the dead set.
#[verk::worker(max_retry_count = 1, retry_at = soon)]
async fn resize_image(path: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(format!("{path} is not an image")))
}

/// Runs a second after it was enqueued.
#[verk::worker(queue = "mailers")]
async fn send_reminder(email: String) {
    println!("    send_reminder: {email}, are you still there?");
}

/// A real backoff starts at some twenty seconds; this one is shorter, for the demonstration.
fn soon(failed_at: SystemTime, _retry_count: u32) -> SystemTime {
    failed_at + Duration::from_millis(300)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The log goes to stderr, apart from what this program prints.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let builder = Verk::builder().queue("default", 5).queue("mailers", 5);
    let Ok(url) = env::var("REDIS_URL") else {
        let verk = builder.storage(MemoryStorage::default()).build().await?;
        return demonstrate(&verk).await;
    };
    let prefix = format!("verk:quickstart:{}", Jid::random());
    let redis = RedisStorage::connect(RedisConfig::new(url).prefix(prefix)).await?;
    let verk = builder.storage(redis.clone()).build().await?;
    let result = demonstrate(&verk).await;
    redis.delete_prefix().await?;
    result
}

async fn demonstrate(verk: &Verk) -> Result<(), Box<dyn Error>> {
    let mut events = verk.events();

    SendWelcome::enqueue("ada@example.com", Plan::Pro).await?;
    SendWelcome::enqueue("grace@example.com", Plan::Free).await?;
    ChargeCard::enqueue(42).await?;
    ResizeImage::enqueue("cat.txt").await?;
    SendReminder::new("ada@example.com")
        .schedule_in(Duration::from_secs(1))
        .enqueue()
        .await?;
    // A class that lives in another program, and in no worker of this one.
    let mut unknown = Job::new(
        "Reports::Yearly",
        QueueName::new("default")?,
        "[2025]".to_owned(),
    )?;
    unknown.set_max_retry_count(0);
    verk.enqueue(unknown).await?;

    let storage = verk.storage();
    let mut enqueued = storage.len(&Source::Set(JobSet::Schedule)).await?;
    for queue in storage.queues().await? {
        enqueued += storage.len(&Source::Queue(queue)).await?;
    }
    println!("enqueued {enqueued} jobs");

    verk.start()?;
    let mut counts = Counts::default();
    while counts.succeeded + counts.died < enqueued {
        let Some(event) = events.recv().await else {
            break;
        };
        counts.tell(&event?);
    }
    verk.shutdown().await;

    let dead = verk.admin().dead_set().list(&Query::new()).await?.entries;
    for buried in &dead {
        let job = buried.job()?;
        println!(
            "in the dead set: {} {}: {}",
            job.class(),
            job.jid(),
            job.error_message().unwrap_or_default()
        );
    }
    let Counts {
        succeeded,
        failed,
        retried,
        ..
    } = counts;
    println!(
        "done: enqueued {enqueued}, succeeded {succeeded}, failed {failed}, retried {retried}, dead {}",
        dead.len()
    );
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    succeeded: usize,
    failed: usize,
    retried: usize,
    died: usize,
}

impl Counts {
    /// Counts an event, and prints it.
    fn tell(&mut self, event: &Event) {
        match event {
            Event {
                what: EventKind::JobStarted,
                job: Some(job),
                ..
            } => println!("  start  {} {}", job.class(), job.jid()),
            Event {
                what: EventKind::JobFinished { took, .. },
                job: Some(job),
                ..
            } => {
                self.succeeded += 1;
                println!("  done   {} {} in {took:.1?}", job.class(), job.jid());
            }
            Event {
                what: EventKind::JobFailed { failure, then, .. },
                job: Some(job),
                ..
            } => {
                self.failed += 1;
                let then = match then {
                    AfterFailure::Retry { .. } => {
                        self.retried += 1;
                        "is retried later"
                    }
                    AfterFailure::Dead => {
                        self.died += 1;
                        "is dead"
                    }
                    AfterFailure::Discarded => "is discarded",
                };
                println!(
                    "  fail   {} {} {then}: {}: {}",
                    job.class(),
                    job.jid(),
                    failure.error_class,
                    failure.error_message
                );
            }
            _ => {}
        }
    }
}
