//! `.redis(url)` on the builder of a Verk: [`RedisBuilderExt`].

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use verk_core::{
    Config, Connect, StorageError, VerkBuilder, cells::Cells, error::ConfigError, time::Clock,
};

use crate::{config::RedisConfig, storage::RedisStorage};

/// How many servers are connected to at once.
const MOST_AT_ONCE: usize = 8;

/// Lets a Verk be built on Redis.
pub trait RedisBuilderExt {
    /// Uses the Redis at a URL, or one that a [`RedisConfig`] describes. The prefix and the
    /// schedule keys are those of the [`RedisConfig`] or, if it has none, those of the Verk's
    /// configuration. On a cluster it may be several [cells](RedisConfig::cells).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use verk_core::Verk;
    /// use verk_redis::RedisBuilderExt;
    ///
    /// # async fn example() -> Result<(), verk_core::BuildError> {
    /// let verk = Verk::builder().redis("redis://127.0.0.1:6379").queue("default", 25).build().await?;
    /// # Ok(())
    /// # }
    /// ```
    fn redis(self, redis: impl Into<RedisConfig>) -> VerkBuilder;

    /// Spreads the queues over several servers or Sentinel groups. Each is a
    /// [cell](verk_core::cells), in the order given, which must be the same in all programs. The
    /// prefix and the schedule keys of each are found as by [`redis`](Self::redis), and Sidekiq can
    /// share each of them.
    ///
    /// Without any, [`build`](VerkBuilder::build) fails.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use verk_core::Verk;
    /// use verk_redis::RedisBuilderExt;
    ///
    /// # async fn example() -> Result<(), verk_core::BuildError> {
    /// let verk = Verk::builder()
    ///     .redis_cells(["redis://one:6379", "redis://two:6379"])
    ///     .queue("default", 25)
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    fn redis_cells(self, cells: impl IntoIterator<Item = impl Into<RedisConfig>>) -> VerkBuilder;
}

impl RedisBuilderExt for VerkBuilder {
    fn redis(self, redis: impl Into<RedisConfig>) -> VerkBuilder {
        self.connect(redis.into())
    }

    fn redis_cells(self, cells: impl IntoIterator<Item = impl Into<RedisConfig>>) -> VerkBuilder {
        let cells: Vec<RedisConfig> = cells.into_iter().map(Into::into).collect();
        if cells.is_empty() {
            return self.with_error(ConfigError::Invalid {
                field: "redis_cells".to_owned(),
                value: "empty".to_owned(),
                accepted: "at least one server".to_owned(),
            });
        }
        self.connect(Servers(cells))
    }
}

#[async_trait]
impl Connect for RedisConfig {
    async fn connect(&self, config: &Config, _: Arc<dyn Clock>) -> Result<Cells, StorageError> {
        let storages = open(complete(self, config)).await?;
        Ok(storages.into_iter().collect())
    }
}

/// Several, each of which is a cell.
#[derive(Debug)]
struct Servers(Vec<RedisConfig>);

#[async_trait]
impl Connect for Servers {
    async fn connect(&self, config: &Config, _: Arc<dyn Clock>) -> Result<Cells, StorageError> {
        let complete = self.0.iter().map(|redis| complete(redis, config));
        let opening: Vec<_> = complete.map(open).collect();
        let opening = stream::iter(opening).buffered(MOST_AT_ONCE);
        let storages: Vec<_> = opening.try_collect().await?;
        Ok(storages.into_iter().flatten().collect())
    }
}

/// With what the configuration of the Verk adds.
fn complete(redis: &RedisConfig, config: &Config) -> RedisConfig {
    let prefix = redis.prefix.clone().or_else(|| config.prefix.clone());
    let schedule_keys = redis.schedule_keys.unwrap_or(config.schedule_keys);
    redis.clone().prefix(prefix).schedule_keys(schedule_keys)
}

async fn open(redis: RedisConfig) -> Result<Vec<RedisStorage>, StorageError> {
    RedisStorage::connect_cells(redis).await.map_err(|error| {
        let kind = error.kind();
        StorageError::not_applied("connect to Redis", error).with_kind(kind)
    })
}
