//! How does a program get the command line for its own workers?
//!
//! ```text
//! cargo run -p verk-cli --example own_program                       # runs the queue
//! cargo run -p verk-cli --example own_program -- verk queues
//! cargo run -p verk-cli --example own_program -- verk enqueue SendWelcome '["ada@example.com"]'
//! ```
//!
//! It uses the Redis at `REDIS_URL`. The worker connects to the mail server at `MAIL_SERVER`, and
//! fails if that is down.

use std::{
    env, io,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use tokio::net::TcpStream;
use verk::{BoxError, prelude::*};

/// Says hello to the mail server, and no more.
#[verk::worker(queue = "mailers", retry_at = in_ten_minutes)]
async fn send_welcome(email: String) -> io::Result<()> {
    let server = env::var("MAIL_SERVER").unwrap_or_else(|_| "127.0.0.1:25".to_owned());
    TcpStream::connect(server).await?;
    println!("welcome, {email}");
    Ok(())
}

/// The server is seldom away for less.
fn in_ten_minutes(failed_at: SystemTime, _: u32) -> SystemTime {
    failed_at + Duration::from_secs(600)
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let builder = Verk::builder()
        .config(Config::from_env()?)
        .redis(redis)
        .queue("mailers", 5);
    if verk_cli::is_called() {
        return Ok(verk_cli::run(builder).await);
    }
    builder.build().await?.run().await?;
    Ok(ExitCode::SUCCESS)
}
