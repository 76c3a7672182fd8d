//! A payload as it was fetched, and the job that was read from it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    job::{Job, MalformedJob},
    names::QueueName,
};

/// A payload, and the job that was read from it.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) held: Bytes,
    pub(crate) job: Result<Arc<Job>, MalformedJob>,
}

impl Payload {
    /// Reads what was fetched from `queue`.
    pub(crate) fn read(held: Bytes, queue: &QueueName) -> Self {
        let job = Job::decode_from(held.clone(), Some(queue)).map(Arc::new);
        Self { held, job }
    }
}
