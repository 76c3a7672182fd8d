//! What a worker may return.
#![deny(warnings)]

use std::time::Duration;

use verk::{BoxError, Outcome, RetryIn};

type Answer<T = ()> = std::result::Result<T, String>;

#[verk::worker]
async fn nothing() {}

#[verk::worker]
#[allow(clippy::unused_unit)]
async fn unit() -> () {}

#[verk::worker]
async fn boxed() -> Result<(), BoxError> {
    Ok(())
}

#[verk::worker]
async fn anyhow_error() -> anyhow::Result<()> {
    Ok(())
}

#[verk::worker(retry_in = stop, error_class = class_of)]
async fn alias() -> Answer {
    Ok(())
}

fn stop(attempt: u32, error: &str) -> RetryIn {
    if attempt > 3 && error == "gone" {
        RetryIn::Kill
    } else {
        RetryIn::Default
    }
}

fn class_of(error: &String) -> String {
    error.clone()
}

#[verk::worker]
async fn snoozes() -> Answer<Outcome> {
    Ok(Outcome::Snooze(Duration::from_secs(60)))
}
