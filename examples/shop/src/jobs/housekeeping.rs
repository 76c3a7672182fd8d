//! What happens later: carts expire, and every night there is a report.

use std::time::{Duration, SystemTime};

use verk::prelude::*;

use crate::store::Store;

/// How long a cart lives without being used.
#[derive(Clone, Copy, Debug)]
pub struct CartLifetime(pub Duration);

/// Deletes a cart. If it was used since the last check, this job looks again later.
#[verk::worker(tags = ["cart"])]
pub async fn expire_cart(
    cart: i64,
    State(store): State<Store>,
    State(CartLifetime(lifetime)): State<CartLifetime>,
) -> anyhow::Result<Outcome> {
    let used = sqlx::query("UPDATE carts SET touched = 0 WHERE id = ? AND touched = 1")
        .bind(cart)
        .execute(store.pool())
        .await?;
    if used.rows_affected() == 1 {
        return Ok(Outcome::Snooze(lifetime));
    }
    sqlx::query("DELETE FROM carts WHERE id = ?")
        .bind(cart)
        .execute(store.pool())
        .await?;
    Ok(Outcome::Done)
}

/// Schedules the report of a day for the midnight after it.
///
/// Each worker process calls this when it starts. The reports after the first are discarded.
pub async fn schedule_report(store: &Store, day: &str) -> anyhow::Result<()> {
    let (day, midnight): (String, i64) =
        sqlx::query_as("SELECT date(?1), unixepoch(date(?1), '+1 day')")
            .bind(day)
            .fetch_one(store.pool())
            .await?;
    let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(midnight)?);
    DailyReport::new(day)
        .schedule_at(midnight)
        .enqueue()
        .await?;
    Ok(())
}

/// Writes the report of a day, and schedules the next one.
#[verk::worker]
pub async fn daily_report(day: String, State(store): State<Store>) -> anyhow::Result<Outcome> {
    let written = sqlx::query("SELECT 1 FROM reports WHERE day = ?")
        .bind(&day)
        .fetch_optional(store.pool())
        .await?;
    if written.is_some() {
        return Ok(Outcome::Discard("it was written already".to_owned()));
    }
    // The next report comes first: a crash before the last statement must not end the series.
    let next: String = sqlx::query_scalar("SELECT date(?, '+1 day')")
        .bind(&day)
        .fetch_one(store.pool())
        .await?;
    schedule_report(&store, &next).await?;
    CleanUp::enqueue().await?;
    sqlx::query(
        "INSERT OR IGNORE INTO reports (day, orders, cents)
         SELECT ?1, count(*), coalesce(sum(cents), 0) FROM orders WHERE created_on = ?1",
    )
    .bind(&day)
    .execute(store.pool())
    .await?;
    Ok(Outcome::Done)
}

/// Deletes old imports. There is another one tomorrow, so a failure needs no retry.
#[verk::worker(max_retry_count = 0, dead = false)]
pub async fn clean_up(State(store): State<Store>) -> anyhow::Result<()> {
    let old = sqlx::query("DELETE FROM imports WHERE created_on < date('now', '-7 days')")
        .execute(store.pool())
        .await?;
    tracing::info!(imports = old.rows_affected(), "cleaned up");
    Ok(())
}
