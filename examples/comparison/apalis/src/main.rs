//! The app of the comparison, with apalis and apalis-redis.

#[path = "../../bank.rs"]
mod bank;

use std::{env, time::Duration};

use apalis::{
    layers::retry::{
        HasherRng,
        backoff::{ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff},
    },
    prelude::*,
};
use apalis_redis::RedisStorage;
use serde::{Deserialize, Serialize};

use bank::{Bank, ChargeError};

// worker

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Charge {
    order: u64,
    cents: u64,
}

async fn charge(job: Charge, bank: Data<Bank>) -> Result<(), ChargeError> {
    bank.charge(job.order, job.cents).await
}

// retry

// The policy sees the worker's error boxed. Until the retry, the job waits in the memory of the
// worker, not in Redis.
type Retry = RetryIfPolicy<BackoffRetryPolicy<ExponentialBackoff>, fn(&BoxDynError) -> bool>;

fn retry() -> Retry {
    let (first, longest) = (Duration::from_secs(10), Duration::from_secs(600));
    let backoff = ExponentialBackoffMaker::new(first, longest, 0.0, HasherRng::new())
        .expect("the first is not longer than the longest")
        .make_backoff();
    RetryPolicy::retries(5)
        .with_backoff(backoff)
        .retry_if(|error| matches!(error.downcast_ref(), Some(ChargeError::Busy)))
}

// program

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let redis = apalis_redis::connect(env::var("REDIS_URL")?).await?;
    let mut storage = RedisStorage::new(redis);
    storage
        .push(Charge {
            order: 7,
            cents: 1999,
        })
        .await?;
    WorkerBuilder::new("payments")
        .backend(storage)
        .concurrency(10)
        .retry(retry())
        .data(Bank::default())
        .build(charge)
        .run_until(tokio::signal::ctrl_c())
        .await?;
    Ok(())
}

// test

// On apalis's storage in memory, in tokio's paused time. The test builds the worker again, and has
// to stop it by hand.
#[cfg(test)]
mod tests {
    use super::*;

    async fn run(job: Charge, bank: Bank) {
        let mut storage = MemoryStorage::new();
        storage.push(job).await.unwrap();
        WorkerBuilder::new("test")
            .backend(storage)
            .retry(retry())
            .data(bank)
            .on_event(|worker, event| {
                if matches!(event, Event::Success(_) | Event::Error(_)) {
                    worker.stop().unwrap();
                }
            })
            .build(charge)
            .run()
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_bank_is_asked_again() {
        let bank = Bank::busy(2);
        run(
            Charge {
                order: 7,
                cents: 1999,
            },
            bank.clone(),
        )
        .await;
        assert_eq!(bank.charged(), [(7, 1999)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_declined_card_is_not_tried_again() {
        let bank = Bank::default();
        run(Charge { order: 7, cents: 0 }, bank.clone()).await;
        assert_eq!(bank.charged(), []);
    }
}
