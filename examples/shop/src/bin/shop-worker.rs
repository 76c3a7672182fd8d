//! The worker: runs the jobs that are in Redis. Start as many processes as you like.

use anyhow::Result;
use shop::{jobs, ops, settings::Settings, store::Store};
use verk::prelude::*;

#[tokio::main]
async fn main() -> Result<()> {
    ops::init_log();
    let settings = Settings::load()?;
    let metrics = ops::init_metrics()?;
    let store = Store::open(&settings.database).await?;

    let builder = Verk::builder()
        .config(settings.verk()?)
        .redis(settings.redis()?);
    let verk = jobs::with_state(builder, &settings, store.clone())
        .build()
        .await?;
    jobs::housekeeping::schedule_report(&store, "now").await?;

    // It answers until the process ends: while the node drains, it is live and not ready.
    let listener = ops::listen(&settings.ops_listen).await?;
    let router = ops::router(&verk, metrics);
    tokio::spawn(async move { axum::serve(listener, router).await });

    // On TERM: no new jobs, and the end after the last one, or after `shutdown_timeout`.
    verk.run().await?;
    Ok(())
}
