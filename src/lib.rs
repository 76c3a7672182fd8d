//! Background jobs for Rust on Redis, in the Sidekiq format: isolated queues, crash-safe by default.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use verk_core::*;
#[cfg(feature = "macros")]
#[doc = include_str!("docs/worker.md")]
pub use verk_macros::worker;
#[cfg(feature = "redis")]
pub use verk_redis as redis;

#[cfg(feature = "testing")]
pub mod testing {
    #![doc = include_str!("docs/testing.md")]

    pub use verk_testing::*;
}

/// What most programs need: `use verk::prelude::*;`.
pub mod prelude {
    pub use verk_core::{Config, EnqueueExt, FromJob, JobContext, Outcome, RetryIn, State, Verk};
    #[cfg(feature = "redis")]
    pub use verk_redis::RedisBuilderExt;
}

/// Compiles the README's example.
#[cfg(all(doctest, feature = "macros", feature = "redis"))]
#[doc = include_str!("../README.md")]
mod readme {}
