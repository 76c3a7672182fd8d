//! Follows which queues are paused for all nodes.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    log,
    names::QueueName,
    queues::Queues,
    services::{SentBeat, Services},
    storage::Beat,
    time::backoff::pause_before_retry,
};

/// Reads the paused queues when a change is announced, when a fetch finds its queue paused, and
/// when a heartbeat, which the node sends three times in each `heartbeat`, finds others paused. The
/// reason: an announcement may be lost, and other programs announce nothing. If heartbeats do not
/// say which queues are paused, the manager reads them as often.
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
            let asked_at = services.clock.instant();
            let paused = listener.paused().await?;
            self.queues.set_paused_everywhere(paused.clone());
            *failures = 0;
            tokio::select! {
                changed = listener.changed() => changed?,
                () = services.found_paused.notified() => {}
                () = self.until_beat_differs(asked_at, &paused) => {}
                () = self.until_beats_are_missing() => {}
            }
        }
    }

    /// Waits for a heartbeat that was sent after `asked_at` and found other queues paused.
    async fn until_beat_differs(&self, asked_at: Instant, paused: &BTreeSet<QueueName>) {
        let mut beats = self.services.last_beat.subscribe();
        let differs = |last: &Option<SentBeat>| {
            let last = last.as_ref().filter(|last| last.sent_at > asked_at);
            let found = last.and_then(|last| last.beat.paused.as_ref());
            found.is_some_and(|found| found != paused)
        };
        // An error says that the sender is gone; it is in `Services`.
        let _ = beats.wait_for(differs).await;
    }

    /// Waits until the heartbeats do not say which queues are paused.
    async fn until_beats_are_missing(&self) {
        let (clock, every) = (&self.services.clock, self.services.config.heartbeat / 3);
        loop {
            let since = clock.instant();
            clock.sleep(every).await;
            // One that is due now may still be on its way, so the last one counts, too.
            let since = since.checked_sub(every).unwrap_or(since);
            let told = |beat: &Beat| beat.paused.is_some();
            if !self.services.last_beat.is(since, told) {
                return;
            }
        }
    }
}
