//! The workers, on a clock that the test moves.

use std::time::{Duration, SystemTime};

use shop::{
    jobs::{
        catalog::{ImportProduct, ImportProducts},
        housekeeping::{self, CartLifetime, CleanUp, DailyReport, ExpireCart},
        orders::{
            ChargeCard, ConfirmOrder, GenerateInvoice, Mail, NotifyWarehouse, SendMail, UpdateStock,
        },
    },
    services::{Bank, Mailer, Warehouse},
    store::Store,
};
use verk::{
    prelude::*,
    testing::{TestVerk, crash},
};

use crate::{store_with_order, value};

const HOUR: Duration = Duration::from_secs(3600);

/// A node of the shop, at eight in the morning of 2026-03-01. Nothing listens at the address of its
/// warehouse.
fn shop(store: &Store) -> TestVerk {
    TestVerk::builder()
        .starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_352_000))
        .state(store.clone())
        .state(Bank::default())
        .state(Mailer::default())
        .state(Warehouse::new("http://127.0.0.1:9/"))
        .state(CartLifetime(HOUR))
        .build()
}

#[tokio::test]
async fn a_busy_bank_is_asked_again() {
    let (store, order) = store_with_order("ada@example.com").await;
    let verk = shop(&store);
    ConfirmOrder::enqueue(order).await.unwrap();

    let now = verk.drain().await;
    assert_eq!(now.errors, ["ChargeCard: the bank does not answer"]);
    assert_eq!(store.order(order).await.unwrap().status, "confirmed");

    verk.advance(Duration::from_secs(2)).await;
    assert_eq!(store.order(order).await.unwrap().status, "paid");
    assert_eq!(
        value(&store, "SELECT stock FROM products WHERE sku = 'mug'").await,
        98
    );
    assert_eq!(value(&store, "SELECT count(*) FROM mails").await, 2);
    assert_eq!(verk.all_finished::<GenerateInvoice>().len(), 1);
    // Nobody reached the warehouse: the job waits for its retry.
    assert_eq!(verk.all_retrying::<NotifyWarehouse>()[0].order, order);
}

#[tokio::test]
async fn a_declined_card_is_not_charged_again() {
    let (store, order) = store_with_order("broke@example.com").await;
    let verk = shop(&store);
    ChargeCard::enqueue(order).await.unwrap();

    let now = verk.drain().await;
    assert_eq!((now.dead, now.retried), (1, 0));
    assert_eq!(now.errors, ["ChargeCard: the card was declined"]);
}

#[tokio::test]
async fn a_mail_waits_for_the_provider_and_is_sent_once() {
    let (store, order) = store_with_order("ada@example.com").await;
    let verk = shop(&store);
    for order in order..order + 4 {
        SendMail::enqueue(order, Mail::Invoice).await.unwrap();
    }
    let now = verk.drain().await;
    assert_eq!((now.succeeded, now.snoozed), (3, 1));
    assert_eq!(verk.advance(Duration::from_secs(1)).await.succeeded, 1);

    SendMail::enqueue(order, Mail::Invoice).await.unwrap();
    assert_eq!(verk.drain().await.discarded, 1);
}

#[tokio::test]
async fn a_crash_takes_nothing_from_the_stock_twice() {
    crash::everywhere(async |crash| {
        let (store, order) = store_with_order("ada@example.com").await;
        let crash = crash
            .state(store.clone())
            .state(Warehouse::new("http://127.0.0.1:9/"));
        crash.run(UpdateStock::new(order)).await;
        assert_eq!(
            value(&store, "SELECT stock FROM products WHERE sku = 'mug'").await,
            98
        );
    })
    .await;
}

#[tokio::test]
async fn an_import_is_a_job_for_each_line() {
    let (store, _) = store_with_order("ada@example.com").await;
    let verk = shop(&store);
    sqlx::query("INSERT INTO imports (csv) VALUES ('cup,10,900\nplate,20,1100\nnonsense\n')")
        .execute(store.pool())
        .await
        .unwrap();
    ImportProducts::enqueue(1).await.unwrap();

    let now = verk.drain().await;
    assert_eq!((now.succeeded, now.dead), (3, 1));
    assert_eq!(verk.all_dead::<ImportProduct>()[0].line, "nonsense");
    assert_eq!(
        value(&store, "SELECT cents FROM products WHERE sku = 'plate'").await,
        1100
    );
}

#[tokio::test]
async fn a_cart_expires_an_hour_after_its_last_use() {
    let (store, _) = store_with_order("ada@example.com").await;
    let verk = shop(&store);
    sqlx::query("INSERT INTO carts (email, touched) VALUES ('ada@example.com', 1)")
        .execute(store.pool())
        .await
        .unwrap();
    ExpireCart::new(1)
        .schedule_in(HOUR)
        .enqueue()
        .await
        .unwrap();

    assert_eq!(verk.advance(HOUR).await.snoozed, 1);
    assert_eq!(value(&store, "SELECT count(*) FROM carts").await, 1);
    assert_eq!(verk.advance(HOUR).await.succeeded, 1);
    assert_eq!(value(&store, "SELECT count(*) FROM carts").await, 0);
}

#[tokio::test]
async fn every_night_has_one_report() {
    let (store, _) = store_with_order("ada@example.com").await;
    let verk = shop(&store);
    sqlx::query("UPDATE orders SET created_on = '2026-03-01'")
        .execute(store.pool())
        .await
        .unwrap();
    // Two worker processes start on the same day.
    for _ in 0..2 {
        housekeeping::schedule_report(&store, "2026-03-01")
            .await
            .unwrap();
    }
    let three_days = verk.advance(72 * HOUR).await;
    assert_eq!((three_days.discarded, three_days.failed), (1, 0));
    assert_eq!(value(&store, "SELECT count(*) FROM reports").await, 3);
    assert_eq!(value(&store, "SELECT sum(orders) FROM reports").await, 1);
    assert_eq!(verk.all_finished::<CleanUp>().len(), 3);
    assert_eq!(verk.all_scheduled::<DailyReport>().len(), 1);
}
