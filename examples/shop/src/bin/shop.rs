//! Everything in one process, and in memory: to try the shop, without Redis and without a file.

use anyhow::Result;
use shop::{jobs, ops, settings::Settings, store::Store, web};
use verk::{prelude::*, testing::MemoryStorage};

#[tokio::main]
async fn main() -> Result<()> {
    ops::init_log();
    let settings = Settings::load()?;
    let metrics = ops::init_metrics()?;
    let store = Store::open("sqlite::memory:").await?;

    let builder = Verk::builder()
        .config(settings.verk()?)
        .storage(MemoryStorage::default());
    let verk = jobs::with_state(builder, &settings, store.clone())
        .build()
        .await?;
    jobs::housekeeping::schedule_report(&store, "now").await?;

    let router = web::router(store, settings.cart_lifetime()).merge(ops::router(&verk, metrics));
    let listener = ops::listen(&settings.listen).await?;
    let server = axum::serve(listener, router).with_graceful_shutdown(ops::terminated());
    tokio::try_join!(async { anyhow::Ok(server.await?) }, async {
        anyhow::Ok(verk.run().await?)
    },)?;
    Ok(())
}
