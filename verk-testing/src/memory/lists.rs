//! Reads the jobs of one place in order.

use verk_core::storage::{
    ListRequest, Listing, MAX_BATCH_JOBS, Order, Position, Scan, Source, WaitingJob,
};

use super::{
    faults::Fault,
    manage::{key, queued, scored},
    sorted_set::SortedSet,
    state::{JobList, State},
};

impl State {
    pub(super) fn list(&self, source: &Source, request: &ListRequest) -> Result<Listing, Fault> {
        self.faults.check_key(key(source))?;
        Ok(match source {
            Source::Queue(queue) => {
                static EMPTY: JobList = JobList::new();
                let jobs = self.queues.get(queue).unwrap_or(&EMPTY);
                let len = jobs.len();
                let jobs = jobs.iter().enumerate().map(|(index, job)| WaitingJob {
                    index: Some(index as u64),
                    ..queued(job)
                });
                let start = match request.from {
                    Position::Index(index) => clamped(index, len),
                    Position::Score { .. } => 0,
                };
                let read = match request.order {
                    Order::OldestFirst => read(jobs.skip(start), request),
                    Order::NewestFirst => read(jobs.rev().skip(start), request),
                };
                let looked_at = read.looked_at;
                let index = |index: usize| Position::Index(index as u64);
                Listing {
                    jobs: read.jobs,
                    looked_at,
                    len,
                    next: (start + looked_at < len).then(|| index(start + looked_at)),
                    previous: (start > 0).then(|| index(len - start)),
                }
            }
            Source::Set(set) => list_set(self.set(*set), request),
        })
    }
}

impl State {
    pub(super) fn scan(
        &self,
        source: &Source,
        cursor: u64,
        texts: &[String],
    ) -> Result<Scan, Fault> {
        if let Source::Queue(_) = source {
            let request = ListRequest {
                from: Position::Index(cursor),
                order: Order::NewestFirst,
                texts: texts.to_vec(),
                ..ListRequest::default()
            };
            let listing = self.list(source, &request)?;
            let jobs = listing.jobs.into_iter();
            let looked_at = listing.looked_at;
            return Ok(Scan {
                jobs: jobs
                    .map(|waiting| WaitingJob {
                        index: None,
                        ..waiting
                    })
                    .collect(),
                looked_at,
                next: (looked_at > 0).then_some(cursor.saturating_add(looked_at as u64)),
            });
        }
        self.faults.check_key(key(source))?;
        let Source::Set(set) = source else {
            return Ok(Scan::default());
        };
        let mut members = self.set(*set).numbered_from(cursor);
        let mut jobs = Vec::new();
        let mut looked_at = 0;
        for (_, member) in members.by_ref().take(MAX_BATCH_JOBS) {
            looked_at += 1;
            jobs.push(scored(member));
        }
        jobs.retain(|waiting| texts.iter().all(|text| waiting.contains(text)));
        Ok(Scan {
            jobs,
            looked_at,
            next: members.next().map(|(number, _)| number),
        })
    }
}

fn list_set(set: &SortedSet, request: &ListRequest) -> Listing {
    let (len, order) = (set.len(), request.order);
    let start = match request.from {
        Position::Index(index) => clamped(index, len),
        Position::Score { score, skip } => {
            let equal = set.iter().filter(|member| member.score == score).count();
            before(set, score, order) + clamped(skip, equal)
        }
    };
    let members = set.iter().map(scored);
    let read = match order {
        Order::OldestFirst => read(members.skip(start), request),
        Order::NewestFirst => read(members.rev().skip(start), request),
    };
    // So many members come before the place in this order; one of its neighbors has the score.
    let position = |passed: usize, neighbor: Option<f64>, order| match neighbor {
        Some(score) => Position::Score {
            score,
            skip: (passed - before(set, score, order)) as u64,
        },
        None => Position::Index(passed as u64),
    };
    let end = start + read.looked_at;
    Listing {
        next: (end < len).then(|| position(end, read.last, order)),
        previous: (start > 0).then(|| position(len - start, read.first, order.reversed())),
        jobs: read.jobs,
        looked_at: read.looked_at,
        len,
    }
}

/// How many members come before those with this score.
fn before(set: &SortedSet, score: f64, order: Order) -> usize {
    let is_before = |other: f64| match order {
        Order::OldestFirst => other < score,
        Order::NewestFirst => other > score,
    };
    (set.iter())
        .filter(|member| is_before(member.score))
        .count()
}

fn clamped(number: u64, most: usize) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX).min(most)
}

#[derive(Default)]
struct Read {
    jobs: Vec<WaitingJob>,
    looked_at: usize,
    /// The score of the first job that was examined.
    first: Option<f64>,
    last: Option<f64>,
}

fn read(jobs: impl Iterator<Item = WaitingJob>, request: &ListRequest) -> Read {
    let (mut read, mut bytes) = (Read::default(), 0_usize);
    for waiting in jobs.take(request.max_looks()) {
        bytes = bytes.saturating_add(waiting.job.len());
        let is_full = bytes > request.max_bytes && read.looked_at > 0;
        if is_full || read.jobs.len() == request.limit {
            break;
        }
        read.looked_at += 1;
        read.first = read.first.or(waiting.score);
        read.last = waiting.score;
        if (request.texts.iter()).all(|text| waiting.contains(text)) {
            read.jobs.push(waiting);
        }
    }
    read
}
