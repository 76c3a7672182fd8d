//! The database. Its queries are checked when they run, so that a build needs no database.

use std::str::FromStr;

use serde::Serialize;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};
use verk::{BoxError, FromJob, JobContext, Requirement, State};

/// An order, as `GET /orders/{id}` shows it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Order {
    pub id: i64,
    pub email: String,
    pub sku: String,
    pub quantity: i64,
    /// The price of all of them.
    pub cents: i64,
    /// `placed`, `confirmed`, `paid` or `shipped`.
    pub status: String,
}

/// The pool of connections. Clones share it.
#[derive(Clone, Debug)]
pub struct Store(SqlitePool);

impl Store {
    /// Opens the database at `url`, and makes its tables.
    pub async fn open(url: &str) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        // A database in memory lives as long as its last connection.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        sqlx::raw_sql(include_str!("../migrations/schema.sql"))
            .execute(&pool)
            .await?;
        Ok(Self(pool))
    }

    /// The pool, for queries.
    pub fn pool(&self) -> &SqlitePool {
        &self.0
    }

    /// The order with this number.
    pub async fn order(&self, id: i64) -> sqlx::Result<Order> {
        sqlx::query_as("SELECT * FROM orders WHERE id = ?")
            .bind(id)
            .fetch_one(&self.0)
            .await
    }

    /// Moves the order from one status to the next. Does nothing if it has another status.
    pub async fn advance(&self, id: i64, from: &str, to: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE orders SET status = ? WHERE id = ? AND status = ?")
            .bind(to)
            .bind(id)
            .bind(from)
            .execute(&self.0)
            .await?;
        Ok(())
    }
}

/// A transaction for one run of a job, as a parameter of a worker: `#[extract] tx: Tx`.
///
/// It ends by `tx.0.commit()`. If the run fails, it is dropped, and rolled back.
#[derive(Debug)]
pub struct Tx(pub Transaction<'static, Sqlite>);

impl FromJob for Tx {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        let State(store) = State::<Store>::from_job(ctx).await?;
        Ok(Self(store.pool().begin().await?))
    }

    fn requires() -> Vec<Requirement> {
        State::<Store>::requires()
    }
}
