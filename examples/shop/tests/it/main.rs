//! Tests of the shop: its workers and its web service, without Redis and with one.

mod redis;
mod web;
mod workers;

use shop::store::Store;

/// A shop of one order, and the number of the order.
async fn store_with_order(email: &str) -> (Store, i64) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let id = sqlx::query_scalar(
        "INSERT INTO orders (email, sku, quantity, cents) VALUES (?, 'mug', 2, 2500) RETURNING id",
    )
    .bind(email)
    .fetch_one(store.pool())
    .await
    .unwrap();
    (store, id)
}

/// The only value of a query.
async fn value(store: &Store, query: &str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(store.pool())
        .await
        .unwrap()
}
