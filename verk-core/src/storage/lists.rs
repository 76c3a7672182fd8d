//! How an operator reads the jobs of one place in order: [`ListRequest`] and [`Listing`].

use super::{MAX_BATCH_BYTES, MAX_BATCH_JOBS, Page, WaitingJob};

/// The most jobs that one [`list`](super::WaitingStore::list) examines for its texts.
pub const MAX_LIST_LOOKS: usize = 500;

/// Which end of a place is read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Of a queue the next job to be fetched, of a set the lowest score.
    #[default]
    OldestFirst,
    /// Of a queue the job that came last, of a set the highest score.
    NewestFirst,
}

impl Order {
    /// The other order.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::OldestFirst => Self::NewestFirst,
            Self::NewestFirst => Self::OldestFirst,
        }
    }
}

/// How far a list has been read. It is counted from the end that the [`Order`] of the request reads
/// first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Position {
    /// So many jobs are passed over.
    Index(u64),
    /// Of a set: the members that come before this score are passed over, and so many of those that
    /// have it. Members that come and go before this score do not shift it.
    Score {
        /// The score, not NaN.
        score: f64,
        /// How many members with exactly this score. More than exist are all of them. In a place
        /// that a [view of several cells](crate::cells::Cells::view) returned, it also says in
        /// which cell: only 0 and `u64::MAX` mean the same for every storage.
        skip: u64,
    },
}

impl Default for Position {
    fn default() -> Self {
        Self::Index(0)
    }
}

/// Which jobs [`list`](super::WaitingStore::list) reads.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRequest {
    /// Where it starts. A [`Position::Score`] in a queue is its start.
    pub from: Position,
    /// Which end comes first.
    pub order: Order,
    /// The most jobs to return.
    pub limit: usize,
    /// The most bytes to examine, of which one job at least is examined.
    pub max_bytes: usize,
    /// Only jobs that have the bytes of all these texts are returned.
    pub texts: Vec<String>,
}

impl ListRequest {
    /// The most jobs to examine: without texts each job that is examined is returned.
    #[must_use]
    pub fn max_looks(&self) -> usize {
        if self.texts.is_empty() {
            self.limit
        } else {
            MAX_LIST_LOOKS
        }
    }
}

/// The first jobs, the oldest first.
impl Default for ListRequest {
    fn default() -> Self {
        Self {
            from: Position::default(),
            order: Order::default(),
            limit: MAX_BATCH_JOBS,
            max_bytes: MAX_BATCH_BYTES,
            texts: Vec::new(),
        }
    }
}

/// The jobs of the page, the oldest first.
impl From<Page> for ListRequest {
    fn from(page: Page) -> Self {
        Self {
            from: Position::Index(page.offset as u64),
            limit: page.limit,
            ..Self::default()
        }
    }
}

/// The answer to [`list`](super::WaitingStore::list).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// The jobs, in the order of the request.
    pub jobs: Vec<WaitingJob>,
    /// How many jobs were examined.
    pub looked_at: usize,
    /// How many jobs the place had.
    pub len: usize,
    /// Where the next request in this order continues; `None` at the end.
    pub next: Option<Position>,
    /// Where a request in the other order continues, from the start of this one; `None` if nothing
    /// comes before it.
    pub previous: Option<Position>,
}
