//! Follows which queues are paused for all nodes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError, log, queues::Queues, services::Services, time::backoff::pause_before_retry,
};

/// Reads the paused queues when a change is announced, when a fetch finds its queue paused, and
/// every third of a heartbeat. The reason: an announcement may be lost, and other programs announce
/// nothing.
#[derive(Debug)]
pub(crate) struct PauseManager {
    services: Arc<Services>,
    queues: Arc<Queues>,
    stop: CancellationToken,
}

impl PauseManager {
    pub(crate) fn new(
        services: Arc<Services>,
        queues: Arc<Queues>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            services,
            queues,
            stop,
        }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(&self) {
        tokio::select! {
            // Nothing here changes the storage.
            () = self.stop.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut failures = 0;
        loop {
            let Err(error) = self.listen(&mut failures).await;
            failures += 1;
            log::warn!(
                error = %error,
                "cannot follow which queues are paused, trying again"
            );
            let pause = pause_before_retry(failures);
            self.services.clock.sleep(pause).await;
        }
    }

    /// Listens on one connection until it fails. Pauses from before it listens are read after.
    async fn listen(&self, failures: &mut u32) -> Result<std::convert::Infallible, StorageError> {
        let services = &self.services;
        let mut listener = services.storage.open_pause_listener().await?;
        loop {
            let paused = listener.paused().await?;
            self.queues.set_paused_everywhere(paused);
            *failures = 0;
            tokio::select! {
                changed = listener.changed() => changed?,
                () = services.found_paused.notified() => {}
                () = services.clock.sleep(services.config.heartbeat / 3) => {}
            }
        }
    }
}
