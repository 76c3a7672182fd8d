//! The web service. A handler stores what it was given, enqueues a job, and answers at once.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};
use verk::prelude::EnqueueExt;

use crate::{
    jobs::{catalog::ImportProducts, housekeeping::ExpireCart, orders::ConfirmOrder},
    store::{Order, Store},
};

/// What the handlers share.
#[derive(Clone, Debug)]
struct App {
    store: Store,
    cart_lifetime: Duration,
}

/// The routes of the shop. A cart that was not used for `cart_lifetime` is deleted.
pub fn router(store: Store, cart_lifetime: Duration) -> Router {
    let app = App {
        store,
        cart_lifetime,
    };
    Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/carts", post(open_cart))
        .route("/carts/{id}", put(use_cart))
        .route("/imports", post(import))
        .route("/demo/warehouse", post(demo_warehouse))
        .with_state(app)
}

/// An error of a handler: 404 for a missing row, and 503 for anything else, such as an enqueue that
/// failed.
#[derive(Debug)]
struct ApiError(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, text) = match self.0.downcast_ref() {
            Some(sqlx::Error::RowNotFound) => (StatusCode::NOT_FOUND, "not found"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "try again later"),
        };
        tracing::warn!(error = format!("{:#}", self.0), %status, "request failed");
        (status, Json(json!({ "error": text }))).into_response()
    }
}

#[derive(Debug, Deserialize)]
struct NewOrder {
    email: String,
    sku: String,
    quantity: u32,
}

type Accepted = (StatusCode, Json<Value>);

fn accepted(id: i64) -> Accepted {
    (StatusCode::ACCEPTED, Json(json!({ "id": id })))
}

/// Stores the order, and enqueues its confirmation before the commit. So a crash loses neither: the
/// job of an order that was not committed fails, as its worker finds no row.
async fn place_order(
    State(app): State<App>,
    Json(order): Json<NewOrder>,
) -> Result<Accepted, ApiError> {
    let mut tx = app.store.pool().begin().await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO orders (email, sku, quantity, cents)
         SELECT ?1, sku, ?3, ?3 * cents FROM products WHERE sku = ?2 RETURNING id",
    )
    .bind(order.email)
    .bind(order.sku)
    .bind(order.quantity)
    .fetch_one(&mut *tx)
    .await?;
    ConfirmOrder::enqueue(id).await?;
    tx.commit().await?;
    Ok(accepted(id))
}

async fn show_order(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Order>, ApiError> {
    Ok(Json(app.store.order(id).await?))
}

#[derive(Debug, Deserialize)]
struct NewCart {
    email: String,
}

/// Opens a cart, and schedules the check whether it is still used.
async fn open_cart(
    State(app): State<App>,
    Json(cart): Json<NewCart>,
) -> Result<Accepted, ApiError> {
    let id: i64 = sqlx::query_scalar("INSERT INTO carts (email) VALUES (?) RETURNING id")
        .bind(cart.email)
        .fetch_one(app.store.pool())
        .await?;
    ExpireCart::new(id)
        .schedule_in(app.cart_lifetime)
        .enqueue()
        .await?;
    Ok(accepted(id))
}

async fn use_cart(State(app): State<App>, Path(id): Path<i64>) -> Result<StatusCode, ApiError> {
    let _: i64 = sqlx::query_scalar("UPDATE carts SET touched = 1 WHERE id = ? RETURNING id")
        .bind(id)
        .fetch_one(app.store.pool())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a CSV. Only its number goes into the job: arguments of jobs should be small.
async fn import(State(app): State<App>, csv: String) -> Result<Accepted, ApiError> {
    let id: i64 = sqlx::query_scalar("INSERT INTO imports (csv) VALUES (?) RETURNING id")
        .bind(csv)
        .fetch_one(app.store.pool())
        .await?;
    ImportProducts::enqueue(id).await?;
    Ok(accepted(id))
}

/// Stands in for the warehouse of another company. Every third call takes longer than the
/// `timeout` of its worker.
async fn demo_warehouse(Json(call): Json<Value>) -> StatusCode {
    static CALLS: AtomicU32 = AtomicU32::new(1);
    if CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    tracing::info!(order = %call["order"], "the warehouse packs");
    StatusCode::OK
}
