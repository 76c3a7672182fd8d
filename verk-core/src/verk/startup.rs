//! A warning at the start of a node: about waiting jobs whose class no worker of this program has.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    job::Job,
    log,
    names::QueueName,
    storage::{ListRequest, Source},
    verk::parts::CellParts,
    worker::registry::OF_ANOTHER_CRATE,
};

/// Warns of what the program of a node that runs queues lacks.
pub fn warn_of_program(aborts: bool, has_workers: bool) {
    if aborts {
        log::warn!(
            "this program is built with `panic = \"abort\"`: a worker that panics ends the process, with all jobs that run there"
        );
    }
    if !has_workers {
        log::warn!(
            "this node runs queues and has no worker, so each of their jobs fails: put `#[verk::worker]` on a function; for workers in another crate: `use that_crate as _;`, or `.register::<TheWorker>()`"
        );
    }
}

/// Warns, once, of each class that no worker has among the jobs that are next in the queues of this
/// node.
pub(crate) async fn warn(parts: &CellParts, stop: &CancellationToken) {
    for queue in parts.queues.names() {
        let found = tokio::select! {
            () = stop.cancelled() => return,
            found = read(parts, &queue) => found,
        };
        match found {
            Ok(classes) => {
                for (class, jobs) in classes {
                    log::warn!(
                        class,
                        %queue,
                        jobs,
                        unknown_class = %parts.services.config.unknown_class,
                        "no worker of this program has the class of jobs that wait in a queue of this node; {OF_ANOTHER_CRATE}"
                    );
                }
            }
            Err(error) => log::warn!(
                %queue,
                error = %error,
                "cannot look for jobs of unknown classes"
            ),
        }
    }
}

/// The unknown classes of the next jobs of a queue, with the number of jobs.
async fn read(
    parts: &CellParts,
    queue: &QueueName,
) -> Result<BTreeMap<String, usize>, StorageError> {
    let mut classes = BTreeMap::new();
    let queue = Source::Queue(queue.clone());
    let next = ListRequest::default();
    let listing = parts.services.storage.list(&queue, &next).await?;
    for waiting in listing.jobs {
        if let Ok(job) = Job::decode(waiting.job)
            && parts.workforce.registry.of_class(job.class()).is_none()
        {
            *classes.entry(job.class().to_owned()).or_default() += 1;
        }
    }
    Ok(classes)
}
