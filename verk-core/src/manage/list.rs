//! A list that a person reads, page by page: [`Query`] and [`Listed`].

use std::time::Duration;

use super::{Cursor, Entry, Filter, Jobs};
use crate::{
    error::StorageError,
    storage::{ListRequest, MAX_BATCH_BYTES, MAX_BATCH_JOBS, Order, Position, Source},
};

/// Which jobs a list shows, in which order, and from where on. The default is the first 25, the
/// oldest first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::{Job, Verk};
/// # use verk_testing::MemoryStorage;
/// use verk_core::{manage::Query, storage::Order};
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
/// # for number in 0..5 {
/// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
/// # }
/// let mailers = verk.admin().queue("mailers")?;
/// let query = Query::new().order(Order::NewestFirst).limit(3);
/// let first = mailers.list(&query).await?;
/// assert_eq!(first.entries[0].job().unwrap().args(), "[4]");
///
/// let second = mailers.list(&query.clone().at(first.next)).await?;
/// assert_eq!(second.entries.len(), 2);
/// assert_eq!(second.next, None);
/// let again = mailers.list(&query.at(second.previous)).await?;
/// assert_eq!(again.entries[0].job().unwrap().args(), "[4]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(super) at: Option<Cursor>,
    pub(super) order: Order,
    pub(super) limit: usize,
    pub(super) filter: Filter,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            at: None,
            order: Order::default(),
            limit: 25,
            filter: Filter::default(),
        }
    }
}

impl Query {
    /// The first 25 jobs, the oldest first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The page at a cursor of a list with the same order; with `None` the first page. A cursor of
    /// another place is the nearest place that exists.
    #[must_use]
    pub fn at(mut self, cursor: impl Into<Option<Cursor>>) -> Self {
        self.at = cursor.into();
        self
    }

    /// Which job comes first: of a queue the next to be fetched or that which came last, of a set
    /// the earliest time or the latest.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The most jobs of a page: 1 to 100; other numbers are the nearest of these.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, MAX_BATCH_JOBS);
        self
    }

    /// Only jobs that match.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Whether the page ends at its cursor.
    pub(super) fn is_backward(&self) -> bool {
        self.at.is_some_and(|cursor| cursor.is_end)
    }

    /// The order in which the storage reads.
    fn reading_order(&self) -> Order {
        if self.is_backward() {
            self.order.reversed()
        } else {
            self.order
        }
    }
}

/// The budget of a [search](Jobs::search) that a person waits for: 200 ms.
pub const SEARCH_BUDGET: Duration = Duration::from_millis(200);

/// A page of a list.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Listed {
    /// The jobs, in the order of the query.
    pub entries: Vec<Entry>,
    /// How many jobs were examined, with those that do not match.
    pub looked_at: u64,
    /// How many jobs the place had, with those that do not match.
    pub total: u64,
    /// The page after this; `None` at the end.
    pub next: Option<Cursor>,
    /// The page before this; `None` at the start.
    pub previous: Option<Cursor>,
}

impl Jobs {
    /// Reads a page of a list that a person reads: at most 100 jobs and 1 MiB, but at least one.
    ///
    /// With a filter it examines at most 500 jobs, so a page may have few jobs, or none, and still
    /// a [`next`](Listed::next): [`search`](Self::search) reads on until the page is full.
    ///
    /// In a set, jobs that come and go between two pages shift nothing, except among those with
    /// exactly the same time. In a queue they shift the pages. To reach every job, use
    /// [`select`](Self::select).
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn list(&self, query: &Query) -> Result<Listed, StorageError> {
        self.list_bytes(query, MAX_BATCH_BYTES).await
    }

    /// Reads page after page until it has as many jobs as the query asks for, or the list ends, or
    /// the `budget` of time is spent. Between two steps it rests as long as the first took, so that
    /// the storage is at most half busy with it.
    ///
    /// [`looked_at`](Listed::looked_at) is the sum of all steps, and [`next`](Listed::next)
    /// continues after them. It has at most 100 jobs and 1 MiB, but at least one, and ends early
    /// when half of these bytes are used. The first step is made with any budget:
    /// [`SEARCH_BUDGET`] is one that a person waits for.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # use verk_core::manage::{Filter, Query, SEARCH_BUDGET};
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # for number in 0..1_000 {
    /// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
    /// # }
    /// let mailers = verk.admin().queue("mailers")?;
    /// let query = Query::new().filter(Filter::new().text("[998]"));
    /// let found = mailers.search(&query, SEARCH_BUDGET).await?;
    /// println!("examined {} of {}", found.looked_at, found.total);
    /// assert_eq!(found.entries.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing. Dropping the future ends the search.
    pub async fn search(&self, query: &Query, budget: Duration) -> Result<Listed, StorageError> {
        let clock = self.client.clock();
        let end = clock.instant_in(budget);
        let is_backward = query.is_backward();
        let mut step_query = query.clone();
        let (mut steps, mut hits, mut bytes) = (Vec::new(), 0, 0);
        loop {
            let started = clock.instant();
            step_query.limit = query.limit.saturating_sub(hits).max(1);
            let room = MAX_BATCH_BYTES.saturating_sub(bytes);
            let step = self.list_bytes(&step_query, room).await?;
            hits += step.entries.len();
            let sizes = step.entries.iter().map(|entry| entry.payload().len());
            bytes += sizes.sum::<usize>();
            let further = if is_backward {
                step.previous
            } else {
                step.next
            };
            steps.push(step);
            let took = clock.instant().duration_since(started);
            let is_full = hits >= query.limit || bytes >= MAX_BATCH_BYTES / 2;
            if further.is_none() || is_full || clock.instant_in(took) >= end {
                break;
            }
            step_query.at = further;
            clock.sleep(took).await;
        }
        if is_backward {
            steps.reverse();
        }
        Ok(joined(steps))
    }

    async fn list_bytes(&self, query: &Query, max_bytes: usize) -> Result<Listed, StorageError> {
        let bounds = Bounds::new(self, query);
        let request = ListRequest {
            from: bounds.start(query.at.map(|cursor| cursor.position)),
            order: query.reading_order(),
            limit: query.limit,
            max_bytes,
            texts: query.filter.texts(&self.source),
        };
        let listing = self.client.storage().list(&self.source, &request).await?;

        let mut entries = self.entries(listing.jobs);
        entries.retain(|entry| query.filter.matches(entry));
        let is_backward = query.is_backward();
        let cursor = |position, is_end| Cursor { is_end, position };
        let after = listing.next.filter(|position| !bounds.is_past(*position));
        let after = after.map(|position| cursor(position, is_backward));
        let before = listing.previous.filter(|_| !bounds.starts(request.from));
        let before = before.map(|position| cursor(position, !is_backward));
        let (next, previous) = if is_backward {
            entries.reverse();
            (before, after)
        } else {
            (after, before)
        };
        Ok(Listed {
            entries,
            looked_at: listing.looked_at as u64,
            total: listing.len as u64,
            next,
            previous,
        })
    }
}

/// Pages that follow each other, as one.
fn joined(pages: Vec<Listed>) -> Listed {
    let mut pages = pages.into_iter();
    let mut joined = pages.next().unwrap_or_default();
    for page in pages {
        joined.entries.extend(page.entries);
        joined.looked_at += page.looked_at;
        joined.total = page.total;
        joined.next = page.next;
    }
    joined
}

/// The scores between which the members of a set are read.
struct Bounds {
    is_set: bool,
    order: Order,
    lowest: f64,
    highest: f64,
}

impl Bounds {
    fn new(jobs: &Jobs, query: &Query) -> Self {
        let (lowest, highest) = query.filter.scores();
        Self {
            is_set: matches!(jobs.source, Source::Set(_)),
            order: query.reading_order(),
            lowest,
            highest,
        }
    }

    /// Where to start: at the cursor, or where the first member can be.
    fn start(&self, cursor: Option<Position>) -> Position {
        match cursor {
            Some(Position::Score { .. }) if !self.is_set => Position::default(),
            Some(Position::Score { score, .. }) if self.is_before(score) => self.first(),
            Some(position) => position,
            None => self.first(),
        }
    }

    /// Whether nothing before this can match.
    fn starts(&self, from: Position) -> bool {
        from == self.first()
    }

    /// Whether nothing from here on can match.
    fn is_past(&self, position: Position) -> bool {
        let Position::Score { score, .. } = position else {
            return false;
        };
        match self.order {
            Order::OldestFirst => score > self.highest,
            Order::NewestFirst => score < self.lowest,
        }
    }

    fn is_before(&self, score: f64) -> bool {
        match self.order {
            Order::OldestFirst => score < self.lowest,
            Order::NewestFirst => score > self.highest,
        }
    }

    fn first(&self) -> Position {
        let score = match self.order {
            Order::OldestFirst => self.lowest,
            Order::NewestFirst => self.highest,
        };
        if self.is_set && score.is_finite() {
            Position::Score { score, skip: 0 }
        } else {
            Position::default()
        }
    }
}
