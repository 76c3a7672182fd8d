//! Converts the arguments of Elixir's Verk to arrays.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::{Doctor, Pages, places};
use crate::{
    effects,
    error::StorageError,
    job::Job,
    storage::{Move, MoveTarget, Settled, Source},
};

/// The result of [`Doctor::convert_string_args`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Conversion {
    /// How many jobs have their arguments in an array now, instead of another form.
    pub converted: usize,
    /// How many of them became equal to another member of their set, so that the set has them once.
    pub merged: usize,
    /// How many were not converted because another program fetched or moved them first.
    pub gone: usize,
    /// Whether all waiting jobs were checked.
    pub complete: bool,
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            converted,
            merged,
            gone,
            complete,
        } = self;
        write!(
            f,
            "converted: {converted}, merged with an equal job: {merged}, gone meanwhile: {gone}"
        )?;
        if *complete {
            Ok(())
        } else {
            f.write_str("; more wait")
        }
    }
}

impl Doctor {
    /// Converts arguments that are no array, such as the strings of Elixir's Verk, to arrays, which
    /// Sidekiq, verk and Elixir's Verk all read.
    ///
    /// Replaces each job that waits in a queue or a set in its place, with its score, and only if
    /// it is still there; all its other bytes stay. Jobs in progress do not change. In each queue
    /// and each set it checks the first [`max_jobs`](Self::max_jobs). A node of Elixir's Verk that
    /// fails such a job writes a string again, and changes meanwhile shift the pages: call it until
    /// it converts none.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk, storage::{JobStore, ListRequest, Source, WaitingStore}};
    /// # use verk_testing::MemoryStorage;
    /// # let storage = MemoryStorage::default();
    /// # let verk = Verk::builder().storage(storage.clone()).build().await?;
    /// let queue = "mailers".parse()?;
    /// storage.enqueue(&queue, &[r#"{"class":"Welcome","args":"[1, 2]","jid":"227897"}"#.into()]).await?;
    ///
    /// let conversion = verk.admin().doctor().convert_string_args().await?;
    /// assert_eq!(conversion.converted, 1);
    /// let listing = storage.list(&Source::Queue(queue), &ListRequest::default()).await?;
    /// assert_eq!(listing.jobs[0].job, r#"{"class":"Welcome","args":[1, 2],"jid":"227897"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails: some jobs may be converted then. You can safely call this again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some jobs are converted, and the others are unchanged.
    pub async fn convert_string_args(&self) -> Result<Conversion, StorageError> {
        let storage = self.admin.storage();
        let (known, nodes) = (storage.queues().await?, storage.nodes().await?);
        let mut conversion = Conversion {
            complete: true,
            ..Conversion::default()
        };
        for place in places(self.admin.queues_of_node(), known, &nodes) {
            let mut pages = Pages::new(storage, &place, self.max_jobs);
            loop {
                let page = pages.next().await?;
                if page.is_empty() {
                    break;
                }
                let moves: Vec<Move> = page
                    .into_iter()
                    .filter_map(|held| conversion_of(&place, held))
                    .collect();
                for settled in storage.move_jobs(&place, &moves, None).await {
                    conversion.count(settled)?;
                }
            }
            conversion.complete &= pages.is_complete();
        }
        Ok(conversion)
    }
}

impl Conversion {
    fn count(&mut self, settled: Settled) -> Result<(), StorageError> {
        match settled {
            Settled::Done => self.converted += 1,
            Settled::Merged => {
                self.converted += 1;
                self.merged += 1;
            }
            // No conversion leaves its place, so no lock stands in its way.
            Settled::NotHeld | Settled::Superseded | Settled::Conflict { .. } => self.gone += 1,
            Settled::Failed(error) => return Err(error),
        }
        Ok(())
    }
}

/// The replacement of a payload; `None` if the payload may stay.
fn conversion_of(from: &Source, held: Bytes) -> Option<Move> {
    let mut job = Job::decode(held.clone()).ok()?;
    if !job.has_spoiled_args() {
        return None;
    }
    job.put_args_in_array();
    let to = MoveTarget::Replace { job: job.encode() };
    let effects = effects::of_move(&job, from, &to);
    Some(Move { held, to, effects })
}
