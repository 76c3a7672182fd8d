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
    pub use verk_core::{
        Config, EnqueueExt, FromJob, JobContext, Outcome, RetryIn, State, Verk, cron::Tick,
    };
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
    //! The guide: a page for each thing that you want to do.
    //!
    //! | start | |
    //! |---|---|
    //! | [the first page](crate) | a program and its test, to copy |
    //! | [glossary] | what the words mean: node, run, settle, snooze and others |
    //! | [lifecycle] | the states of a job, with a diagram |
    //!
    //! | write a worker | |
    //! |---|---|
    //! | [worker](macro@crate::worker) | every option of `#[verk::worker]` |
    //! | [arguments] | what you may change while jobs are in Redis |
    //! | [extractors] | state, the running job, and your own parameters |
    //! | [outcomes] | retry later, snooze, discard, kill; when a job is retried |
    //!
    //! | enqueue and test | |
    //! |---|---|
    //! | [enqueueing] | clients, options, many jobs at once, errors |
    //! | [scheduling] | when a job for later starts |
    //! | [periodic] | cron expressions and periods, in any time zone |
    //! | [unique] | one job where several would do the same; debounce and throttle |
    //! | [testing](crate::testing) | without a server, in virtual time |
    //!
    //! | run | |
    //! |---|---|
    //! | [configuration] | all settings, by builder, environment or file |
    //! | [queues] | add, pause and remove queues; prefetching; very many queues |
    //! | [redis] | URLs, TLS, time-outs, rights, Sentinel, clusters, connections |
    //! | [deployment] | signals, systemd, containers, scaling, new versions |
    //! | [outgrowing] | several servers, or a cluster, for more jobs than one server can take |
    //!
    //! | watch | |
    //! |---|---|
    //! | [health] | probes: live, ready, and why not |
    //! | [tracing] | log fields, spans, OpenTelemetry |
    //! | [metrics] | Prometheus and alerts |
    //! | [events] | what happens on a node, as a stream |
    //!
    //! | fix | |
    //! |---|---|
    //! | [managing] | count, find, retry, delete and kill jobs |
    //! | [dashboard](https://docs.rs/verk-web), [command line](https://docs.rs/verk-cli) | the same in a browser and in a terminal |
    //! | [nodes] | what happens to the jobs of a process that dies; poison pills |
    //! | [durability] | what a crash, a lost reply or a failover of Redis costs |
    //!
    //! | come from Sidekiq or Verk | |
    //! |---|---|
    //! | [coming_from_sidekiq] | each option, call and setting of Sidekiq, Pro and Enterprise |
    //! | [coming_from_verk] | each function, setting and key of Elixir's Verk |
    //! | [mixed_fleet] | several programs on one Redis, and the doctor that examines it |
    //! | [sidekiq] | what Sidekiq Web shows, and what its buttons do |
    //! | [job_forms] | each option of a job of Sidekiq, Rails and Elixir's Verk |
    //!
    //! | extend | |
    //! |---|---|
    //! | [middleware] | code around every run and every enqueue |
    //! | [`Storage`](crate::storage::Storage) | the trait of a backend |
    //! | [comparison] | one program in three libraries |

    pub mod arguments {
        #![doc = include_str!("docs/arguments.md")]
    }
    pub mod coming_from_sidekiq {
        #![doc = include_str!("docs/coming_from_sidekiq.md")]
    }
    pub mod coming_from_verk {
        #![doc = include_str!("docs/coming_from_verk.md")]
    }
    pub mod comparison {
        #![doc = include_str!("docs/comparison.md")]
    }
    pub mod configuration {
        #![doc = include_str!("docs/configuration.md")]
    }
    pub mod deployment {
        #![doc = include_str!("docs/deployment.md")]
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
    pub mod glossary {
        #![doc = include_str!("docs/glossary.md")]
    }
    pub mod health {
        #![doc = include_str!("docs/health.md")]
    }
    #[cfg(any(not(doctest), feature = "testing"))]
    pub mod job_forms {
        #![doc = include_str!("docs/job_forms.md")]
    }
    pub mod lifecycle {
        #![doc = include_str!("docs/lifecycle.md")]
    }
    pub mod managing {
        #![doc = include_str!("docs/managing.md")]
    }
    #[cfg(any(not(doctest), feature = "metrics"))]
    pub mod metrics {
        #![doc = include_str!("docs/metrics.md")]
    }
    pub mod middleware {
        #![doc = include_str!("docs/middleware.md")]
    }
    pub mod mixed_fleet {
        #![doc = include_str!("docs/mixed_fleet.md")]
    }
    pub mod nodes {
        #![doc = include_str!("docs/nodes.md")]
    }
    pub mod outgrowing {
        #![doc = include_str!("docs/outgrowing.md")]
    }
    pub mod outcomes {
        #![doc = include_str!("docs/outcomes.md")]
    }
    #[cfg(any(not(doctest), all(feature = "cron", feature = "testing")))]
    pub mod periodic {
        #![doc = include_str!("docs/periodic.md")]
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
    pub mod unique {
        #![doc = include_str!("docs/unique.md")]
    }
}

/// Compiles the README's example.
#[cfg(all(doctest, feature = "macros", feature = "redis"))]
#[doc = include_str!("../README.md")]
mod readme {}
