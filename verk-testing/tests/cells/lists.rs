//! Pages of sets whose members lie in all cells.

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use verk_core::{
    manage::{Cursor, Filter, Query},
    storage::{JobSet, ListRequest, Listing, Order, Position, Source},
};
use verk_testing::conformance::{Harness as _, ScoredJob};

use crate::{Fleet, fleets};

const RETRY: Source = Source::Set(JobSet::Retry);

/// Members with few different scores, in random cells. Returns their payloads in order.
async fn fill(fleet: &Fleet, count: usize, random: &mut ChaCha8Rng) -> Vec<Bytes> {
    let mut all = Vec::new();
    for number in 0..count {
        let cell = random.random_range(0..fleet.memories.len());
        let score = f64::from(random.random_range(0..6_u8)) / 2.0;
        let class = ["A", "B"].choose(random).unwrap();
        let job = Bytes::from(format!(
            r#"{{"class":"{class}","jid":"{number}","queue":"q{number}","args":[]}}"#
        ));
        let member = ScoredJob {
            score,
            job: job.clone(),
        };
        fleet.memories[cell].add_member(JobSet::Retry, member).await;
        all.push((score, cell, job));
    }
    all.sort_by(|one, other| {
        let scores = one.0.total_cmp(&other.0);
        scores.then_with(|| (one.1, &one.2).cmp(&(other.1, &other.2)))
    });
    all.into_iter().map(|(_, _, job)| job).collect()
}

fn payloads(listing: &Listing) -> Vec<Bytes> {
    listing
        .jobs
        .iter()
        .map(|member| member.job.clone())
        .collect()
}

#[tokio::test]
async fn random_pages_have_every_member_once() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for count in [0, 1, 40, 400] {
        for fleet in fleets() {
            let sorted = fill(&fleet, count, &mut random).await;
            for order in [Order::OldestFirst, Order::NewestFirst] {
                for text in ["", r#""class":"A""#] {
                    let matches = |job: &&Bytes| {
                        let job = std::str::from_utf8(job).unwrap();
                        job.contains(text)
                    };
                    let mut expected: Vec<Bytes> = sorted.iter().filter(matches).cloned().collect();
                    if order == Order::NewestFirst {
                        expected.reverse();
                    }
                    let mut request = ListRequest {
                        order,
                        texts: Some(text.to_owned())
                            .into_iter()
                            .filter(|it| !it.is_empty())
                            .collect(),
                        ..ListRequest::default()
                    };
                    let (mut seen, mut next) = (Vec::new(), Some(Position::default()));
                    while let Some(from) = next {
                        request.from = from;
                        request.limit = random.random_range(1..50);
                        request.max_bytes = *[1 << 20, 500].choose(&mut random).unwrap();
                        let page = fleet.view.list(&RETRY, &request).await.unwrap();
                        assert_eq!(page.len, count);
                        let before = seen.len();
                        seen.extend(payloads(&page));
                        if let Some(previous) = page.previous {
                            let back = ListRequest {
                                from: previous,
                                order: order.reversed(),
                                limit: 10,
                                max_bytes: 1 << 20,
                                ..request.clone()
                            };
                            let back = fleet.view.list(&RETRY, &back).await.unwrap();
                            let of_seen = seen[..before].iter().rev().take(10);
                            let of_seen: Vec<Bytes> = of_seen.cloned().collect();
                            assert_eq!(payloads(&back), of_seen);
                        } else {
                            assert_eq!(before, 0);
                        }
                        next = page.next;
                    }
                    assert_eq!(seen, expected);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_index_of_a_set_counts_members_of_all_cells() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for fleet in fleets() {
        let mut sorted = fill(&fleet, 50, &mut random).await;
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for index in [0, 1, 7, 49, 50, 51, 5_000] {
                let request = ListRequest {
                    from: Position::Index(index as u64),
                    order,
                    limit: 3,
                    ..ListRequest::default()
                };
                let page = fleet.view.list(&RETRY, &request).await.unwrap();
                let expected: Vec<Bytes> = sorted.iter().skip(index).take(3).cloned().collect();
                assert_eq!(payloads(&page), expected, "{index}");
                assert_eq!(page.next.is_some(), index < 47);
                assert_eq!(page.previous.is_some(), index > 0);
            }
            sorted.reverse();
        }
        let none = ListRequest {
            limit: 0,
            ..ListRequest::default()
        };
        let none = fleet.view.list(&RETRY, &none).await.unwrap();
        assert_eq!((none.jobs.len(), none.len), (0, 50));
        assert!(none.next.is_some());
    }
}

/// A cursor is text in between, as in the address of a page.
#[tokio::test]
async fn a_person_pages_forth_and_back() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    for fleet in fleets() {
        let sorted = fill(&fleet, 60, &mut random).await;
        let kept = |cursor: Option<Cursor>| -> Option<Cursor> {
            cursor.map(|cursor| cursor.to_string().parse().unwrap())
        };
        let retries = fleet.admin.retry_set();
        for filter in [Filter::new(), Filter::new().class("B")] {
            let is_b = |job: &&Bytes| job.starts_with(br#"{"class":"B""#);
            let is_filtered = filter != Filter::new();
            let expected = sorted.iter().filter(|job| !is_filtered || is_b(job));
            let expected: Vec<&Bytes> = expected.collect();
            let query = Query::new().limit(7).filter(filter);
            let mut pages = vec![retries.list(&query).await.unwrap()];
            while let Some(next) = kept(pages.last().unwrap().next) {
                pages.push(retries.list(&query.clone().at(next)).await.unwrap());
            }
            let seen = pages.iter().flat_map(|page| &page.entries);
            let seen: Vec<&Bytes> = seen.map(|entry| entry.payload()).collect();
            assert_eq!(seen, expected);

            let mut page = pages.pop().unwrap();
            while let Some(previous) = kept(page.previous) {
                page = retries.list(&query.clone().at(previous)).await.unwrap();
                if page.entries.is_empty() {
                    // Members that do not match come before the first that does.
                    assert!(page.previous.is_none() && pages.is_empty());
                    break;
                }
                let before = pages.pop().unwrap().entries;
                let payloads = |entries: &[verk_core::manage::Entry]| -> Vec<Bytes> {
                    entries
                        .iter()
                        .map(|entry| entry.payload().clone())
                        .collect()
                };
                assert_eq!(payloads(&page.entries), payloads(&before));
            }
            assert!(pages.is_empty());
        }
    }
}

#[tokio::test]
async fn a_scan_reads_every_member() {
    let mut random = ChaCha8Rng::seed_from_u64(10);
    for fleet in fleets() {
        let mut sorted = fill(&fleet, 500, &mut random).await;
        let (mut seen, mut next) = (Vec::new(), Some(0));
        while let Some(cursor) = next {
            let step = fleet.view.scan(&RETRY, cursor, &[]).await.unwrap();
            seen.extend(step.jobs.into_iter().map(|member| member.job));
            next = step.next;
        }
        seen.sort();
        sorted.sort();
        assert_eq!(seen, sorted);
        let beyond = fleet.view.scan(&RETRY, 200 << 56, &[]).await.unwrap();
        assert_eq!(beyond.jobs, []);
    }
}
