//! Stand-ins for what a real shop calls: a bank and a mail provider that fail now and then, and
//! the client of the warehouse.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::json;

/// Why a card was not charged.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    #[error("the card was declined")]
    Declined,
    #[error("the bank does not answer")]
    Busy,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Enqueue(#[from] verk::EnqueueError),
}

/// Charges cards. Every third call finds the bank busy.
#[derive(Clone, Debug, Default)]
pub struct Bank(Arc<AtomicU32>);

impl Bank {
    /// Charges an order once, however often this is called for it: a real bank takes the number of
    /// the order as an idempotency key.
    pub fn charge(&self, order: i64, email: &str, cents: i64) -> Result<(), ChargeError> {
        if email.starts_with("broke@") {
            return Err(ChargeError::Declined);
        }
        if self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            return Err(ChargeError::Busy);
        }
        tracing::info!(order, cents, "charged");
        Ok(())
    }
}

/// Sends mail. The provider refuses every fourth call for a second.
#[derive(Clone, Debug, Default)]
pub struct Mailer(Arc<AtomicU32>);

impl Mailer {
    /// Sends a mail.
    pub fn send(&self, subject: &str) -> Result<(), Duration> {
        if self.0.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
            return Err(Duration::from_secs(1));
        }
        tracing::info!(subject, "mail sent");
        Ok(())
    }
}

/// The client of the warehouse's webhook.
#[derive(Clone, Debug)]
pub struct Warehouse {
    http: reqwest::Client,
    url: String,
}

impl Warehouse {
    pub fn new(url: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: url.to_owned(),
        }
    }

    /// Asks the warehouse to send an order.
    pub async fn ship(&self, order: i64) -> reqwest::Result<()> {
        let body = json!({ "order": order });
        self.http
            .post(&self.url)
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }
}
