//! The members of a set, over all cells, in one order: [`merge`]. No I/O.
//!
//! The order is the score, then the number of the cell, then the order within the cell. The newest
//! first is exactly the reverse. A *rank* is the place of a cell in the order of a reading: its
//! number, or that number counted from the last cell.
//!
//! A position has the rank in the upper bits of its `skip`. At such a place
//!
//! 1. all members before the score are passed over,
//! 2. of those with the score, all that lie in cells of a lower rank,
//! 3. so many as the lower bits say in the cell of this rank, and
//! 4. none in cells of a higher rank.

use std::cmp::Ordering;

use crate::storage::{ListRequest, Listing, Order, Position, WaitingJob};

/// The bits of `skip` below the rank.
const BITS: u32 = 48;

/// More members than have one score in one cell: all of them.
pub(super) const ALL: u64 = (1 << BITS) - 1;

/// A place behind members of one cell, for the whole fleet.
fn position(score: f64, rank: usize, skip: u64) -> Position {
    let skip = (rank as u64) << BITS | skip.min(ALL);
    Position::Score { score, skip }
}

/// The rank and the skip of a place. Of a place behind all members with a score, it is the last
/// rank.
fn unpacked(skip: u64, cells: usize) -> (usize, u64) {
    let rank = usize::try_from(skip >> BITS).unwrap_or(usize::MAX);
    if rank < cells {
        (rank, skip & ALL)
    } else {
        (cells.saturating_sub(1), ALL)
    }
}

/// Behind all members.
pub(super) fn end(order: Order) -> Position {
    let score = match order {
        Order::OldestFirst => f64::INFINITY,
        Order::NewestFirst => f64::NEG_INFINITY,
    };
    let skip = u64::MAX;
    Position::Score { score, skip }
}

/// Where each cell is read, by rank. An index other than the first has no such places.
pub(super) fn starts(from: Position, cells: usize) -> Vec<Position> {
    let Position::Score { score, skip } = from else {
        return vec![Position::default(); cells];
    };
    let (of, skip) = unpacked(skip, cells);
    let start = |rank: usize| {
        let skip = match rank.cmp(&of) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => skip,
            Ordering::Greater => 0,
        };
        Position::Score { score, skip }
    };
    (0..cells).map(start).collect()
}

/// What one cell answered.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it was read.
    pub(super) start: Position,
    pub(super) listing: Listing,
}

/// What all cells answered together.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) listing: Listing,
    /// The listing ends with a job that its cell has to count: see [`Last`].
    pub(super) last: Option<Last>,
}

/// The last job of a page that was cut, in a search for texts. The cell examined others before it,
/// so only the cell knows how many members are passed over behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Last {
    rank: usize,
    score: f64,
    /// The number of the job among those that the cell returned, from 1 on.
    pub(super) number: usize,
}

impl Last {
    /// Its cell, of so many.
    pub(super) fn cell(self, order: Order, cells: usize) -> usize {
        cell_of(self.rank, order, cells)
    }

    /// Where its cell was read.
    pub(super) fn start(self, starts: &[Position]) -> Position {
        starts.get(self.rank).copied().unwrap_or_default()
    }

    /// The place behind the job, from what its cell says comes after it.
    pub(super) fn place(self, next: Option<Position>) -> Position {
        match next {
            Some(Position::Score { score, skip }) => position(score, self.rank, skip),
            // Nothing follows in this cell.
            _ => position(self.score, self.rank, ALL),
        }
    }
}

/// The number of the cell of a rank, and the rank of a cell.
pub(super) fn cell_of(rank: usize, order: Order, cells: usize) -> usize {
    match order {
        Order::OldestFirst => rank,
        Order::NewestFirst => cells.saturating_sub(1).saturating_sub(rank),
    }
}

/// A backend answered with a place in a set that has no score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the place of the next job in the set has no score")]
pub(super) struct NoScore;

/// Merges what the cells answered to the same request, by rank.
///
/// A cell may have more members than it returned. So the page ends before the first member that
/// may follow one of those.
pub(super) fn merge(parts: Vec<Part>, request: &ListRequest) -> Result<Merged, NoScore> {
    let order = request.order;
    let sum = |of: fn(&Listing) -> usize| {
        let counts = parts.iter().map(|part| of(&part.listing));
        counts.fold(0, usize::saturating_add)
    };
    let mut listing = Listing {
        jobs: Vec::new(),
        looked_at: sum(|listing| listing.looked_at),
        len: sum(|listing| listing.len),
        next: None,
        previous: previous(request.from, &parts),
    };
    let frontier = frontier(&parts, order)?;
    let is_known = |place: &Place| frontier.is_none_or(|frontier| frontier.is_after(place, order));
    let mut passed: Vec<Passed> = parts.iter().map(Passed::before).collect();
    let members = parts.into_iter().map(|part| part.listing.jobs.into_iter());
    let mut members: Vec<_> = members.map(Iterator::peekable).collect();
    let (mut bytes, mut last) = (0_usize, None);
    loop {
        let heads = members
            .iter_mut()
            .enumerate()
            .filter_map(|(rank, of_cell)| {
                let score = score(of_cell.peek()?);
                Some(Place { score, rank })
            });
        let first = heads.min_by(|one, other| one.compare(other, order));
        let Some(place) = first.filter(is_known) else {
            listing.next = frontier.map(Frontier::position);
            break;
        };
        let Place { score, rank } = place;
        let size = members[rank].peek().map_or(0, |member| member.job.len());
        bytes = bytes.saturating_add(size);
        let is_full = listing.jobs.len() >= request.limit || bytes > request.max_bytes;
        if let Some(Place { score, rank }) = last.filter(|_| is_full) {
            let Passed { number, skip, .. } = passed[rank];
            listing.next = Some(position(score, rank, skip));
            let last = Last {
                rank,
                score,
                number,
            };
            let last = (!request.texts.is_empty()).then_some(last);
            return Ok(Merged::new(listing, last, request));
        }
        passed[rank].pass(score);
        last = Some(place);
        listing.jobs.extend(members[rank].next());
    }
    Ok(Merged::new(listing, None, request))
}

impl Merged {
    fn new(mut listing: Listing, last: Option<Last>, request: &ListRequest) -> Self {
        if request.texts.is_empty() {
            listing.looked_at = listing.jobs.len();
        }
        Self { listing, last }
    }
}

/// A place in the order: all members of one cell that have a score.
#[derive(Clone, Copy, Debug)]
struct Place {
    score: f64,
    rank: usize,
}

impl Place {
    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let scores = self.score.total_cmp(&other.score);
        let scores = match order {
            Order::OldestFirst => scores,
            Order::NewestFirst => scores.reverse(),
        };
        scores.then(self.rank.cmp(&other.rank))
    }
}

/// The first place with members that no cell returned.
#[derive(Clone, Copy, Debug)]
struct Frontier {
    place: Place,
    skip: u64,
}

impl Frontier {
    /// Whether it comes after all returned members of a place.
    fn is_after(&self, place: &Place, order: Order) -> bool {
        place.rank == self.place.rank || place.compare(&self.place, order).is_lt()
    }

    fn position(self) -> Position {
        position(self.place.score, self.place.rank, self.skip)
    }
}

fn frontier(parts: &[Part], order: Order) -> Result<Option<Frontier>, NoScore> {
    let mut first: Option<Frontier> = None;
    for (rank, part) in parts.iter().enumerate() {
        let (score, skip) = match part.listing.next {
            None => continue,
            Some(Position::Score { score, skip }) => (normal(score), skip),
            Some(Position::Index(_)) => return Err(NoScore),
        };
        let place = Place { score, rank };
        if first.is_none_or(|first| place.compare(&first.place, order).is_lt()) {
            first = Some(Frontier { place, skip });
        }
    }
    Ok(first)
}

/// How many members of a cell are passed over, with the score of the last of them.
#[derive(Clone, Copy, Debug)]
struct Passed {
    score: Option<f64>,
    skip: u64,
    /// How many of them the cell returned.
    number: usize,
}

impl Passed {
    fn before(part: &Part) -> Self {
        let (score, skip) = match part.start {
            // A cell of which all are passed over returns no more with this score.
            Position::Score { score, skip } => (Some(normal(score)), skip),
            Position::Index(_) => (None, 0),
        };
        Self {
            score,
            skip,
            number: 0,
        }
    }

    fn pass(&mut self, score: f64) {
        let before = match self.score {
            Some(last) if last.total_cmp(&score).is_eq() => self.skip,
            _ => 0,
        };
        *self = Self {
            score: Some(score),
            skip: before.saturating_add(1),
            number: self.number + 1,
        };
    }
}

/// Where a reading in the other order continues from the start of this one.
///
/// The start lies in one cell. How many of its members with the score of the start come after it,
/// that cell says with its own `previous`.
fn previous(from: Position, parts: &[Part]) -> Option<Position> {
    if parts.iter().all(|part| part.listing.previous.is_none()) {
        return None;
    }
    let is_end = |part: &Part| part.listing.looked_at == 0 && part.listing.next.is_none();
    let Position::Score { score, skip } = from else {
        return None;
    };
    if parts.iter().all(is_end) {
        return Some(Position::default());
    }
    let (rank, _) = unpacked(skip, parts.len());
    let after = match parts.get(rank)?.listing.previous {
        // Nothing of this cell comes before the start.
        None => ALL,
        Some(Position::Score { score: first, skip }) => {
            let is_equal = normal(first).total_cmp(&normal(score)).is_eq();
            if is_equal { skip } else { 0 }
        }
        // Nothing of this cell comes after the start.
        Some(Position::Index(_)) => 0,
    };
    Some(position(score, parts.len() - 1 - rank, after))
}

fn score(member: &WaitingJob) -> f64 {
    normal(member.score.unwrap_or_default())
}

/// Zero has one sign.
fn normal(score: f64) -> f64 {
    score + 0.0
}

#[cfg(test)]
mod tests;
