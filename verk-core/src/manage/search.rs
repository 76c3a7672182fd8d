//! Where a job is: [`Found`].

use std::collections::HashSet;

use bytes::Bytes;

use super::{Admin, Entry, Jobs, queues::lists};
use crate::{
    error::StorageError,
    job::{Job, MalformedJob},
    names::{Jid, NodeId, QueueName},
    storage::{Source, Storage, read_from},
};

/// The place where a job was found: see [`Admin::find_job`]. `Display` and `Debug` show it in one
/// line, never the arguments.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// It waits: [`Entry::source`] says where.
    Waiting(Entry),
    /// A node holds it.
    InProgress(JobInProgress),
}

/// A job that a node holds: it runs there, or was fetched and runs next. `Display` and `Debug` show
/// it in one line, never the arguments.
#[derive(Clone)]
#[non_exhaustive]
pub struct JobInProgress {
    /// The node that holds the job.
    pub node: NodeId,
    /// Whether the node has a heartbeat. If it stays missing, other nodes restore the job.
    pub alive: bool,
    /// The queue that the job was fetched from.
    pub queue: QueueName,
    /// The payload as it was fetched.
    pub payload: Bytes,
    /// The job, or why the payload is none.
    pub job: Result<Job, MalformedJob>,
}

/// Most lists of a large fleet are empty, and counting takes a request for hundreds of them.
pub(super) async fn in_progress(storage: &dyn Storage) -> Result<Vec<JobInProgress>, StorageError> {
    let nodes = storage.nodes().await?;
    let lists = lists(&nodes);
    let counts = storage.held_counts(&lists).await?;
    let alive: HashSet<&NodeId> = (nodes.iter())
        .filter_map(|node| node.alive.then_some(&node.id))
        .collect();
    let mut jobs = Vec::new();
    for (held, count) in lists.iter().zip(counts) {
        if count.jobs == 0 {
            continue;
        }
        for payload in read_from(storage, held, 0).await? {
            jobs.push(JobInProgress {
                node: held.node.clone(),
                alive: alive.contains(&held.node),
                queue: held.queue.clone(),
                job: Job::decode(payload.clone()),
                payload,
            });
        }
    }
    Ok(jobs)
}

/// Searches in the order in which a job moves, so that a job that moves on is found later.
pub(super) async fn find(admin: &Admin, jid: &Jid) -> Result<Option<Found>, StorageError> {
    let mut places = vec![admin.scheduled_set(), admin.retry_set()];
    let queues = admin.storage().queues().await?;
    places.extend(
        queues
            .into_iter()
            .map(|queue| Jobs::new(&admin.client, Source::Queue(queue))),
    );
    for place in places {
        if let Some(entry) = place.find(jid).await? {
            return Ok(Some(Found::Waiting(entry)));
        }
    }
    let held = in_progress(admin.storage()).await?;
    let is_it = |held: &JobInProgress| held.job.as_ref().is_ok_and(|job| job.jid() == jid);
    if let Some(held) = held.into_iter().find(is_it) {
        return Ok(Some(Found::InProgress(held)));
    }
    Ok(admin.dead_set().find(jid).await?.map(Found::Waiting))
}
