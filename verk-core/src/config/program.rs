//! What is warned of in a program: it cannot do what it was built for.

use crate::log;

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
