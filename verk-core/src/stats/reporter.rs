//! Adds the counts to the storage every 10 seconds, and at the end.
//!
//! A report keeps its number until the storage has it, so that it counts once however often it is
//! sent.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError, log, names::NodeId, services::Services, stats::counters::Counters,
    storage::StatsReport,
};

/// How often the counts are added to the storage.
const EVERY: Duration = Duration::from_secs(10);

/// How long the last counts of a node may take to be stored.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// How often the last counts are sent, if the storage fails.
const LAST_TRIES: usize = 3;

/// Adds the counts of one node id to the storage.
#[derive(Debug)]
pub(crate) struct StatsManager {
    services: Arc<Services>,
    node: NodeId,
    counters: Arc<Counters>,
    /// Cancelled once nothing more will be counted.
    stop: CancellationToken,
    /// The number of the last report.
    sequence: u64,
    /// The last report, until the storage has it. Its number and its content do not change, because
    /// the storage may have counted it.
    sent: Option<StatsReport>,
}

impl StatsManager {
    pub(crate) fn new(
        services: Arc<Services>,
        node: NodeId,
        counters: Arc<Counters>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            services,
            node,
            counters,
            stop,
            sequence: 0,
            sent: None,
        }
    }

    /// Whether it was stopped: nothing may wait for it forever.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Runs until it is stopped, and the last counts are stored or given up.
    pub(crate) async fn run(&mut self) {
        let stop = self.stop.clone();
        loop {
            let pause = self.services.clock.sleep(EVERY);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = pause => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                result = self.flush() => if let Err(error) = result {
                    log::warn!(node = %self.node, error = %error, "statistics could not be stored, trying again");
                },
            }
        }
        let clock = Arc::clone(&self.services.clock);
        if clock.timeout(LAST_FLUSH, self.flush_last()).await.is_none() {
            log::warn!(node = %self.node, "the storage does not answer: the last statistics may be missing");
        }
    }

    /// Stores the last report and the counts since then.
    ///
    /// Cancel safe: a report is sent again, under the same number.
    async fn flush(&mut self) -> Result<(), StorageError> {
        for _ in 0..2 {
            if self.sent.is_none() {
                self.sent = self.counters.take();
                self.sequence += u64::from(self.sent.is_some());
            }
            let Some(report) = &self.sent else {
                return Ok(());
            };
            self.services
                .storage
                .record_stats(&self.node, self.sequence, report)
                .await?;
            self.sent = None;
        }
        Ok(())
    }

    async fn flush_last(&mut self) {
        for left in (0..LAST_TRIES).rev() {
            match self.flush().await {
                Ok(()) => return,
                Err(error) if left == 0 => {
                    log::warn!(node = %self.node, error = %error, "the last statistics could not be stored");
                }
                Err(_) => {}
            }
        }
    }
}
