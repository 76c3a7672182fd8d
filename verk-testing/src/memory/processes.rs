//! Processes in Sidekiq's registry: the changes of a [`State`] that concern them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

use verk_core::storage::{ProcessReport, ProcessSignal};

/// How long a process is shown after its report, and a signal waits for it.
const TTL: Duration = Duration::from_secs(60);

/// Every process that is listed, and the requests for each.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// With the time at which a report runs out.
    pub(super) shown: BTreeMap<String, (ProcessReport, Instant)>,
    pub(super) signals: HashMap<String, (VecDeque<ProcessSignal>, Instant)>,
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
        let shown = self.shown.values().filter(|(_, expires)| *expires > now);
        shown.map(|(report, _)| report.clone()).collect()
    }

    pub(super) fn signal(&mut self, identity: &str, signal: ProcessSignal, now: Instant) {
        let (signals, expires) = self
            .signals
            .entry(identity.to_owned())
            .or_insert_with(|| (VecDeque::new(), now));
        if *expires <= now {
            signals.clear();
        }
        signals.push_back(signal);
        *expires = now + TTL;
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
