//! Reads a set of the fleet in order.

use futures_util::future::try_join_all;

use super::{
    Fleet,
    merge::{self, Merged, Part},
};
use crate::{
    error::StorageError,
    storage::{ListRequest, Listing, MAX_BATCH_BYTES, Order, Position, Source},
};

const OP: &str = "read the jobs of a set";

/// How many members are passed over at once to find an index.
const STEP: usize = 1_000;

impl Fleet {
    /// Reads some jobs of a set: from all cells as many as the request asks for, of which those
    /// that come first are the answer.
    pub(super) async fn list_set(
        &self,
        source: &Source,
        request: &ListRequest,
    ) -> Result<Listing, StorageError> {
        let request = match request.from {
            Position::Index(index) if index > 0 => &ListRequest {
                from: self.behind(source, request.order, index).await?,
                ..request.clone()
            },
            _ => request,
        };
        if request.limit == 0 {
            let len = self.all(|cell| cell.len(source)).await?.into_iter().sum();
            return Ok(Listing {
                len,
                next: (len > 0).then_some(request.from),
                ..Listing::default()
            });
        }
        self.list_from(source, request).await
    }

    async fn list_from(
        &self,
        source: &Source,
        request: &ListRequest,
    ) -> Result<Listing, StorageError> {
        let (order, cells) = (request.order, self.count());
        let starts = merge::starts(request.from, cells);
        let reads = starts.iter().enumerate().map(|(rank, start)| {
            let cell = merge::cell_of(rank, order, cells);
            self.list_part(source, cell, *start, request.clone())
        });
        let parts = try_join_all(reads).await?;
        let merged = merge::merge(parts, request);
        let merged = merged.map_err(|error| StorageError::not_applied(OP, error))?;
        let Merged { mut listing, last } = merged;
        if let Some(last) = last {
            let cell = last.cell(order, cells);
            let shorter = ListRequest {
                limit: last.number,
                ..request.clone()
            };
            let start = last.start(&starts);
            let part = self.list_part(source, cell, start, shorter).await?;
            listing.next = Some(last.place(part.listing.next));
        }
        Ok(listing)
    }

    async fn list_part(
        &self,
        source: &Source,
        cell: usize,
        start: Position,
        request: ListRequest,
    ) -> Result<Part, StorageError> {
        let request = ListRequest {
            from: start,
            ..request
        };
        let listing = self.at(cell, |cell| cell.list(source, &request)).await?;
        Ok(Part { start, listing })
    }

    /// The place behind so many members. It reads all of them, because no cell knows how many
    /// members of the others come before its own.
    async fn behind(
        &self,
        source: &Source,
        order: Order,
        index: u64,
    ) -> Result<Position, StorageError> {
        let (mut from, mut left) = (Position::default(), index);
        while left > 0 {
            let request = ListRequest {
                from,
                order,
                limit: usize::try_from(left).unwrap_or(STEP).min(STEP),
                max_bytes: MAX_BATCH_BYTES,
                texts: Vec::new(),
            };
            let listing = self.list_from(source, &request).await?;
            let Some(next) = listing.next.filter(|_| !listing.jobs.is_empty()) else {
                return Ok(merge::end(order));
            };
            left = left.saturating_sub(listing.jobs.len() as u64);
            from = next;
        }
        Ok(from)
    }
}
