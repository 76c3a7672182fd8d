//! The jobs that Rust and Ruby share, in one module for the program that enqueues and the one that
//! runs them.
//!
//! `class` is the name of the Ruby class. The arguments are `perform`'s, in order.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use verk::{BoxError, prelude::*};

/// `Mailers::Welcome.perform_async("ada@example.com")`
#[verk::worker(class = "Mailers::Welcome", queue = "mailers")]
pub(crate) async fn welcome(email: String, ctx: JobContext) -> Result<(), BoxError> {
    report(&ctx, (email,))
}

/// `Payments::Charge.perform_async(1200, 3)`: the bank declines until the third attempt, whether
/// Rust or Ruby made the others.
#[verk::worker(class = "Payments::Charge")]
pub(crate) async fn charge(
    cents: u64,
    accepted_at: u32,
    ctx: JobContext,
) -> Result<(), ChargeError> {
    println!("ran {} Payments::Charge [{cents},{accepted_at}]", ctx.jid());
    if ctx.attempt() < accepted_at {
        let source = io::Error::other("the bank is closed");
        return Err(ChargeError { cents, source });
    }
    Ok(())
}

/// Rails' `Payments::ChargeJob.perform_later(1200, 3)`: the class and the arguments are those in
/// `ActiveJob`'s envelope.
#[verk::worker(class = "Payments::ChargeJob")]
pub(crate) async fn charge_job(
    cents: u64,
    accepted_at: u32,
    ctx: JobContext,
) -> Result<(), ChargeError> {
    println!(
        "ran {} Payments::ChargeJob [{cents},{accepted_at}]",
        ctx.jid()
    );
    if ctx.attempt() < accepted_at {
        let source = io::Error::other("the bank is closed");
        return Err(ChargeError { cents, source });
    }
    Ok(())
}

/// Ruby sees the name of the type as `error_class`.
#[derive(Debug, thiserror::Error)]
#[error("could not charge {cents} cents")]
pub(crate) struct ChargeError {
    cents: u64,
    source: io::Error,
}

/// `Ledger::Import.perform_async(12345678901234567, 0.1, "Grüße", {"amounts" => [0.1], ...})`
#[verk::worker(class = "Ledger::Import")]
pub(crate) async fn import(
    account: u64,
    rate: f64,
    note: String,
    entry: Entry,
    ctx: JobContext,
) -> Result<(), BoxError> {
    report(&ctx, (account, rate, note, entry))
}

/// A Ruby hash, as a Rust type.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) amounts: Vec<f64>,
    pub(crate) ids: Vec<u64>,
    pub(crate) memo: Option<String>,
    pub(crate) lines: Vec<Vec<u32>>,
}

/// `Reports::Build.perform_async(60)`: takes that many seconds.
#[verk::worker(class = "Reports::Build")]
pub(crate) async fn build_report(seconds: u64, ctx: JobContext) -> Result<(), BoxError> {
    report(&ctx, (seconds,))?;
    ctx.sleep(Duration::from_secs(seconds)).await;
    Ok(())
}

/// Prints what a run received.
fn report(ctx: &JobContext, args: impl Serialize) -> Result<(), BoxError> {
    let args = serde_json::to_string(&args)?;
    println!("ran {} {} {args}", ctx.jid(), ctx.job().class());
    Ok(())
}
