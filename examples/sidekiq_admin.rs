//! How do I manage the jobs of a fleet, those of Ruby included?
//!
//! ```console
//! $ REDIS_URL=redis://127.0.0.1:6379 cargo run --example sidekiq_admin -- requeue retry 2a3b4c5d6e7f8091a2b3c4d5
//! ```
//!
//! Does one operation (`delete`, `requeue`, `kill`, or `later`: an hour from now) on one job, or on
//! `all` jobs of a class, in one place: `schedule`, `retry`, `dead`, or the name of a queue. Prints
//! how many jobs it changed.

use std::{env, time::Duration};

use verk::{
    BoxError,
    prelude::*,
    time::{Clock, SystemClock},
};

const USAGE: &str = "sidekiq_admin delete|requeue|kill|later PLACE JID|all [CLASS]";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let verk = Verk::builder().redis(redis).build().await?; // no queues: it runs no job
    let args: Vec<String> = env::args().skip(1).collect();
    let (action, place, which, class) = match &args[..] {
        [action, place, which] => (action, place, which, None),
        [action, place, which, class] => (action, place, which, Some(class)),
        _ => return Err(USAGE.into()),
    };

    let jobs = match place.as_str() {
        "schedule" => verk.admin().scheduled_set(),
        "retry" => verk.admin().retry_set(),
        "dead" => verk.admin().dead_set(),
        queue => verk.admin().queue(queue)?,
    };
    let mut selection = jobs.select();
    if which != "all" {
        selection = selection.jid(which.as_str());
    }
    if let Some(class) = class {
        selection = selection.class(class);
    }
    let count = match action.as_str() {
        "delete" => selection.delete().await?,
        "requeue" => selection.requeue().await?,
        "kill" => selection.kill().await?,
        "later" => {
            let in_an_hour = SystemClock.now() + Duration::from_secs(60 * 60);
            selection.reschedule(in_an_hour).await?
        }
        _ => return Err(USAGE.into()),
    };
    println!("{count}");
    Ok(())
}
