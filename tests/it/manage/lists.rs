//! Lists that a person reads, on both storages: pages, filters, times.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use verk::{
    manage::{Cursor, Filter, Jobs, Listed, Query},
    storage::{Cleared, Due, Order, Source},
};

use super::{Shared, payload, storages};
use crate::support::queue_name;

const BOTH: [Order; 2] = [Order::OldestFirst, Order::NewestFirst];

pub(super) fn at(seconds: u32) -> SystemTime {
    SystemTime::UNIX_EPOCH
        + Duration::from_secs(2_000_000_000)
        + Duration::from_secs(seconds.into())
}

impl Shared {
    /// Schedules payloads, each at its own time.
    pub(super) async fn schedule(&self, payloads: impl IntoIterator<Item = (u32, Bytes)>) {
        let payloads = payloads.into_iter();
        let due: Vec<Due> = payloads
            .map(|(seconds, job)| Due {
                at: at(seconds),
                job,
            })
            .collect();
        for due in due.chunks(100) {
            self.storage.schedule(due).await.unwrap();
        }
    }
}

pub(super) fn jids(listed: &Listed) -> Vec<String> {
    let jids = listed.entries.iter().map(|entry| match entry.job() {
        Ok(job) => job.jid().as_str().to_owned(),
        Err(_) => format!("{:?}", entry.payload()),
    });
    jids.collect()
}

/// Cursors of a web page are text.
fn again(cursor: Cursor) -> Cursor {
    cursor.to_string().parse().unwrap()
}

/// All pages, to the end and back.
async fn walk(jobs: &Jobs, query: &Query) -> Vec<String> {
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let page = jobs.list(&query.clone().at(cursor)).await.unwrap();
        cursor = page.next.map(again);
        pages.push(page);
        if cursor.is_none() {
            break;
        }
    }
    let mut back = pages[pages.len() - 1].previous.map(again);
    for page in pages.iter().rev().skip(1) {
        let cursor = back.expect("a page before");
        let same = jobs.list(&query.clone().at(cursor)).await.unwrap();
        assert_eq!(jids(&same), jids(page));
        back = same.previous.map(again);
    }
    // Before the first page are at most jobs that do not match.
    if let Some(cursor) = back {
        let before = jobs.list(&query.clone().at(cursor)).await.unwrap();
        assert!(before.entries.is_empty());
    }
    pages.iter().flat_map(jids).collect()
}

#[tokio::test]
async fn pages_lead_to_the_end_and_back() {
    for shared in storages().await {
        let jobs: Vec<Bytes> = (0..130).map(|jid| payload("A", jid)).collect();
        shared.enqueue(&jobs).await;
        // Many have the same time.
        shared
            .schedule((0..).map(|number: u32| number / 50).zip(jobs))
            .await;
        let mut expected: Vec<String> = (0..130).map(|jid| jid.to_string()).collect();
        for order in BOTH {
            let query = Query::new().order(order).limit(20);
            let queue = shared.one.queue("default").unwrap();
            assert_eq!(walk(&queue, &query).await, expected);
            let mut read = walk(&shared.one.scheduled_set(), &query).await;
            let by_time: Vec<u32> = read
                .iter()
                .map(|jid| jid.parse::<u32>().unwrap() / 50)
                .collect();
            assert!(match order {
                Order::OldestFirst => by_time.is_sorted(),
                Order::NewestFirst => by_time.iter().rev().is_sorted(),
            });
            let number = |jid: &String| jid.parse::<u32>().unwrap();
            read.sort_by_key(number);
            let mut all = expected.clone();
            all.sort_by_key(number);
            assert_eq!(read, all);
            expected.reverse();
        }
        let newest = Query::new().order(Order::NewestFirst).limit(2);
        let page = shared
            .one
            .queue("default")
            .unwrap()
            .list(&newest)
            .await
            .unwrap();
        let indexes: Vec<_> = page.entries.iter().map(|entry| entry.index()).collect();
        assert_eq!(indexes, [Some(129), Some(128)]);
        assert_eq!((page.total, page.looked_at), (130, 2));
        let page = shared.one.scheduled_set().list(&newest).await.unwrap();
        assert!(page.entries.iter().all(|entry| entry.index().is_none()));
    }
}

fn failed(jid: u32, class: &str, queue: &str, error: &str) -> Bytes {
    let (error_class, error_message) = error.split_once(' ').unwrap();
    let job = serde_json::json!({
        "class": class, "jid": jid.to_string(), "queue": queue, "args": [],
        "error_class": error_class, "error_message": error_message,
    });
    job.to_string().into()
}

#[tokio::test]
async fn a_filter_decides_exactly() {
    let jobs = [
        failed(0, "Charge", "default", "IOError no \"route\""),
        failed(1, "ChargeBack", "default", "Timeout Charge"),
        failed(2, "Müller<A>", "low", "IOError déjà vu"),
        Bytes::from(r#"{"class" : "Charge","jid":"3","queue":"low","args":["default"]}"#),
        Bytes::from_static(b"\xff Charge"),
        Bytes::from(
            r#"{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Charge","jid":"5","queue":"default","args":[{"job_class":"Charge","arguments":[7]}]}"#,
        ),
        Bytes::from(r#"{"class":"M\u00fcller\u003cA\u003e","jid":"6","queue":"low","args":[]}"#),
    ];
    for shared in storages().await {
        shared.enqueue(&jobs).await;
        shared.schedule((0..).zip(jobs.clone())).await;
        let filter = Filter::new;
        for (filter, expected) in [
            (
                filter(),
                &["0", "1", "2", "3", r#"b"\xff Charge""#, "5", "6"][..],
            ),
            (filter().class("Charge"), &["0", "3", "5"]),
            (filter().class("Müller<A>"), &["2", "6"]),
            (filter().class("Charg"), &[]),
            (filter().class(""), &[]),
            (filter().error("IOError"), &["0", "2"]),
            (filter().error("no \"route\""), &["0"]),
            (filter().error("à v"), &["2"]),
            (filter().error("Charge"), &["1"]),
            (
                filter().text("Charge"),
                &["0", "1", "3", r#"b"\xff Charge""#, "5"],
            ),
            (filter().text("[7]").class("Charge"), &["5"]),
            (filter().text("\\\"route"), &["0"]),
            (filter().text("\0"), &[]),
        ] {
            for limit in [1, 3, 100] {
                for place in [
                    shared.one.queue("default").unwrap(),
                    shared.one.scheduled_set(),
                ] {
                    let query = Query::new().limit(limit).filter(filter.clone());
                    let read = walk(&place, &query).await;
                    assert_eq!(read, expected, "{filter:?} in {:?}", place.source());
                }
            }
        }
        let of_queue = |queue| Query::new().filter(Filter::new().queue(queue));
        let scheduled = shared.one.scheduled_set();
        assert_eq!(walk(&scheduled, &of_queue("low")).await, ["2", "3", "6"]);
        let queue = shared.one.queue("default").unwrap();
        assert_eq!(walk(&queue, &of_queue("default")).await.len(), 7);
        assert!(walk(&queue, &of_queue("low")).await.is_empty());
    }
}

#[tokio::test]
async fn a_range_of_time_is_read_without_what_is_outside() {
    for shared in storages().await {
        shared
            .schedule((0..600).map(|number| (number, payload("A", number))))
            .await;
        let scheduled = shared.one.scheduled_set();
        let range = Filter::new().since(at(250)).until(at(259));
        let mut expected: Vec<String> = (250..260).map(|number| number.to_string()).collect();
        for order in BOTH {
            for limit in [1, 4, 10, 100] {
                let query = Query::new().order(order).limit(limit).filter(range.clone());
                assert_eq!(walk(&scheduled, &query).await, expected);
                let page = scheduled.list(&query).await.unwrap();
                assert!(page.looked_at <= limit as u64);
                assert_eq!(page.previous, None);
            }
            expected.reverse();
            // A cursor outside of the range, in either direction.
            for score in ["0", "-inf", "inf", "1e300"] {
                for direction in ["n", "p"] {
                    let cursor: Cursor = format!("{direction}{score}_3").parse().unwrap();
                    let query = Query::new()
                        .order(order)
                        .limit(5)
                        .filter(range.clone())
                        .at(cursor);
                    let page = scheduled.list(&query).await.unwrap();
                    assert!(page.entries.len() <= 5);
                    assert!(page.entries.iter().all(|entry| entry.at() >= Some(at(250))));
                    assert!(page.entries.iter().all(|entry| entry.at() <= Some(at(259))));
                }
            }
        }
        for empty in [
            Filter::new().since(at(600)),
            Filter::new().until(SystemTime::UNIX_EPOCH),
        ] {
            let page = scheduled.list(&Query::new().filter(empty)).await.unwrap();
            assert!(page.entries.is_empty());
            assert_eq!((page.next, page.previous), (None, None));
        }

        let enqueued = |jid: u32| {
            let seconds = 2_000_000_000 + jid;
            Bytes::from(format!(
                r#"{{"class":"A","jid":"{jid}","queue":"default","args":[],"enqueued_at":{seconds}.0}}"#
            ))
        };
        let mut jobs: Vec<Bytes> = (0..20).map(enqueued).collect();
        jobs.push(payload("A", "timeless"));
        shared.enqueue(&jobs).await;
        let query = Query::new().filter(Filter::new().since(at(5)).until(at(7)));
        let read = walk(&shared.one.queue("default").unwrap(), &query).await;
        assert_eq!(read, ["5", "6", "7"]);
    }
}

#[tokio::test]
async fn a_cursor_of_anything_lists_something() {
    for shared in storages().await {
        shared.enqueue(&[payload("A", 1)]).await;
        shared.schedule([(1, payload("A", 1))]).await;
        for text in [
            "n0",
            "p0",
            "n18446744073709551615",
            "p18446744073709551615",
            "n5e-324_9",
            "p-1e308_18446744073709551615",
            "ninf_0",
            "p-inf_1",
            "n-0_0",
        ] {
            let cursor: Cursor = text.parse().unwrap();
            for order in BOTH {
                for place in [
                    shared.one.queue("default").unwrap(),
                    shared.one.scheduled_set(),
                ] {
                    let query = Query::new().order(order).at(cursor);
                    let page = place.list(&query).await.unwrap();
                    assert!(page.entries.len() <= 1, "{text}");
                    assert_eq!(page.total, 1);
                    // From a page with nothing, a person gets back.
                    if page.entries.is_empty() {
                        let back = page.next.or(page.previous).expect(text);
                        let page = place
                            .list(&Query::new().order(order).at(back))
                            .await
                            .unwrap();
                        assert_eq!(page.entries.len(), 1, "{text} {back}");
                    }
                }
            }
        }
        let source = Source::Queue(queue_name("default"));
        assert_eq!(
            shared.storage.clear(&source).await.unwrap(),
            Cleared::Jobs(1)
        );
        let page = shared
            .one
            .queue("default")
            .unwrap()
            .list(&Query::new())
            .await
            .unwrap();
        assert_eq!((page.total, page.next, page.previous), (0, None, None));
    }
}
