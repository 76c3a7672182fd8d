//! The import of products: one job reads the file, and enqueues one job for each line.

use verk::prelude::*;

use crate::store::Store;

/// Enqueues all lines of an import at once.
#[verk::worker(queue = "imports")]
pub async fn import_products(
    import: i64,
    State(store): State<Store>,
    ctx: JobContext,
) -> anyhow::Result<()> {
    let csv: String = sqlx::query_scalar("SELECT csv FROM imports WHERE id = ?")
        .bind(import)
        .fetch_one(store.pool())
        .await?;
    let lines = csv.lines().map(ImportProduct::new).collect::<Vec<_>>();
    ctx.client().enqueue_all(lines).await?;
    Ok(())
}

/// Reads `sku,stock,cents`.
fn parse(line: &str) -> Option<(&str, u32, u32)> {
    let (sku, numbers) = line.split_once(',')?;
    let (stock, cents) = numbers.split_once(',')?;
    Some((sku, stock.trim().parse().ok()?, cents.trim().parse().ok()?))
}

/// Stores one product. A line that is wrong will not get better: its job goes to the dead set,
/// where an operator finds it.
#[verk::worker(queue = "imports")]
pub async fn import_product(line: String, State(store): State<Store>) -> anyhow::Result<Outcome> {
    let Some((sku, stock, cents)) = parse(&line) else {
        return Ok(Outcome::Kill("the line is not sku,stock,cents".to_owned()));
    };
    sqlx::query("INSERT OR REPLACE INTO products (sku, stock, cents) VALUES (?, ?, ?)")
        .bind(sku)
        .bind(stock)
        .bind(cents)
        .execute(store.pool())
        .await?;
    Ok(Outcome::Done)
}
