//! The app of the comparison, with rusty-sidekiq.

#[path = "../../bank.rs"]
mod bank;

use std::{
    env,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bb8::Pool;
use sidekiq::{
    ChainIter, Error, Job, Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Result,
    ServerMiddleware, UnitOfWork, Worker, WorkerOpts, WorkerRef,
};

use bank::{Bank, ChargeError};

// worker

struct Charge {
    bank: Bank,
}

#[async_trait]
impl Worker<(u64, u64)> for Charge {
    fn opts() -> WorkerOpts<(u64, u64), Self> {
        WorkerOpts::new().queue("payments").retry(5)
    }

    async fn perform(&self, (order, cents): (u64, u64)) -> Result<()> {
        let charged = self.bank.charge(order, cents).await;
        charged.map_err(|error| Error::Any(Box::new(error)))
    }
}

// retry

// A worker does not decide whether and when its job is retried. A middleware in front of all
// workers decides it, and writes its own keys into the job. From here until the job is in
// `schedule` or `dead`, it is only in memory.
struct RetryByError;

#[async_trait]
impl ServerMiddleware for RetryByError {
    async fn call(
        &self,
        chain: ChainIter,
        job: &Job,
        worker: Arc<WorkerRef>,
        redis: RedisPool,
    ) -> Result<()> {
        let Err(error) = chain.next(job, worker, redis.clone()).await else {
            return Ok(());
        };
        let cause = match &error {
            Error::Any(cause) => cause.downcast_ref(),
            _ => None,
        };
        let retry = job.retry_count.map_or(0, |count| count + 1);
        let mut job = job.clone();
        job.error_message = Some(error.to_string());
        job.retry_count = Some(retry);
        match cause {
            Some(ChargeError::Busy) if retry < 5 => {
                let delay = Duration::from_secs(10 << retry);
                UnitOfWork::from_job(job).schedule(&redis, delay).await
            }
            Some(ChargeError::Declined) => {
                let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
                let payload = serde_json::to_string(&job)?;
                let mut redis = redis.get().await?;
                redis
                    .zadd("dead".to_owned(), payload, now.as_secs_f64())
                    .await?;
                Ok(())
            }
            _ => Err(error),
        }
    }
}

// program

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let manager = RedisConnectionManager::new(env::var("REDIS_URL")?)?;
    let redis = Pool::builder().build(manager).await?;
    Charge::perform_async(&redis, (7, 1999)).await?;
    let config = ProcessorConfig::default().num_workers(10);
    let mut processor = Processor::new(redis, vec!["payments".to_owned()]).with_config(config);
    processor.register(Charge {
        bank: Bank::default(),
    });
    processor.using(RetryByError).await;
    processor.run().await;
    Ok(())
}

// test

// Only the worker by itself, because an enqueue, a processor and a call of a middleware need a
// Redis. So these tests do not cover the queue, the arguments' JSON or the retries.
#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_bank_can_be_asked_again() {
        let bank = Bank::busy(2);
        let worker = Charge { bank: bank.clone() };
        assert!(worker.perform((7, 1999)).await.is_err());
        assert!(worker.perform((7, 1999)).await.is_err());
        worker.perform((7, 1999)).await.unwrap();
        assert_eq!(bank.charged(), [(7, 1999)]);
    }

    #[tokio::test]
    async fn a_declined_card_is_an_error() {
        let bank = Bank::default();
        let worker = Charge { bank: bank.clone() };
        let Err(Error::Any(error)) = worker.perform((7, 0)).await else {
            panic!("charged");
        };
        assert!(matches!(error.downcast_ref(), Some(ChargeError::Declined)));
        assert_eq!(bank.charged(), []);
    }
}
