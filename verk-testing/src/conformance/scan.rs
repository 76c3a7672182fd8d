//! Reading and searching all that waits in one place, a step at a time.

use std::collections::BTreeSet;

use bytes::Bytes;
use verk_core::storage::{
    JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS, Move, MoveTarget, Source, Storage,
};

use super::{
    Harness, ScoredJob,
    fixture::{AT_0, Fixture, bytes, job, numbered, of_many_sizes, queue_name},
};

const RETRY: Source = Source::Set(JobSet::Retry);

fn queue() -> Source {
    Source::Queue(queue_name("default"))
}

async fn add(harness: &dyn Harness, set: JobSet, jobs: &[&str]) {
    for payload in jobs {
        let (score, job) = (AT_0, job(payload));
        harness.add_member(set, ScoredJob { score, job }).await;
    }
}

fn texts(text: &str) -> Vec<String> {
    let text = (!text.is_empty()).then(|| text.to_owned());
    text.into_iter().collect()
}

/// All steps of a scan.
async fn scan(storage: &dyn Storage, source: &Source, text: &str) -> Vec<Bytes> {
    let (mut jobs, mut cursor, texts) = (Vec::new(), 0, texts(text));
    loop {
        let step = storage.scan(source, cursor, &texts).await.expect("scan");
        jobs.extend(step.jobs.into_iter().map(|member| member.job));
        match step.next {
            Some(next) => cursor = next,
            None => return jobs,
        }
    }
}

/// What came last is read first, and what is fetched does not shift it.
pub async fn a_queue_is_read_from_its_end(harness: &dyn Harness) {
    let mut fixture = Fixture::new(harness).await;
    fixture.enqueue(&["a", "b", "c", "d"]).await;
    let storage = std::sync::Arc::clone(&fixture.storage);
    let step = async |source: &Source, cursor, text| {
        let step = storage.scan(source, cursor, &texts(text)).await;
        let step = step.expect("scan");
        let jobs = step.jobs.into_iter();
        let jobs = jobs.map(|waiting| {
            assert_eq!(waiting.score, None);
            waiting.job
        });
        (jobs.collect::<Vec<_>>(), step.next)
    };
    let source = queue();
    let all = bytes(&["d", "c", "b", "a"]);
    assert_eq!(step(&source, 0, "").await, (all, Some(4)));
    assert_eq!(fixture.dequeue(2).await, bytes(&["a", "b"]));
    assert_eq!(step(&source, 1, "").await, (bytes(&["c"]), Some(2)));
    assert_eq!(step(&source, 2, "").await, (bytes(&[]), None));
    // What does not match is passed over.
    assert_eq!(step(&source, 0, "c").await, (bytes(&["c"]), Some(2)));
    let unknown = Source::Queue(queue_name("unknown"));
    assert_eq!(step(&unknown, 0, "").await, (bytes(&[]), None));
}

/// A step through a queue has at most 1 MiB, and at least one job; the rest is in the steps after
/// it.
pub async fn a_step_is_bounded_by_bytes(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let mut all = of_many_sizes();
    fixture.enqueue_bytes(&all).await;
    let (mut read, mut cursor) = (Vec::new(), Some(0));
    while let Some(passed) = cursor {
        let step = fixture.storage.scan(&queue(), passed, &[]).await;
        let step = step.expect("scan");
        let jobs: Vec<Bytes> = step.jobs.into_iter().map(|waiting| waiting.job).collect();
        let bytes: usize = jobs.iter().map(Bytes::len).sum();
        assert!(jobs.len() <= 1 || jobs.len() <= MAX_BATCH_JOBS && bytes <= MAX_BATCH_BYTES);
        read.extend(jobs);
        cursor = step.next;
    }
    all.reverse();
    assert_eq!(read, all);
}

/// Each member is read, whatever is added, taken and rescheduled between the steps.
pub async fn a_scan_reads_what_stays(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    assert_eq!(scan(&*fixture.storage, &RETRY, "").await, bytes(&[]));
    let jobs = numbered(1_000);
    for job in &jobs {
        let member = ScoredJob {
            score: AT_0,
            job: job.clone(),
        };
        harness.add_member(JobSet::Retry, member).await;
    }
    let (mut seen, mut cursor, mut steps) = (BTreeSet::new(), 0, 0);
    loop {
        let step = fixture.storage.scan(&RETRY, cursor, &[]).await.unwrap();
        assert!(step.jobs.len() < jobs.len(), "a step is bounded");
        for (number, member) in step.jobs.into_iter().enumerate() {
            if number % 3 == 0 {
                let moves = [Move::new(member.job.clone(), MoveTarget::Delete)];
                fixture.storage.move_jobs(&RETRY, &moves, None).await;
            } else {
                let member = ScoredJob {
                    score: AT_0 - 5.0,
                    job: member.job.clone(),
                };
                harness.add_member(JobSet::Retry, member).await;
            }
            seen.insert(member.job);
        }
        let new = format!("new {steps}");
        add(harness, JobSet::Retry, &[&new]).await;
        steps += 1;
        match step.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert!(jobs.iter().all(|job| seen.contains(job)));
}

/// A text is searched as it is, whatever patterns mean to the backend.
pub async fn a_scan_keeps_what_holds_a_text(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let odd = [r"a*b", "axb", r"[c-e]", "d", r"\?", "??", "Grüße", "a*b"];
    let dead = Source::Set(JobSet::Dead);
    add(harness, JobSet::Dead, &odd).await;
    for (text, expected) in [
        ("a*b", &["a*b"][..]),
        ("[c-e]", &["[c-e]"]),
        (r"\", &[r"\?"]),
        ("?", &["??", r"\?"]),
        ("x", &["axb"]),
        ("üß", &["Grüße"]),
        ("A", &[]),
        ("nobody", &[]),
    ] {
        let mut found = scan(&*fixture.storage, &dead, text).await;
        found.sort();
        assert_eq!(found, bytes(expected), "{text}");
    }
    let all = scan(&*fixture.storage, &dead, "").await;
    assert_eq!(all.len(), 7);
}

/// Only jobs with all texts are returned. Each job that was in the set is examined once, if nothing
/// changes, and a step examines a bounded number.
pub async fn a_scan_keeps_what_holds_all_texts(harness: &dyn Harness) {
    let fixture = Fixture::new(harness).await;
    let all: Vec<Bytes> = (0..1_300)
        .map(|number| Bytes::from(format!("job {number} {}", ["even", "odd"][number % 2])))
        .collect();
    for jobs in all.chunks(100) {
        fixture.enqueue_bytes(jobs).await;
    }
    for job in &all {
        let (score, job) = (AT_0, job.clone());
        let member = ScoredJob { score, job };
        harness.add_member(JobSet::Retry, member).await;
    }
    let texts = ["odd", "job 12"].map(str::to_owned);
    let is_wanted = |job: &&Bytes| {
        let job = String::from_utf8_lossy(job);
        texts.iter().all(|text| job.contains(&**text))
    };
    let expected: BTreeSet<Bytes> = all.iter().filter(is_wanted).cloned().collect();
    for source in [queue(), RETRY] {
        let (mut found, mut examined, mut cursor) = (BTreeSet::new(), 0, 0);
        loop {
            let step = fixture.storage.scan(&source, cursor, &texts).await;
            let step = step.expect("scan");
            assert!(step.looked_at < 1_000 && step.jobs.len() <= step.looked_at);
            examined += step.looked_at;
            found.extend(step.jobs.into_iter().map(|waiting| waiting.job));
            match step.next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(found, expected);
        assert_eq!(examined, all.len());
    }
}
