//! Reading a place in order, a page at a time, in both directions.

use bytes::Bytes;
use verk_core::storage::{
    JobSet, ListRequest, Listing, MAX_BATCH_BYTES, MAX_BATCH_JOBS, MAX_LIST_LOOKS, Move,
    MoveTarget, Order, Position, Source, Storage,
};

use super::{
    Harness, ScoredJob,
    fixture::{Fixture, job, numbered, of_many_sizes, queue_name},
};

const SET: Source = Source::Set(JobSet::Dead);
const BOTH: [Order; 2] = [Order::OldestFirst, Order::NewestFirst];

fn queue() -> Source {
    Source::Queue(queue_name("default"))
}

async fn add(harness: &dyn Harness, members: &[(f64, Bytes)]) {
    for (score, job) in members {
        let (score, job) = (*score, job.clone());
        harness
            .add_member(JobSet::Dead, ScoredJob { score, job })
            .await;
    }
}

fn request(order: Order, from: Position, limit: usize) -> ListRequest {
    ListRequest {
        from,
        order,
        limit,
        ..ListRequest::default()
    }
}

async fn list(storage: &dyn Storage, source: &Source, request: &ListRequest) -> Listing {
    let listing = storage.list(source, request).await.expect("list");
    assert!(listing.jobs.len() <= request.limit);
    assert!(listing.looked_at <= request.max_looks());
    let bytes: usize = listing.jobs.iter().map(|waiting| waiting.job.len()).sum();
    assert!(listing.jobs.len() <= 1 || bytes <= MAX_BATCH_BYTES);
    for waiting in &listing.jobs {
        let is_queue = matches!(source, Source::Queue(_));
        assert_eq!(waiting.index.is_some(), is_queue);
        assert_eq!(waiting.score.is_none(), is_queue);
    }
    listing
}

fn jobs(listing: &Listing) -> Vec<Bytes> {
    let jobs = listing.jobs.iter();
    jobs.map(|waiting| waiting.job.clone()).collect()
}

/// Reads page after page to the end, then back to the start, and checks that both are the same.
async fn walk(storage: &dyn Storage, source: &Source, order: Order, limit: usize) -> Vec<Bytes> {
    let mut read = Vec::new();
    let mut from = Position::default();
    let end = loop {
        let page = list(storage, source, &request(order, from, limit)).await;
        assert_eq!(page.previous.is_some(), !read.is_empty());
        read.extend(jobs(&page));
        assert_eq!(page.len - read.len() > 0, page.next.is_some());
        match page.next {
            Some(next) => from = next,
            None => break page,
        }
    };
    let mut back = jobs(&end);
    back.reverse();
    let mut before = end.previous;
    while let Some(from) = before {
        let page = list(storage, source, &request(order.reversed(), from, limit)).await;
        assert!(page.previous.is_some(), "the end is behind it");
        back.extend(jobs(&page));
        before = page.next;
    }
    back.reverse();
    assert_eq!(back, read);
    read
}

/// A queue is listed from either end. Each job has the number of those that are fetched before it.
pub async fn a_queue_is_listed_from_both_ends(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let empty = list(&*fixture.storage, &queue(), &ListRequest::default()).await;
    assert_eq!(empty, Listing::default());
    let mut expected = numbered(250);
    fixture.enqueue_bytes(&expected).await;
    for limit in [1, 99, 100, 250, 1_000] {
        let read = walk(&*fixture.storage, &queue(), BOTH[0], limit).await;
        assert_eq!(read, expected, "{limit}");
    }
    expected.reverse();
    for limit in [7, 100] {
        let read = walk(&*fixture.storage, &queue(), BOTH[1], limit).await;
        assert_eq!(read, expected, "{limit}");
    }
    for (order, first) in [(BOTH[0], 10_u64), (BOTH[1], 239)] {
        let request = request(order, Position::Index(10), 5);
        let page = list(&*fixture.storage, &queue(), &request).await;
        let indexes = page.jobs.iter().map(|waiting| waiting.index.unwrap());
        let mut expected: Vec<u64> = (0..5).map(|place| first.abs_diff(place)).collect();
        if order == Order::OldestFirst {
            expected = (first..first + 5).collect();
        }
        assert_eq!(indexes.collect::<Vec<_>>(), expected);
        assert_eq!((page.len, page.looked_at), (250, 5));
    }
}

/// A position past the end is the end, and one of a set is the start of a queue.
pub async fn a_position_that_does_not_exist_is_the_nearest(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b"]).await;
    add(harness, &[(1.0, job("a")), (2.0, job("b"))]).await;
    let storage = &*fixture.storage;
    for order in BOTH {
        for source in [queue(), SET] {
            for far in [2, 3, u64::MAX] {
                let page = list(storage, &source, &request(order, Position::Index(far), 9)).await;
                assert_eq!((page.jobs.len(), page.looked_at, page.len), (0, 0, 2));
                assert_eq!((page.next, page.previous), (None, Some(Position::Index(0))));
            }
            let none = list(storage, &source, &request(order, Position::Index(1), 0)).await;
            assert_eq!((none.jobs.len(), none.looked_at), (0, 0));
        }
        let score = Position::Score {
            score: 7.0,
            skip: 1,
        };
        let page = list(storage, &queue(), &request(order, score, 9)).await;
        assert_eq!(page.jobs.len(), 2);
        // Members with another score are never passed over.
        let from = Position::Score {
            score: 1.0,
            skip: u64::MAX,
        };
        let page = list(storage, &SET, &request(order, from, 9)).await;
        let left = if order == Order::OldestFirst { 1 } else { 0 };
        assert_eq!(page.jobs.len(), left);
    }
}

/// Any score that a set can have is a position.
pub async fn a_set_is_listed_whatever_its_scores_are(harness: &dyn Harness) {
    let scores = [
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
        f64::MIN,
        -1e300,
        -1.5,
        -5e-324,
        0.0,
        -0.0,
        0.0,
        5e-324,
        0.1 + 0.2,
        1_732_387_200.000_412,
        1_732_387_200.000_412,
        9_007_199_254_740_993.0,
        1e300,
        f64::MAX,
        f64::INFINITY,
        f64::INFINITY,
    ];
    let members: Vec<(f64, Bytes)> = (10..)
        .zip(scores)
        .map(|(number, score)| (score, Bytes::from(format!("job {number}"))))
        .collect();
    add(harness, &members).await;
    let storage = harness.storage();
    let mut expected: Vec<Bytes> = members.iter().map(|(_, job)| job.clone()).collect();
    for order in BOTH {
        for limit in [1, 2, 5, 100] {
            assert_eq!(walk(&*storage, &SET, order, limit).await, expected);
        }
        expected.reverse();
    }
    for (score, job) in members {
        let request = request(Order::OldestFirst, Position::Score { score, skip: 0 }, 100);
        let page = list(&*storage, &SET, &request).await;
        assert!(page.jobs.iter().any(|waiting| waiting.job == job));
        assert!(
            page.jobs
                .iter()
                .all(|waiting| waiting.score.unwrap() >= score)
        );
    }
}

/// Thousands of members with one score are listed each once.
pub async fn members_of_one_score_are_listed_each_once(harness: &dyn Harness) {
    let mut members: Vec<(f64, Bytes)> = (0..2_000)
        .map(|number| (7.0, Bytes::from(format!("job {number:04}"))))
        .collect();
    members.extend([(6.5, job("before")), (7.5, job("later"))]);
    add(harness, &members).await;
    let storage = harness.storage();
    members.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let mut expected: Vec<Bytes> = members.into_iter().map(|(_, job)| job).collect();
    for order in BOTH {
        assert_eq!(walk(&*storage, &SET, order, 100).await, expected);
        expected.reverse();
    }
}

/// What comes and goes between two pages of a set, elsewhere than among equal scores, shifts
/// nothing.
pub async fn a_set_that_changes_is_listed_without_gaps(harness: &dyn Harness) {
    let storage = harness.storage();
    let member = |number: u32| {
        let job = Bytes::from(format!("job {number:04}"));
        (f64::from(number), job)
    };
    for order in BOTH {
        storage.clear(&SET).await.expect("clear");
        let members: Vec<_> = (0..100).map(member).collect();
        add(harness, &members).await;
        let (mut read, mut from) = (Vec::new(), Position::default());
        loop {
            let page = list(&*storage, &SET, &request(order, from, 10)).await;
            read.extend(jobs(&page));
            let Some(next) = page.next else { break };
            from = next;
            // Those that were read leave, others come before them.
            let moves: Vec<Move> = (page.jobs.iter().step_by(2))
                .map(|waiting| Move::new(waiting.job.clone(), MoveTarget::Delete))
                .collect();
            storage.move_jobs(&SET, &moves, None).await;
            let score = page.jobs[0].score.unwrap();
            let new = Bytes::from(format!("new at {score}"));
            add(harness, &[(score, new)]).await;
        }
        let mut expected: Vec<Bytes> = members.into_iter().map(|(_, job)| job).collect();
        if order == Order::NewestFirst {
            expected.reverse();
        }
        assert_eq!(read, expected);
    }
}

/// A page has at most 1 MiB, and at least one job.
pub async fn a_listed_page_is_bounded_by_bytes(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let mut all = of_many_sizes();
    for job in &all {
        fixture.enqueue_bytes(std::slice::from_ref(job)).await;
    }
    let members: Vec<_> = (0_u32..).map(f64::from).zip(all.iter().cloned()).collect();
    add(harness, &members).await;
    for order in BOTH {
        for source in [queue(), SET] {
            let (mut read, mut from) = (Vec::new(), Position::default());
            loop {
                let request = request(order, from, MAX_BATCH_JOBS);
                let page = list(&*fixture.storage, &source, &request).await;
                read.extend(jobs(&page));
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            assert!(read == all, "{source} {order:?}");
        }
        all.reverse();
    }
}

/// Only jobs with all texts are returned; the others are examined, up to a bound. A text is
/// searched as it is.
pub async fn a_list_keeps_what_has_the_texts(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let storage = &*fixture.storage;
    let odd: Vec<Bytes> = [
        &b"a%d+*b"[..],
        b"a%%",
        b"",
        b"a\0b+",
        b"\xff+\xfe",
        b"[a]",
        b"a",
    ]
    .map(Bytes::from_static)
    .to_vec();
    fixture.enqueue_bytes(&odd).await;
    let members: Vec<_> = (0_u32..).map(f64::from).zip(odd).collect();
    add(harness, &members).await;
    for source in [queue(), SET] {
        for (texts, expected) in [
            (&["%"][..], &[&b"a%d+*b"[..], b"a%%"][..]),
            (&["a", "+"], &[b"a%d+*b", b"a\0b+"]),
            (&["\0"], &[b"a\0b+"]),
            (&["[a]"], &[b"[a]"]),
            (&["%a"], &[]),
            (&["^a"], &[]),
            (&["", "+"], &[b"a%d+*b", b"a\0b+", b"\xff+\xfe"]),
        ] {
            let request = ListRequest {
                texts: texts.iter().map(|&text| text.to_owned()).collect(),
                ..ListRequest::default()
            };
            let page = list(storage, &source, &request).await;
            assert_eq!(jobs(&page), expected, "{texts:?}");
            assert_eq!((page.looked_at, page.next), (7, None));
        }
    }
}

/// A search examines a bounded number of jobs, and says where it stopped: behind the last job that
/// it returned, if its limit was reached.
pub async fn a_search_stops_and_continues(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let all: Vec<Bytes> = (0..1_200)
        .map(|number| Bytes::from(format!("job {number:04}{}", ["", "!"][number / 700])))
        .collect();
    for jobs in all.chunks(100) {
        fixture.enqueue_bytes(jobs).await;
    }
    let members: Vec<_> = (0_u32..).map(f64::from).zip(all.iter().cloned()).collect();
    add(harness, &members).await;
    for source in [queue(), SET] {
        let mut request = ListRequest {
            limit: 10,
            texts: vec!["!".to_owned()],
            ..ListRequest::default()
        };
        let step = list(&*fixture.storage, &source, &request).await;
        assert_eq!((step.jobs.len(), step.looked_at), (0, MAX_LIST_LOOKS));
        request.from = step.next.expect("more");
        let step = list(&*fixture.storage, &source, &request).await;
        assert_eq!(jobs(&step), all[700..710]);
        assert_eq!(step.looked_at, 210);
        request.from = step.next.expect("more");
        let step = list(&*fixture.storage, &source, &request).await;
        assert_eq!(jobs(&step), all[710..720]);
        assert_eq!(step.looked_at, 10);
        assert_eq!(step.len, 1_200);
    }
}

/// The middle of a long queue is listed as its ends are.
pub async fn a_long_queue_is_listed_in_its_middle(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let mut all = numbered(24_000);
    for jobs in all.chunks(500) {
        fixture.enqueue_bytes(jobs).await;
    }
    for order in BOTH {
        for (limit, start) in [(25, 11_990), (100, 12_000), (1_000, 12_500)] {
            let request = request(order, Position::Index(start as u64), limit);
            let page = list(&*fixture.storage, &queue(), &request).await;
            assert!(
                jobs(&page) == all[start..start + limit],
                "{order:?} {limit}"
            );
            let rest = Position::Index((start + limit) as u64);
            assert_eq!(page.next, Some(rest));
            assert_eq!(
                page.previous,
                Some(Position::Index((24_000 - start) as u64))
            );
        }
        let request = ListRequest {
            from: Position::Index(12_000),
            order,
            texts: vec!["5".to_owned()],
            ..ListRequest::default()
        };
        let page = list(&*fixture.storage, &queue(), &request).await;
        let has_text = |job: &&Bytes| job.contains(&b'5');
        let expected = all[12_000..].iter().filter(has_text).take(100);
        let expected: Vec<Bytes> = expected.cloned().collect();
        assert!(jobs(&page) == expected[..page.jobs.len()]);
        assert!(page.jobs.len() == 100 || page.looked_at == MAX_LIST_LOOKS);
        all.reverse();
    }
}
