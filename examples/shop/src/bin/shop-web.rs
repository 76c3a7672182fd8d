//! The web service: enqueues jobs in Redis, and runs none.

use anyhow::Result;
use shop::{ops, settings::Settings, store::Store, web};
use verk::prelude::*;

#[tokio::main]
async fn main() -> Result<()> {
    ops::init_log();
    let settings = Settings::load()?;
    let metrics = ops::init_metrics()?;
    let store = Store::open(&settings.database).await?;

    let verk = Verk::builder()
        .config(settings.verk()?)
        .disabled(true) // the file lists the queues of the workers
        .redis(settings.redis()?)
        .build()
        .await?;

    let router = web::router(store, settings.cart_lifetime()).merge(ops::router(&verk, metrics));
    let listener = ops::listen(&settings.listen).await?;
    // On TERM: no new requests, and the end after the last answer.
    axum::serve(listener, router)
        .with_graceful_shutdown(ops::terminated())
        .await?;
    verk.shutdown().await;
    Ok(())
}
