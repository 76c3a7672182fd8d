//! An order, from the confirmation to the parcel.

use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use verk::prelude::*;

use crate::{
    services::{Bank, ChargeError, Mailer, Warehouse},
    store::{Store, Tx},
};

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mail {
    Confirmation,
    Invoice,
}

impl Mail {
    fn kind(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation",
            Self::Invoice => "invoice",
        }
    }
}

/// Confirms an order: a mail to the customer, and the charge.
#[verk::worker(max_retry_count = 5)]
pub async fn confirm_order(order: i64, State(store): State<Store>) -> anyhow::Result<()> {
    store.advance(order, "placed", "confirmed").await?;
    store
        .order(order)
        .await
        .context("the order is not stored")?;
    SendMail::enqueue(order, Mail::Confirmation).await?;
    ChargeCard::enqueue(order).await?;
    Ok(())
}

/// A declined card stays declined. A busy bank is asked again soon, and then less and less often.
fn retry_charge(attempt: u32, error: &ChargeError) -> RetryIn {
    match error {
        ChargeError::Declined => RetryIn::Kill,
        ChargeError::Busy if attempt < 3 => RetryIn::After(Duration::from_secs(2)),
        _ => RetryIn::Default,
    }
}

/// Charges the card of the customer.
#[verk::worker(queue = "payments", max_retry_count = 8, retry_in = retry_charge, timeout = "10s")]
pub async fn charge_card(
    order: i64,
    State(store): State<Store>,
    State(bank): State<Bank>,
) -> Result<(), ChargeError> {
    let paid = store.order(order).await?;
    bank.charge(order, &paid.email, paid.cents)?;
    store.advance(order, "confirmed", "paid").await?;
    GenerateInvoice::enqueue(order).await?;
    UpdateStock::enqueue(order).await?;
    Ok(())
}

/// Writes the invoice, and mails it.
#[verk::worker]
pub async fn generate_invoice(order: i64, State(store): State<Store>) -> anyhow::Result<()> {
    let paid = store.order(order).await?;
    let euros = format!("{}.{:02} EUR", paid.cents / 100, paid.cents % 100);
    let body = format!("Invoice {order}: {} x {}, {euros}", paid.quantity, paid.sku);
    sqlx::query("INSERT OR IGNORE INTO invoices (order_id, body) VALUES (?, ?)")
        .bind(order)
        .bind(body)
        .execute(store.pool())
        .await?;
    SendMail::enqueue(order, Mail::Invoice).await?;
    Ok(())
}

/// Sends a mail about an order, once.
#[verk::worker(queue = "mailers")]
pub async fn send_mail(
    order: i64,
    mail: Mail,
    State(store): State<Store>,
    State(mailer): State<Mailer>,
) -> anyhow::Result<Outcome> {
    let sent = sqlx::query("SELECT 1 FROM mails WHERE order_id = ? AND kind = ?")
        .bind(order)
        .bind(mail.kind())
        .fetch_optional(store.pool())
        .await?;
    if sent.is_some() {
        return Ok(Outcome::Discard("it was sent already".to_owned()));
    }
    if let Err(wait) = mailer.send(mail.kind()) {
        return Ok(Outcome::Snooze(wait)); // no failure, so no attempt is counted
    }
    sqlx::query("INSERT OR IGNORE INTO mails (order_id, kind) VALUES (?, ?)")
        .bind(order)
        .bind(mail.kind())
        .execute(store.pool())
        .await?;
    Ok(Outcome::Done)
}

/// Takes what was ordered from the stock, once, and calls the warehouse.
#[verk::worker]
pub async fn update_stock(order: i64, #[extract] Tx(mut tx): Tx) -> anyhow::Result<()> {
    let moved = sqlx::query("INSERT OR IGNORE INTO stock_moves (order_id) VALUES (?)")
        .bind(order)
        .execute(&mut *tx)
        .await?;
    if moved.rows_affected() == 1 {
        sqlx::query(
            "UPDATE products SET stock = stock - orders.quantity FROM orders
             WHERE orders.id = ? AND products.sku = orders.sku",
        )
        .bind(order)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    NotifyWarehouse::enqueue(order).await?;
    Ok(())
}

/// Calls the webhook of the warehouse. A call that takes too long fails, and is retried.
#[verk::worker(timeout = "2s", tags = ["webhook"])]
pub async fn notify_warehouse(
    order: i64,
    State(store): State<Store>,
    State(warehouse): State<Warehouse>,
) -> anyhow::Result<()> {
    warehouse.ship(order).await?;
    store.advance(order, "paid", "shipped").await?;
    Ok(())
}
