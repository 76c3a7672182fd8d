//! Processes in Sidekiq's registry.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use verk_core::{
    StorageError,
    storage::{
        MAX_BATCH_BYTES, MAX_BATCH_JOBS, ProcessReport, ProcessSignal, ProcessStore, ShownWork,
        WorkPage, WorkPlace,
    },
};

use super::MemoryStorage;

/// How long a process is shown after its report, and a signal waits for it.
const TTL: Duration = Duration::from_secs(60);

/// Every process that is listed, and the requests for each.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// With the time at which a report runs out.
    pub(super) shown: BTreeMap<String, (ProcessReport, Instant)>,
    pub(super) signals: HashMap<String, (VecDeque<ProcessSignal>, Instant)>,
}

#[async_trait]
impl ProcessStore for MemoryStorage {
    async fn report_process(
        &self,
        report: &ProcessReport,
    ) -> Result<Vec<ProcessSignal>, StorageError> {
        self.held_while(|faults| faults.holding_reports).await;
        let now = self.shared.clock.instant();
        self.write("show a process", |state| {
            Ok(state.processes.report(report, now))
        })
    }

    async fn forget_process(&self, identity: &str) -> Result<(), StorageError> {
        self.held_while(|faults| faults.holding_reports).await;
        self.write("forget a process", |state| {
            state.processes.forget(identity);
            Ok(())
        })
    }

    async fn processes(&self) -> Result<Vec<ProcessReport>, StorageError> {
        let now = self.shared.clock.instant();
        self.read("list the processes", |state| Ok(state.processes.list(now)))
    }

    async fn process(&self, identity: &str) -> Result<Option<ProcessReport>, StorageError> {
        let now = self.shared.clock.instant();
        self.read("read the report of a process", |state| {
            Ok(state.processes.find(identity, now))
        })
    }

    async fn work(&self, from: Option<&WorkPlace>, limit: usize) -> Result<WorkPage, StorageError> {
        let now = self.shared.clock.instant();
        self.read("read running jobs", |state| {
            Ok(state.processes.work(from, limit, now))
        })
    }

    async fn signal_process(
        &self,
        identity: &str,
        signal: ProcessSignal,
    ) -> Result<bool, StorageError> {
        let now = self.shared.clock.instant();
        self.write("ask something of a process", |state| {
            Ok(state.processes.signal(identity, signal, now))
        })
    }

    async fn prune_processes(&self) -> Result<usize, StorageError> {
        let now = self.shared.clock.instant();
        self.write("forget processes that ended", |state| {
            Ok(state.processes.prune(now))
        })
    }
}

impl Processes {
    pub(super) fn report(&mut self, report: &ProcessReport, now: Instant) -> Vec<ProcessSignal> {
        let identity = &report.identity;
        let stored = ProcessReport {
            sidekiq_6_work: false,
            ..report.clone()
        };
        self.shown.insert(identity.clone(), (stored, now + TTL));
        match self.signals.remove(identity) {
            Some((signals, expires)) if expires > now => signals.into(),
            _ => Vec::new(),
        }
    }

    pub(super) fn forget(&mut self, identity: &str) {
        if self.shown.remove(identity).is_some() {
            self.signals.remove(identity);
        }
    }

    pub(super) fn list(&self, now: Instant) -> Vec<ProcessReport> {
        self.shown(now).map(without_work).collect()
    }

    pub(super) fn find(&self, identity: &str, now: Instant) -> Option<ProcessReport> {
        let report = self.shown(now).find(|report| report.identity == identity);
        report.map(without_work)
    }

    pub(super) fn work(&self, from: Option<&WorkPlace>, limit: usize, now: Instant) -> WorkPage {
        let limit = limit.clamp(1, MAX_BATCH_JOBS);
        let mut page = WorkPage::default();
        let mut bytes = 0;
        let place = |report: &ProcessReport, cursor| WorkPlace {
            identity: report.identity.clone(),
            cursor,
        };
        for report in self.shown(now) {
            let from = match from {
                Some(from) if report.identity < from.identity => continue,
                Some(from) if report.identity == from.identity => from.cursor,
                _ => 0,
            };
            let mut jobs: Vec<_> = report.work.iter().map(|job| (hash(job.0), job)).collect();
            jobs.sort();
            jobs.retain(|(hash, _)| *hash >= from);
            for (hash, (thread, work)) in jobs {
                if page.work.len() >= limit || bytes >= MAX_BATCH_BYTES {
                    page.next = Some(place(report, hash));
                    return page;
                }
                bytes += work.len();
                page.work.push(ShownWork {
                    identity: report.identity.clone(),
                    thread: thread.clone(),
                    work: work.clone(),
                });
            }
        }
        page
    }

    fn shown(&self, now: Instant) -> impl Iterator<Item = &ProcessReport> {
        let shown = self.shown.values();
        shown.filter_map(move |(report, expires)| (*expires > now).then_some(report))
    }

    /// Answers whether the process is shown.
    pub(super) fn signal(&mut self, identity: &str, signal: ProcessSignal, now: Instant) -> bool {
        if self.find(identity, now).is_none() {
            return false;
        }
        let (signals, expires) = self
            .signals
            .entry(identity.to_owned())
            .or_insert_with(|| (VecDeque::new(), now));
        if *expires <= now {
            signals.clear();
        }
        signals.push_back(signal);
        *expires = now + TTL;
        true
    }

    pub(super) fn prune(&mut self, now: Instant) -> usize {
        let before = self.shown.len();
        self.shown.retain(|_, (_, expires)| *expires > now);
        before - self.shown.len()
    }

    pub(super) fn expire(&mut self, identity: &str, now: Instant) {
        if let Some((_, expires)) = self.shown.get_mut(identity) {
            *expires = now;
        }
    }
}

fn without_work(report: &ProcessReport) -> ProcessReport {
    ProcessReport {
        work: BTreeMap::new(),
        ..report.clone()
    }
}

/// The place of a thread among those of its process. It stays the same whatever comes and goes.
fn hash(thread: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    thread.hash(&mut hasher);
    hasher.finish()
}
