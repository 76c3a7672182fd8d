//! The processes of all cells.

use async_trait::async_trait;

use super::{Fleet, running};
use crate::{
    error::StorageError,
    storage::{ProcessReport, ProcessSignal, ProcessStore, WorkPage, WorkPlace},
};

/// A process of verk reports itself to one cell, which follows from its identity. One of Sidekiq
/// reports itself to the server that it works on. So all cells are read.
#[async_trait]
impl ProcessStore for Fleet {
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        let cell = self.cells.of_name(&report.identity);
        self.at(cell, |cell| cell.report_process(report)).await
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        let cell = self.cells.of_name(identity);
        self.at(cell, |cell| cell.forget_process(identity)).await
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        let all = self.all(|cell| cell.processes()).await?;
        let mut all: Vec<ProcessReport> = all.into_iter().flatten().collect();
        all.sort_by(|one, other| one.identity.cmp(&other.identity));
        Ok(all)
    }

    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError> {
        let all = self.all(|cell| cell.process(identity)).await?;
        Ok(all.into_iter().flatten().next())
    }

    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError> {
        let share = running::share(limit, self.count());
        let pages = self.all(|cell| cell.work(from, share)).await?;
        Ok(running::merge(pages, limit))
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
        for cell in self.from(self.cells.of_name(identity)) {
            let sent = self.at(cell, |cell| cell.signal_process(identity, signal));
            if sent.await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        let pruned = self.change_all(|cell| cell.prune_processes()).await?;
        Ok(pruned.into_iter().sum())
    }
}
