//! Sets whose members lie in several cells.

use std::{
    collections::BTreeSet,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use verk::{
    manage::{Filter, Query},
    storage::{Due, JobSet, ListRequest, Listing, Order, Position, Source},
};

use super::{Shared, payload, storages};

const SCHEDULE: Source = Source::Set(JobSet::Schedule);

/// Members with few different times, in all cells. Returns their payloads in order.
async fn scatter(shared: &Shared) -> Vec<Bytes> {
    let mut all = Vec::new();
    for number in 0..120_u32 {
        let cell = number as usize * 7 % shared.cells.len();
        let seconds = [5, 3, 4, 3, 9][number as usize % 5];
        let at = UNIX_EPOCH + Duration::from_secs(2_000_000_000 + seconds);
        let class = if number % 3 == 0 { "A" } else { "B" };
        let job = payload(class, number);
        let due = Due {
            at,
            job: job.clone(),
        };
        shared.cells[cell].schedule(&[due]).await.unwrap();
        all.push((at, cell, job));
    }
    all.sort();
    all.into_iter().map(|(_, _, job)| job).collect()
}

fn payloads(listing: &Listing) -> Vec<Bytes> {
    let members = listing.jobs.iter();
    members.map(|member| member.job.clone()).collect()
}

#[tokio::test]
async fn pages_of_all_cells_are_in_one_order() {
    for shared in storages().await {
        let mut sorted = scatter(&shared).await;
        for order in [Order::OldestFirst, Order::NewestFirst] {
            for (text, limit) in [("", 1), ("", 7), ("", 100), (r#""class":"A""#, 4)] {
                let is_it = |job: &&Bytes| String::from_utf8_lossy(job).contains(text);
                let expected: Vec<Bytes> = sorted.iter().filter(is_it).cloned().collect();
                let texts = [text.to_owned()].into_iter();
                let texts: Vec<String> = texts.filter(|text| !text.is_empty()).collect();
                let (mut seen, mut next) = (Vec::new(), Some(Position::default()));
                while let Some(from) = next {
                    let request = ListRequest {
                        from,
                        order,
                        limit,
                        texts: texts.clone(),
                        ..ListRequest::default()
                    };
                    let page = shared.storage.list(&SCHEDULE, &request).await.unwrap();
                    let mut before = Vec::new();
                    if let Some(from) = page.previous {
                        let back = ListRequest {
                            from,
                            order: order.reversed(),
                            ..request
                        };
                        let back = shared.storage.list(&SCHEDULE, &back).await.unwrap();
                        before = payloads(&back);
                    }
                    let of_seen: Vec<Bytes> = seen.iter().rev().take(limit).cloned().collect();
                    assert_eq!(before, of_seen);
                    seen.extend(payloads(&page));
                    next = page.next;
                }
                assert_eq!(seen, expected, "{text} {limit}");
            }
            // As a caller can ask for it: an index, and the ends.
            for index in [1_usize, 50, 119, 120, 1_000] {
                let request = ListRequest {
                    from: Position::Index(index as u64),
                    order,
                    limit: 2,
                    ..ListRequest::default()
                };
                let page = shared.storage.list(&SCHEDULE, &request).await.unwrap();
                let rest = sorted.iter().skip(index).take(2);
                assert_eq!(payloads(&page), rest.cloned().collect::<Vec<_>>());
            }
            sorted.reverse();
        }
    }
}

#[tokio::test]
async fn members_of_all_cells_are_selected_and_moved() {
    for shared in storages().await {
        let sorted = scatter(&shared).await;
        let scheduled = shared.one.scheduled_set();
        assert_eq!(scheduled.count().await.unwrap(), 120);
        let (mut seen, mut cursor) = (BTreeSet::new(), Some(0));
        while let Some(from) = cursor {
            let step = shared.storage.scan(&SCHEDULE, from, &[]).await.unwrap();
            seen.extend(step.jobs.into_iter().map(|member| member.job));
            cursor = step.next;
        }
        assert!(seen.iter().eq(sorted.iter().collect::<BTreeSet<_>>()));

        let query = Query::new().filter(Filter::new().class("A")).limit(100);
        let listed = scheduled.list(&query).await.unwrap();
        assert_eq!((listed.entries.len(), listed.total), (40, 120));
        for entry in &listed.entries {
            assert!(entry.kill().await.unwrap());
            assert!(!entry.kill().await.unwrap());
        }
        assert_eq!(scheduled.select().requeue().await.unwrap(), 80);
        let queue = shared.other.queue("default").unwrap();
        assert_eq!(queue.count().await.unwrap(), 80);
        let newest = Query::new().order(Order::NewestFirst).limit(50);
        let first = queue.list(&newest).await.unwrap();
        let second = queue.list(&newest.clone().at(first.next)).await.unwrap();
        let indices = first.entries.iter().chain(&second.entries);
        let indices: Vec<u64> = indices.map(|entry| entry.index().unwrap()).collect();
        assert!(indices.iter().copied().eq((0..80).rev()));
        assert_eq!(queue.select().delete().await.unwrap(), 80);
        assert_eq!(shared.one.dead_set().clear().await.unwrap(), 40);
    }
}
