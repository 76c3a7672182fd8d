//! How do I find errors on a Redis that several programs share?
//!
//! ```console
//! $ VERK_QUEUES=default:10,mailers:5 REDIS_URL=redis://127.0.0.1:6379 cargo run --example doctor
//! ```
//!
//! Prints a report: one line for each finding, with its severity, what it is and what to do. Fails
//! if one of them is an error. With the argument `convert` it first converts the string arguments
//! of Elixir's Verk to arrays. Runs no job.

use std::{env, process::ExitCode};

use verk::{BoxError, doctor::Severity, prelude::*};

mod sidekiq_jobs; // the classes that it judges by

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let redis = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let verk = Verk::builder()
        .config(Config::from_env()?)
        .redis(redis)
        .build()
        .await?;
    let doctor = verk.admin().doctor();

    if env::args().nth(1).as_deref() == Some("convert") {
        println!("{}", doctor.convert_string_args().await?);
    }
    let report = doctor.examine().await?;
    println!("{report}");

    verk.shutdown().await;
    Ok(if report.worst() == Some(Severity::Error) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
