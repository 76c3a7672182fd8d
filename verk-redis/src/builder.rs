//! `.redis(url)` on the builder of a Verk: [`RedisBuilderExt`].

use std::sync::Arc;

use async_trait::async_trait;
use verk_core::{Config, Connect, StorageError, VerkBuilder, cells::Cells, time::Clock};

use crate::{config::RedisConfig, storage::RedisStorage};

/// Lets a Verk be built on Redis.
pub trait RedisBuilderExt {
    /// Uses the Redis at a URL, or one that a [`RedisConfig`] describes. The prefix and the
    /// schedule keys are those of the [`RedisConfig`] or, if it has none, those of the Verk's
    /// configuration.
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
}

impl RedisBuilderExt for VerkBuilder {
    fn redis(self, redis: impl Into<RedisConfig>) -> VerkBuilder {
        self.connect(redis.into())
    }
}

#[async_trait]
impl Connect for RedisConfig {
    async fn connect(&self, config: &Config, _: Arc<dyn Clock>) -> Result<Cells, StorageError> {
        let prefix = self.prefix.clone().or_else(|| config.prefix.clone());
        let schedule_keys = self.schedule_keys.unwrap_or(config.schedule_keys);
        let redis = self.clone().prefix(prefix).schedule_keys(schedule_keys);
        let storage = RedisStorage::connect(redis).await;
        let storage = storage.map_err(|error| {
            let kind = error.kind();
            StorageError::not_applied("connect to Redis", error).with_kind(kind)
        })?;
        Ok(Cells::new(Arc::new(storage)))
    }
}
