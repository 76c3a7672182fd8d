//! Follows which queues are paused for all nodes.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{error::StorageError, log, shared::Shared, time::backoff::pause_before_retry};

/// Reads the paused queues when a change is announced, when a fetch finds its queue paused, and every third of a heartbeat: an
/// announcement may be lost, and other programs make none.
#[derive(Debug)]
pub(crate) struct PauseManager {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl PauseManager {
    pub(crate) fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self { shared, stop }
    }

    /// Runs until it is told to stop.
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
            self.shared.clock.sleep(pause).await;
        }
    }

    /// Listens on one connection until it fails. What is announced before it listens is read after.
    async fn listen(&self, failures: &mut u32) -> Result<std::convert::Infallible, StorageError> {
        let shared = &self.shared;
        let mut listener = shared.storage.open_pause_listener().await?;
        loop {
            let paused = listener.paused().await?;
            shared.queues.set_paused_everywhere(paused);
            *failures = 0;
            tokio::select! {
                changed = listener.changed() => changed?,
                () = shared.found_paused.notified() => {}
                () = shared.clock.sleep(shared.config.heartbeat / 3) => {}
            }
        }
    }
}
