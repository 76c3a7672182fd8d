//! A walk through all that a place has: [`Walk`]. It changes nothing.

use bytes::Bytes;
use verk_core::{
    StorageError,
    storage::{ListRequest, Order, Position, Source, Storage, WaitingJob},
};

/// What is read, and in which steps.
#[derive(Clone, Debug)]
pub(super) struct WalkRequest {
    pub(super) from: Source,
    pub(super) order: Order,
    pub(super) limit: usize,
    pub(super) max_bytes: usize,
    pub(super) texts: Vec<String>,
}

/// What was read. Where a page ends is not compared: a storage may end it early.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Walk {
    /// Page after page, to the end of the place.
    listed: Vec<Seen>,
    /// As [`WaitingStore::scan`](verk_core::storage::WaitingStore::scan) read them, sorted.
    scanned: Vec<Bytes>,
}

/// A job that a list shows: its payload, its score, and its index in a queue.
type Seen = (Bytes, Option<f64>, Option<u64>);

/// More pages than a case can fill: one that needs more goes round in a circle.
const MAX_PAGES: usize = 10_000;

impl Walk {
    /// What a place with these jobs shows: of a set with their scores, the lowest first; of a queue
    /// the next to be fetched first.
    pub(super) fn expected(request: &WalkRequest, jobs: Vec<(Bytes, Option<f64>)>) -> Self {
        let is_queue = matches!(request.from, Source::Queue(_));
        let all = jobs.into_iter().enumerate().map(|(index, (job, score))| {
            let index = is_queue.then_some(index as u64);
            (job, score, index)
        });
        let matches = |(job, ..): &Seen| request.texts.iter().all(|text| has(job, text));
        let mut listed: Vec<Seen> = all.filter(matches).collect();
        let mut scanned: Vec<Bytes> = listed.iter().map(|(job, ..)| job.clone()).collect();
        scanned.sort();
        if request.order == Order::NewestFirst {
            listed.reverse();
        }
        Self { listed, scanned }
    }

    /// Walks through the place: forward, and back again from the last page, which must show the
    /// same.
    pub(super) async fn take(
        storage: &dyn Storage,
        request: &WalkRequest,
    ) -> Result<Self, StorageError> {
        let (listed, last) = pages(storage, request, Position::default()).await?;
        if let Some((size, previous)) = last {
            let back = WalkRequest {
                order: request.order.reversed(),
                ..request.clone()
            };
            let (mut before, _) = pages(storage, &back, previous).await?;
            before.reverse();
            let first = listed.len() - size;
            assert_eq!(
                before,
                listed[..first],
                "backwards from the last page of {request:?}"
            );
        }
        let mut scanned = Vec::new();
        let mut cursor = Some(0);
        while let Some(from) = cursor {
            let step = storage.scan(&request.from, from, &request.texts).await?;
            scanned.extend(step.jobs.into_iter().map(|waiting| waiting.job));
            cursor = step.next;
        }
        scanned.sort();
        // A member may be read twice; of a queue, equal jobs are several.
        if let Source::Set(_) = request.from {
            scanned.dedup();
        }
        Ok(Self { listed, scanned })
    }
}

/// Whether the bytes of the text are in the job.
fn has(job: &Bytes, text: &str) -> bool {
    job.windows(text.len()).any(|part| part == text.as_bytes())
}

/// All jobs from a position on. Of the last page, how many jobs it had, and where the pages before
/// it begin.
async fn pages(
    storage: &dyn Storage,
    request: &WalkRequest,
    from: Position,
) -> Result<(Vec<Seen>, Option<(usize, Position)>), StorageError> {
    let mut page = ListRequest {
        from,
        order: request.order,
        limit: request.limit,
        max_bytes: request.max_bytes,
        texts: request.texts.clone(),
    };
    let mut seen = Vec::new();
    for _ in 0..MAX_PAGES {
        let listing = storage.list(&request.from, &page).await?;
        let size = listing.jobs.len();
        seen.extend(listing.jobs.into_iter().map(|waiting| {
            let WaitingJob { job, score, index } = waiting;
            (job, score, index)
        }));
        let Some(next) = listing.next else {
            return Ok((seen, listing.previous.map(|previous| (size, previous))));
        };
        page.from = next;
    }
    panic!("the pages of {request:?} do not end");
}
