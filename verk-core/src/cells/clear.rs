//! Deletes the jobs of a place one by one, so that each has its effects.

use bytes::Bytes;

use crate::{
    effects,
    error::StorageError,
    job::Job,
    storage::{ListRequest, Move, MoveTarget, Settled, Source, Storage},
};

/// Deletes as many jobs as there are now, in steps of a page, so that each frees its lock. Returns
/// how many it deleted.
pub(crate) async fn one_by_one(
    storage: &dyn Storage,
    source: &Source,
) -> Result<usize, StorageError> {
    let all = storage.len(source).await?;
    let mut deleted = 0;
    while deleted < all {
        let page = storage.list(source, &ListRequest::default()).await?;
        let jobs = page.jobs.into_iter();
        let moves: Vec<Move> = jobs.map(|job| deletion(source, job.job)).collect();
        if moves.is_empty() {
            break;
        }
        for settled in storage.move_jobs(source, &moves, None).await {
            match settled {
                Settled::Failed(error) => return Err(error),
                Settled::Done | Settled::Merged | Settled::Superseded => deleted += 1,
                Settled::NotHeld | Settled::Conflict { .. } => {}
            }
        }
    }
    // Removes the name of an empty queue, and what came meanwhile stays.
    storage.clear(source).await?;
    Ok(deleted)
}

fn deletion(source: &Source, held: Bytes) -> Move {
    let to = MoveTarget::Delete;
    let effects = Job::decode(held.clone());
    let effects = effects.map(|job| effects::of_move(&job, source, &to));
    Move {
        effects: effects.unwrap_or_default(),
        held,
        to,
    }
}
