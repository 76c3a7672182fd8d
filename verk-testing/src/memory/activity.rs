//! What [`TestVerk`](crate::TestVerk) reads of a [`MemoryStorage`](super::MemoryStorage), and how
//! it delays jobs and cuts nodes off.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::Notify;
use verk_core::{
    Jid, Job, QueueName,
    names::NodeId,
    storage::{Inprogress, JobSet, Settlement},
    time::{from_unix_seconds, unix_seconds},
};

use super::{MemoryStorage, sorted_set::SortedSet, state::State};
use crate::conformance::ScoredJob;

/// Which jobs may be fetched, and how many outcomes were stored.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Whether jobs are fetched only while someone drives.
    closed: bool,
    /// How many drive.
    drivers: usize,
    /// How many more jobs may be fetched from a queue while there is no driver.
    tickets: HashMap<QueueName, usize>,
    /// How many settlements took effect.
    pub(super) settled: u64,
    /// Dead nodes: their calls have no effect.
    dead_nodes: HashSet<NodeId>,
    /// When a node dies, and of which job.
    crash: Option<(CrashOn, Jid)>,
}

/// The moment at which a node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashOn {
    /// It fetched a job, and never gets the reply.
    Fetch,
    /// It is about to store an outcome.
    Settle,
}

impl Gate {
    /// How many jobs this node may fetch now.
    pub(super) fn limit(&self, inprogress: &Inprogress, max_jobs: usize) -> usize {
        if self.dead_nodes.contains(&inprogress.node) {
            0
        } else if self.closed && self.drivers == 0 {
            let tickets = self.tickets.get(&inprogress.queue).copied();
            tickets.unwrap_or_default().min(max_jobs)
        } else {
            max_jobs
        }
    }

    /// The node fetched; returns whether it lives to see the jobs.
    pub(super) fn fetched(&mut self, inprogress: &Inprogress, jobs: &[Bytes]) -> bool {
        if let Some(tickets) = self.tickets.get_mut(&inprogress.queue) {
            *tickets = tickets.saturating_sub(jobs.len());
        }
        !self.dies(&inprogress.node, CrashOn::Fetch, jobs.iter())
    }

    /// Whether the settlements of the node have no effect, because it died.
    pub(super) fn refuses(&mut self, node: &NodeId, settlements: &[Settlement]) -> bool {
        let held = settlements.iter().map(|settlement| &settlement.held);
        self.dies(node, CrashOn::Settle, held) || self.dead_nodes.contains(node)
    }

    /// Whether the node died.
    pub(super) fn is_dead(&self, node: &NodeId) -> bool {
        self.dead_nodes.contains(node)
    }

    fn dies<'a>(
        &mut self,
        node: &NodeId,
        on: CrashOn,
        mut jobs: impl Iterator<Item = &'a Bytes>,
    ) -> bool {
        let of =
            |jid: &Jid, job: &Bytes| Job::decode(job.clone()).is_ok_and(|job| job.jid() == jid);
        let dies = matches!(&self.crash, Some((crash, jid)) if *crash == on && jobs.any(|job| of(jid, job)));
        if dies {
            self.crash = None;
            self.dead_nodes.insert(node.clone());
        }
        dies
    }
}

/// A moment in the life of a storage.
#[derive(Debug, PartialEq)]
pub(crate) struct Activity {
    /// How many jobs wait in each queue that has some.
    pub(crate) queued: BTreeMap<QueueName, usize>,
    /// What nodes hold.
    pub(crate) inprogress: Vec<Bytes>,
    /// How many jobs of `schedule` and `retry`, and entries of the timetable, are due.
    pub(crate) due: usize,
    /// When the first job that is not due yet will be due.
    pub(crate) next_due: Option<SystemTime>,
    /// How many settlements took effect since the storage was made.
    pub(crate) settled: u64,
    /// Whether a node died.
    pub(crate) crashed: bool,
}

impl Activity {
    fn of(state: &State, now: SystemTime) -> Self {
        let sets = [JobSet::Schedule, JobSet::Retry].map(|set| state.set(set));
        let now = unix_seconds(now);
        let cron_due = state.cron.due();
        Self {
            queued: state
                .queues
                .iter()
                .map(|(queue, jobs)| (queue.clone(), jobs.len()))
                .collect(),
            inprogress: state.inprogress.values().flatten().cloned().collect(),
            due: sets.iter().map(|set| due(set, now).count()).sum::<usize>()
                + cron_due
                    .clone()
                    .filter(|next| unix_seconds(*next) <= now)
                    .count(),
            next_due: sets
                .iter()
                .filter_map(|set| set.iter().find(|member| member.score > now))
                .map(|member| not_before(member.score))
                .chain(cron_due.filter(|next| unix_seconds(*next) > now))
                .min(),
            settled: state.gate.settled,
            crashed: !state.gate.dead_nodes.is_empty(),
        }
    }
}

fn due(set: &SortedSet, now: f64) -> impl Iterator<Item = ScoredJob> {
    set.iter().take_while(move |member| member.score <= now)
}

/// The first microsecond at which a member with this score is due.
pub(super) fn not_before(score: f64) -> SystemTime {
    let at = from_unix_seconds(score);
    if unix_seconds(at) < score {
        at + Duration::from_micros(1)
    } else {
        at
    }
}

impl MemoryStorage {
    /// From now on jobs are fetched only while there is a [`driver`](Self::drive), or with a
    /// ticket.
    pub(crate) fn close_gate(&self) {
        self.shared.change(|state| state.gate.closed = true);
    }

    /// Lets jobs be fetched until the guard is dropped.
    pub(crate) fn drive(&self) -> Driver {
        self.shared.change(|state| state.gate.drivers += 1);
        Driver(self.clone())
    }

    /// How many drive now.
    pub(crate) fn drivers(&self) -> usize {
        self.shared.lock().gate.drivers
    }

    /// Lets one job of `queue` be fetched while there is no driver.
    pub(crate) fn give_ticket(&self, queue: &QueueName) {
        self.shared
            .change(|state| *state.gate.tickets.entry(queue.clone()).or_default() += 1);
    }

    /// Takes all tickets back.
    pub(crate) fn take_tickets(&self) {
        self.shared.change(|state| state.gate.tickets.clear());
    }

    /// Whether a ticket was not used yet.
    pub(crate) fn has_tickets(&self) -> bool {
        let state = self.shared.lock();
        state.gate.tickets.values().any(|tickets| *tickets > 0)
    }

    /// What happens now.
    pub(crate) fn activity(&self) -> Activity {
        let now = self.shared.clock.now();
        Activity::of(&self.shared.lock(), now)
    }

    /// Notified after each change.
    pub(crate) fn changed(&self) -> &Notify {
        &self.shared.changed
    }

    /// The jobs of all queues, each queue's in order, and those of a set, by time.
    pub(crate) fn waiting(&self) -> Vec<(QueueName, Bytes)> {
        let state = self.shared.lock();
        let queues = state.queues.iter();
        queues
            .flat_map(|(queue, jobs)| jobs.iter().map(|job| (queue.clone(), job.clone())))
            .collect()
    }

    /// The members of a set, by score.
    pub(crate) fn members(&self, set: JobSet) -> Vec<ScoredJob> {
        self.shared.lock().set(set).iter().collect()
    }

    /// The node that comes to this point with this job dies there.
    pub(crate) fn crash_on(&self, crash: CrashOn, jid: &Jid) {
        self.shared
            .change(|state| state.gate.crash = Some((crash, jid.clone())));
    }

    /// All nodes that are registered die now.
    pub(crate) fn crash_now(&self) {
        self.shared.change(|state| {
            let nodes: Vec<NodeId> = state.nodes.keys().cloned().collect();
            state.gate.dead_nodes.extend(nodes);
        });
    }

    /// Whether a node died.
    pub(crate) fn has_dead_nodes(&self) -> bool {
        !self.shared.lock().gate.dead_nodes.is_empty()
    }

    /// The heartbeats, names and leases of the nodes that died run out, so that another node may
    /// take over.
    pub(crate) fn bury_dead_nodes(&self) {
        self.shared.change(|state| {
            for node in std::mem::take(&mut state.gate.dead_nodes) {
                state.expire_heartbeat(&node);
                state.expire_name(&node);
                state.expire_lease(&node);
            }
        });
    }
}

/// Lets jobs be fetched until it is dropped.
#[derive(Debug)]
pub(crate) struct Driver(MemoryStorage);

impl Drop for Driver {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.0.shared);
        shared.change(|state| state.gate.drivers -= 1);
    }
}
