//! The app of the comparison, with verk.

#[path = "../../bank.rs"]
mod bank;

use std::{env, time::Duration};

use verk::prelude::*;

use bank::{Bank, ChargeError};

// worker

#[verk::worker(queue = "payments", max_retry_count = 5, retry_in = retry)]
async fn charge(order: u64, cents: u64, State(bank): State<Bank>) -> Result<(), ChargeError> {
    bank.charge(order, cents).await
}

// retry

fn retry(attempt: u32, error: &ChargeError) -> RetryIn {
    match error {
        ChargeError::Busy => RetryIn::After(Duration::from_secs(5 << attempt)),
        ChargeError::Declined => RetryIn::Kill,
    }
}

// program

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let verk = Verk::builder()
        .redis(env::var("REDIS_URL")?)
        .queue("payments", 10)
        .state(Bank::default())
        .build()
        .await?;
    Charge::enqueue(7, 1999).await?;
    verk.run().await?;
    Ok(())
}

// test

// The managers of production, on a storage in memory, in virtual time.
#[cfg(test)]
mod tests {
    use super::*;
    use verk::testing::TestVerk;

    #[tokio::test]
    async fn a_busy_bank_is_asked_again() {
        let bank = Bank::busy(2);
        let verk = TestVerk::builder().state(bank.clone()).build();
        Charge::enqueue(7, 1999).await.unwrap();
        let done = verk.advance(Duration::from_secs(60)).await;
        assert_eq!((done.retried, done.succeeded), (2, 1));
        assert_eq!(bank.charged(), [(7, 1999)]);
    }

    #[tokio::test]
    async fn a_declined_card_is_not_tried_again() {
        let bank = Bank::default();
        let verk = TestVerk::builder().state(bank.clone()).build();
        Charge::enqueue(7, 0).await.unwrap();
        assert_eq!(verk.drain().await.dead, 1);
        assert_eq!(bank.charged(), []);
    }
}
