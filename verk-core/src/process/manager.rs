//! Shows this process to Sidekiq Web every 10 seconds, and obeys its buttons.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    log,
    names::NodeId,
    node::about::process_host,
    process::{Activity, Process},
    queues::all::AllQueues,
    services::Essentials,
    storage::ProcessSignal,
};

/// How often the process is shown, as in Sidekiq. Sidekiq Web forgets it after a minute.
const EVERY: Duration = Duration::from_secs(10);

/// Shows one process from its start to its end.
#[derive(Debug)]
pub(crate) struct ProcessManager {
    essentials: Arc<Essentials>,
    queues: AllQueues,
    process: Process,
    /// Cancelled when the node must stop, for any reason; here, when an operator asked for it.
    stop: CancellationToken,
    /// Cancelled once all jobs have ended.
    ended: CancellationToken,
    /// How long the storage took to answer the last report.
    rtt: Duration,
}

impl ProcessManager {
    pub(crate) fn new(
        essentials: Arc<Essentials>,
        queues: AllQueues,
        node: &NodeId,
        stop: CancellationToken,
        ended: CancellationToken,
    ) -> Self {
        Self {
            process: Process::this(process_host(), node, &essentials.config, essentials.now()),
            essentials,
            queues,
            stop,
            ended,
            rtt: Duration::ZERO,
        }
    }

    /// Runs until the jobs have ended, then takes the process off the list.
    pub(crate) async fn run(&mut self) {
        if let Err(error) = self.essentials.storage.prune_processes().await {
            log::warn!(
                error = %error,
                "processes that ended could not be forgotten"
            );
        }
        while !self.ended.is_cancelled() {
            let quiet = self.is_quiet();
            if let Err(error) = self.report(quiet).await {
                log::warn!(
                    error = %error,
                    "this process could not be shown to Sidekiq Web, trying again"
                );
            }
            tokio::select! {
                biased;
                () = self.ended.cancelled() => {}
                () = self.until_quiet(), if !quiet => {}
                () = self.essentials.clock.sleep(EVERY) => {}
            }
        }
        let identity = self.process.identity();
        if let Err(error) = self.essentials.storage.forget_process(identity).await {
            log::warn!(
                error = %error,
                "this process is shown for another minute, although it ends"
            );
        }
    }

    /// Shows the process, and does what operators asked of it since the last time.
    async fn report(&mut self, quiet: bool) -> Result<(), StorageError> {
        let essentials = &self.essentials;
        let report = self.process.report(&Activity {
            queues: &self.queues.statuses(),
            runs: &self.queues.runs(),
            quiet,
            now: essentials.now(),
            rtt: self.rtt,
        });
        let sent = essentials.clock.instant();
        let asked = essentials.storage.report_process(&report).await?;
        self.rtt = essentials.clock.instant().saturating_duration_since(sent);
        for signal in asked {
            log::info!(?signal, "asked for by Sidekiq Web or another operator");
            match signal {
                ProcessSignal::Quiet => {
                    self.queues.quiet();
                }
                ProcessSignal::Stop => self.stop.cancel(),
                ProcessSignal::Dump => self.queues.log_running_jobs(),
            }
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.stop.is_cancelled() || self.queues.is_quiet()
    }

    async fn until_quiet(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.queues.until_quiet() => {}
        }
    }
}
