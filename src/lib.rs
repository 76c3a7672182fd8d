// The examples of the guide use every feature.
#![cfg_attr(
    any(
        not(doctest),
        all(feature = "macros", feature = "redis", feature = "testing")
    ),
    doc = include_str!("docs/guide.md")
)]

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

#[cfg(all(
    doc,
    any(
        not(doctest),
        all(feature = "macros", feature = "redis", feature = "testing")
    )
))]
pub mod guide {
    //! More than the first page says.

    pub mod arguments {
        #![doc = include_str!("docs/arguments.md")]
    }
    pub mod comparison {
        #![doc = include_str!("docs/comparison.md")]
    }
    pub mod configuration {
        #![doc = include_str!("docs/configuration.md")]
    }
    pub mod durability {
        #![doc = include_str!("docs/durability.md")]
    }
    pub mod enqueueing {
        #![doc = include_str!("docs/enqueueing.md")]
    }
    pub mod events {
        #![doc = include_str!("docs/events.md")]
    }
    pub mod extractors {
        #![doc = include_str!("docs/extractors.md")]
    }
    pub mod health {
        #![doc = include_str!("docs/health.md")]
    }
    pub mod lifecycle {
        #![doc = include_str!("docs/lifecycle.md")]
    }
    #[cfg(any(not(doctest), feature = "metrics"))]
    pub mod metrics {
        #![doc = include_str!("docs/metrics.md")]
    }
    pub mod middleware {
        #![doc = include_str!("docs/middleware.md")]
    }
    pub mod nodes {
        #![doc = include_str!("docs/nodes.md")]
    }
    pub mod outcomes {
        #![doc = include_str!("docs/outcomes.md")]
    }
    pub mod queues {
        #![doc = include_str!("docs/queues.md")]
    }
    pub mod redis {
        #![doc = include_str!("docs/redis.md")]
    }
    pub mod scheduling {
        #![doc = include_str!("docs/scheduling.md")]
    }
    pub mod sidekiq {
        #![doc = include_str!("docs/sidekiq.md")]
    }
    #[cfg(any(not(doctest), feature = "otel"))]
    pub mod tracing {
        #![doc = include_str!("docs/tracing.md")]
    }
}

/// Compiles the README's example.
#[cfg(all(doctest, feature = "macros", feature = "redis"))]
#[doc = include_str!("../README.md")]
mod readme {}
