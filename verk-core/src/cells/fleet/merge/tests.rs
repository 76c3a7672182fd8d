//! The merge against cells in one sorted list.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{
    manage::Cursor,
    storage::{MAX_BATCH_BYTES, WaitingJob},
};

/// The members of one cell, in order.
type Cell = Vec<(f64, String)>;

fn clamped(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// How a backend reads its own set: at most `looks` jobs in a search.
fn read(cell: &Cell, request: &ListRequest, looks: usize) -> Listing {
    let mut members: Vec<&(f64, String)> = cell.iter().collect();
    if request.order == Order::NewestFirst {
        members.reverse();
    }
    let len = members.len();
    let is_before = |one: f64, other: f64| match request.order {
        Order::OldestFirst => one < other,
        Order::NewestFirst => one > other,
    };
    let count = |of: &dyn Fn(f64) -> bool| members.iter().filter(|(score, _)| of(*score)).count();
    let start = match request.from {
        Position::Index(index) => clamped(index).min(len),
        Position::Score { score, skip } => {
            let equal = count(&|other| other == score);
            count(&|other| is_before(other, score)) + equal.min(clamped(skip))
        }
    };
    let looks = if request.texts.is_empty() {
        request.limit
    } else {
        looks
    };
    let (mut jobs, mut looked_at, mut bytes) = (Vec::new(), 0, 0);
    let mut ends: Option<(f64, f64)> = None;
    for (score, text) in &members[start..] {
        bytes += text.len();
        let is_full = looked_at > 0 && bytes > request.max_bytes;
        if is_full || looked_at == looks || jobs.len() == request.limit {
            break;
        }
        looked_at += 1;
        ends = Some((ends.map_or(*score, |(first, _)| first), *score));
        let job = WaitingJob {
            job: Bytes::from(text.clone()),
            score: Some(*score),
            index: None,
        };
        if request.texts.iter().all(|text| job.contains(text)) {
            jobs.push(job);
        }
    }
    let end = start + looked_at;
    let skip = |passed: usize, score: f64, before: usize| Position::Score {
        score,
        skip: (passed - before) as u64,
    };
    let next = match ends {
        Some((_, last)) => skip(end, last, count(&|other| is_before(other, last))),
        None => Position::Index(end as u64),
    };
    let previous = match ends {
        Some((first, _)) => skip(len - start, first, count(&|other| is_before(first, other))),
        None => Position::Index((len - start) as u64),
    };
    Listing {
        jobs,
        looked_at,
        len,
        next: (end < len).then_some(next),
        previous: (start > 0).then_some(previous),
    }
}

/// As the fleet reads.
fn list(cells: &[Cell], request: &ListRequest, looks: usize) -> Listing {
    let starts = starts(request.from, cells.len());
    let part = |rank: usize, limit: usize| {
        let cell = &cells[cell_of(rank, request.order, cells.len())];
        let request = ListRequest {
            from: starts[rank],
            limit,
            ..request.clone()
        };
        read(cell, &request, looks)
    };
    let parts = starts.iter().enumerate().map(|(rank, start)| Part {
        start: *start,
        listing: part(rank, request.limit),
    });
    let Merged { mut listing, last } = merge(parts.collect(), request).unwrap();
    if let Some(last) = last {
        assert_eq!(last.start(&starts), starts[last.rank]);
        listing.next = Some(last.place(part(last.rank, last.number).next));
    }
    listing
}

/// All jobs of all cells in order, and whether they match.
fn all(cells: &[Cell], order: Order, text: &str) -> Vec<String> {
    let of_cells = cells.iter().enumerate().flat_map(|(number, cell)| {
        let members = cell.iter().enumerate();
        members.map(move |(index, (score, text))| (*score, number, index, text))
    });
    let mut all: Vec<_> = of_cells.collect();
    all.sort_by(|one, other| {
        let scores = one.0.total_cmp(&other.0);
        scores.then((one.1, one.2).cmp(&(other.1, other.2)))
    });
    if order == Order::NewestFirst {
        all.reverse();
    }
    let all = all.into_iter().filter(|(.., job)| job.contains(text));
    all.map(|(.., job)| job.clone()).collect()
}

fn jobs(listing: &Listing) -> Vec<String> {
    let jobs = listing.jobs.iter();
    jobs.map(|job| String::from_utf8(job.job.to_vec()).unwrap())
        .collect()
}

/// As a caller gets a position back, which kept it as text.
fn kept(position: Position) -> Position {
    let text = match position {
        Position::Index(index) => format!("n{index}"),
        Position::Score { score, skip } => format!("n{score}_{skip}"),
    };
    let read: Cursor = text.parse().unwrap();
    assert_eq!(read.to_string(), text);
    position
}

/// Reads page after page, each with another limit.
fn pages(cells: &[Cell], mut request: ListRequest, limits: &[usize], looks: usize) -> Vec<Listing> {
    let mut pages = Vec::new();
    for limit in limits.iter().cycle() {
        request.limit = *limit;
        let page = list(cells, &request, looks);
        assert!(page.jobs.len() <= *limit);
        let next = page.next;
        pages.push(page);
        match next {
            Some(next) => request.from = kept(next),
            None => break,
        }
        assert!(pages.len() < 1_000, "it makes no progress");
    }
    pages
}

fn cell(number: usize) -> impl Strategy<Value = Cell> {
    let score = prop_oneof![
        4 => (0..4_u8).prop_map(f64::from),
        1 => Just(f64::INFINITY),
        1 => Just(-1.5),
        1 => Just(0.1),
    ];
    let member = (score, 0..2_u8, 0..12_usize);
    prop::collection::vec(member, 0..12).prop_map(move |members| {
        let members = members.into_iter().enumerate();
        let mut cell: Cell = members
            .map(|(index, (score, kind, size))| {
                let kind = ["a", "b"][usize::from(kind)];
                (score, format!("{kind}{number}.{index}{}", "-".repeat(size)))
            })
            .collect();
        cell.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        cell
    })
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    (2..6_usize).prop_flat_map(|count| (0..count).map(cell).collect::<Vec<_>>())
}

fn request(order: Order, max_bytes: usize, text: &str) -> ListRequest {
    let text = (!text.is_empty()).then(|| text.to_owned());
    ListRequest {
        order,
        max_bytes,
        texts: text.into_iter().collect(),
        ..ListRequest::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_member_is_read_once_and_in_order(
        cells in cells(),
        limits in prop::collection::vec(1..7_usize, 1..4),
        looks in 1..8_usize,
        max_bytes in prop_oneof![Just(MAX_BATCH_BYTES), 1..60_usize],
        is_newest_first in any::<bool>(),
        text in prop_oneof![Just(""), Just("a")],
    ) {
        let order = if is_newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let request = request(order, max_bytes, text);
        let read = pages(&cells, request.clone(), &limits, looks);
        let seen: Vec<String> = read.iter().flat_map(jobs).collect();
        let expected = all(&cells, order, text);
        prop_assert_eq!(&seen, &expected);
        let len: usize = cells.iter().map(Vec::len).sum();
        prop_assert!(read.iter().all(|page| page.len == len));

        // From the start of each page, the other order leads back to all jobs before it.
        let mut before = 0;
        for page in &read {
            let mut back = expected[..before].to_vec();
            back.reverse();
            let seen: Vec<String> = match page.previous {
                None => Vec::new(),
                Some(from) => {
                    let request = ListRequest {
                        from: kept(from),
                        order: order.reversed(),
                        ..request.clone()
                    };
                    pages(&cells, request, &limits, looks).iter().flat_map(jobs).collect()
                }
            };
            prop_assert_eq!(seen, back);
            before += page.jobs.len();
        }
    }

    /// A place that a caller made, not one that was returned.
    #[test]
    fn a_score_divides_all_members(
        cells in cells(),
        score in prop_oneof![(0..4_u8).prop_map(f64::from), Just(0.5), Just(f64::INFINITY)],
        skip in prop_oneof![Just(0), Just(u64::MAX)],
        is_newest_first in any::<bool>(),
    ) {
        let order = if is_newest_first { Order::NewestFirst } else { Order::OldestFirst };
        let is_before = |other: f64| match order {
            _ if other == score => skip > 0,
            Order::OldestFirst => other < score,
            Order::NewestFirst => other > score,
        };
        let members = cells.iter().flatten();
        let before = members.filter(|(score, _)| is_before(*score)).count();
        let expected = all(&cells, order, "");
        let request = ListRequest {
            from: Position::Score { score, skip },
            order,
            ..ListRequest::default()
        };
        let listing = list(&cells, &request, 0);
        prop_assert_eq!(jobs(&listing), &expected[before..]);
        prop_assert_eq!(listing.previous.is_some(), before > 0);
        if let Some(from) = listing.previous {
            let request = ListRequest { from, order: order.reversed(), ..request };
            let back = jobs(&list(&cells, &request, 0));
            prop_assert!(back.iter().eq(expected[..before].iter().rev()));
        }
    }

    #[test]
    fn a_full_page_has_as_many_as_fit(cells in cells(), limit in 1..20_usize) {
        let request = ListRequest { limit, ..ListRequest::default() };
        let listing = list(&cells, &request, 0);
        let len: usize = cells.iter().map(Vec::len).sum();
        prop_assert_eq!(listing.jobs.len(), limit.min(len));
        prop_assert_eq!(listing.next.is_some(), limit < len);
        prop_assert_eq!(listing.previous, None);
    }
}

fn two() -> [Cell; 2] {
    let cell = |names: [&str; 2]| names.map(|name| (1.0, name.to_owned())).to_vec();
    [cell(["a", "b"]), cell(["c", "d"])]
}

#[test]
fn a_place_behind_a_score_is_behind_it_in_all_cells() {
    let cells = two();
    let from = |score, skip| ListRequest {
        from: Position::Score { score, skip },
        ..ListRequest::default()
    };
    let behind = list(&cells, &from(1.0, u64::MAX), 0);
    assert_eq!((jobs(&behind).len(), behind.next), (0, None));
    let back = ListRequest {
        from: behind.previous.unwrap(),
        order: Order::NewestFirst,
        ..ListRequest::default()
    };
    assert_eq!(jobs(&list(&cells, &back, 0)), ["d", "c", "b", "a"]);
    assert_eq!(jobs(&list(&cells, &from(1.0, 0), 0)), ["a", "b", "c", "d"]);
    assert_eq!(jobs(&list(&cells, &from(0.5, u64::MAX), 0)).len(), 4);
    let request = ListRequest {
        from: end(Order::OldestFirst),
        ..ListRequest::default()
    };
    assert_eq!(jobs(&list(&cells, &request, 0)).len(), 0);
}

#[test]
fn a_place_in_a_set_without_a_score_is_refused() {
    let listing = Listing {
        next: Some(Position::Index(1)),
        ..Listing::default()
    };
    let start = Position::default();
    let parts = vec![Part { start, listing }];
    assert_eq!(merge(parts, &ListRequest::default()).unwrap_err(), NoScore);
}
