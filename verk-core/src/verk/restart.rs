//! Runs the parts of a node again that panic: [`Restarts`].

use std::ops::ControlFlow;

use futures_util::future::BoxFuture;

use crate::{
    guard,
    health::monitor::Monitor,
    services::Services,
    time::{backoff::pause_before_retry, clock::Clock},
};

/// Runs a part of a node again after a panic, and reports each panic to the health of the node.
pub(crate) struct Restarts<'a> {
    monitor: &'a Monitor,
    clock: &'a dyn Clock,
}

impl<'a> Restarts<'a> {
    pub(crate) fn of(services: &'a Services) -> Self {
        Self {
            monitor: &services.monitor,
            clock: &*services.clock,
        }
    }

    /// Runs a part to its end, again if it panics, after a pause that grows with each panic in a
    /// row. `name` is its name in the health of the node. `panicked` is called after each panic,
    /// before the pause. If it breaks, the part does not run again.
    pub(crate) async fn keep_running<M>(
        &self,
        name: &str,
        mut part: M,
        run: impl for<'m> Fn(&'m mut M) -> BoxFuture<'m, ()>,
        panicked: impl Fn(&mut M) -> ControlFlow<()>,
    ) {
        while guard::catch_future(run(&mut part)).await.is_err() {
            let panics = self.monitor.panicked(name, self.clock.instant());
            let pause = self.clock.sleep(pause_before_retry(panics));
            if panicked(&mut part).is_break() {
                return;
            }
            pause.await;
        }
    }
}

#[cfg(test)]
mod tests;
