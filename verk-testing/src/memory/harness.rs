//! The conformance suite runs on a [`MemoryStorage`] as it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    names::NodeId,
    storage::{Counts, Inprogress, JobSet, LockId, Storage},
};

use super::{Key, MemoryStorage, Operation, sorted_set::SortedSet};
use crate::conformance::{Dump, Harness, ScoredJob};

#[async_trait]
impl Harness for MemoryStorage {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    async fn dump(&self) -> Dump {
        let state = self.shared.lock();
        let mut dump = Dump::default();
        dump.add("queues", state.queue_names.iter().map(text));
        for (queue, jobs) in &state.queues {
            dump.add(format!("queue {queue}"), jobs.iter().cloned());
        }
        for (held, jobs) in &state.inprogress {
            let key = format!("inprogress {} {}", held.queue, held.node);
            dump.add(key, jobs.iter().cloned());
        }
        for (name, set) in [
            ("schedule", &state.schedule),
            ("retry", &state.retry),
            ("dead", &state.dead),
        ] {
            dump.add(format!("{name} jobs"), set.iter().map(|member| member.job));
            dump.add(format!("{name} scores"), scores(set));
        }
        dump.add("paused", state.paused.keys().map(text));
        dump.add("pauses", state.paused.values().cloned());
        dump.add("nodes", state.nodes.keys().map(text));
        for (node, queues) in &state.nodes {
            dump.add(format!("node {node} queues"), queues.iter().map(text));
        }
        for (node, info) in &state.node_infos {
            dump.add(format!("node {node} info"), [text(format!("{info:?}"))]);
        }
        let mut alive: Vec<Bytes> = state.heartbeats.keys().map(text).collect();
        alive.sort();
        dump.add("heartbeats", alive);
        for (name, (holder, _)) in &state.names {
            dump.add(format!("name {name}"), [text(holder)]);
        }
        for (held, (count, _)) in &state.prefetched {
            let key = format!("prefetched {} {}", held.queue, held.node);
            dump.add(key, [text(count)]);
        }
        for queue in state.restored.keys() {
            dump.add(format!("restored {queue}"), [text(1)]);
        }
        for (jid, (deaths, _)) in &state.deaths.of_jobs {
            dump.add(format!("deaths {jid}"), [text(deaths)]);
        }
        for (node, counted) in &state.deaths.of_nodes {
            let mut counted: Vec<_> = counted
                .iter()
                .map(|(jid, deaths)| format!("{jid} {deaths}").into())
                .collect();
            counted.sort();
            dump.add(format!("node {node} deaths"), counted);
        }
        dump.add("layout", state.layout.iter().map(text));
        for (queue, moved) in &state.moved {
            dump.add(format!("moved {queue}"), [text(format!("{moved:?}"))]);
        }
        if let Some((holder, _)) = &state.lease {
            dump.add("lease", [text(holder)]);
        }
        for (name, entry) in &state.cron.entries {
            dump.add(format!("cron {name}"), [text(format!("{entry:?}"))]);
        }
        state.locks.dump(&mut dump);
        for (key, seen) in &state.seen {
            dump.add(format!("seen {key}"), [text(format!("{seen:?}"))]);
        }
        let stats = &state.stats;
        for (node, sequence) in &stats.sequences {
            dump.add(format!("node {node} stats"), [text(sequence)]);
        }
        let mut counts = |of: String, counts: &Counts| {
            if *counts != Counts::default() {
                let counts = [text(counts.succeeded), text(counts.failed)];
                dump.add(format!("counts {of}"), counts);
            }
        };
        counts("all".into(), &stats.total);
        for (day, of_day) in &stats.days {
            counts(format!("day {day}"), of_day);
        }
        for (queue, of_queue) in &stats.queues {
            counts(format!("queue {queue}"), of_queue);
        }
        for (minute, classes) in &stats.executions {
            let executions = classes.iter().map(|of_class| text(format!("{of_class:?}")));
            dump.add(format!("executions {minute:?}"), executions);
        }
        dump.add("audit", state.actions.iter().cloned());
        for (identity, (report, _)) in &state.processes.shown {
            dump.add(format!("process {identity}"), [report.info.clone()]);
        }
        for (identity, (signals, _)) in &state.processes.signals {
            let signals = signals.iter().map(|signal| text(format!("{signal:?}")));
            dump.add(format!("signals {identity}"), signals);
        }
        dump
    }

    async fn expire_heartbeat(&self, node: &NodeId) {
        self.faults().expire_heartbeat(node);
    }

    async fn heartbeat_ttl(&self, node: &NodeId) -> Option<Duration> {
        let now = self.shared.clock.instant();
        self.shared.lock().heartbeat_ttl(node, now)
    }

    async fn expire_name(&self, node: &NodeId) {
        self.faults().expire_name(node);
    }

    async fn expire_lock(&self, lock: LockId) {
        let now = self.shared.clock.now();
        self.shared.change(|state| state.locks.expire(lock, now));
    }

    async fn expire_process(&self, identity: &str) {
        let now = self.shared.clock.instant();
        self.shared
            .change(|state| state.processes.expire(identity, now));
    }

    async fn add_member(&self, set: JobSet, member: ScoredJob) {
        self.shared
            .change(|state| state.set_mut(set).insert(member.score, member.job));
    }

    async fn add_inprogress(&self, held: &Inprogress, job: Bytes) {
        self.shared.change(|state| {
            let list = state.inprogress.entry(held.clone()).or_default();
            list.push_back(job);
        });
    }

    async fn dequeue_is_waiting(&self) {
        self.wait_for_dequeues(1).await;
    }

    async fn break_key(&self, key: &Key) {
        self.faults().break_key(key.clone());
    }

    async fn mend_key(&self, key: &Key) {
        self.faults().mend_key(key);
    }

    async fn fill(&self) {
        self.faults().set_full(true);
    }

    async fn make_room(&self) {
        self.faults().set_full(false);
    }

    async fn lose_reply(&self, operation: Operation) {
        self.faults().lose_reply(operation);
    }

    async fn disconnect(&self) {
        self.faults().set_refusing(true);
    }

    async fn reconnect(&self) {
        self.faults().set_refusing(false);
    }
}

fn text(name: impl ToString) -> Bytes {
    Bytes::from(name.to_string())
}

fn scores(set: &SortedSet) -> impl Iterator<Item = Bytes> {
    set.iter().map(|member| text(member.score))
}
