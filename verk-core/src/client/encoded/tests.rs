use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 100 * SECOND
}

fn queue(name: &str) -> QueueName {
    name.parse().unwrap()
}

fn job() -> Job {
    Job::new("Welcome", queue("mailers"), "[]".to_owned()).unwrap()
}

fn encoded(when: When) -> EncodedJob {
    EncodedJob::new(&mut job(), when, now(), &Config::default(), None).unwrap()
}

#[test]
fn a_job_whose_time_has_come_goes_to_its_queue() {
    for when in [
        When::Now,
        When::At(now()),
        When::At(now() - SECOND),
        When::In(Duration::ZERO),
    ] {
        let encoded = encoded(when);
        assert_eq!(encoded.place, Place::Queue(queue("mailers")));
        let job = Job::decode(encoded.payload).unwrap();
        assert_eq!(job.jid(), &encoded.jid);
        assert_eq!(job.enqueued_at(), Some(now()));
        assert_eq!(job.created_at(), Some(now()));
    }
}

#[test]
fn a_job_for_later_waits_in_the_schedule() {
    for when in [When::At(now() + SECOND), When::In(SECOND)] {
        let encoded = encoded(when);
        let place = Place::Schedule(now() + SECOND, queue("mailers"));
        assert_eq!(encoded.place, place);
        let job = Job::decode(encoded.payload).unwrap();
        assert_eq!(job.enqueued_at(), None);
        assert_eq!(job.created_at(), Some(now()));
    }
}

#[test]
fn a_job_that_names_no_queue_is_refused() {
    let payload = Bytes::from_static(br#"{"class":"Welcome","jid":"1","args":[]}"#);
    let mut job = Job::decode(payload).unwrap();
    let error = EncodedJob::new(&mut job, When::Now, now(), &Config::default(), None).unwrap_err();
    assert!(matches!(error, EnqueueError::NoQueue { jid } if jid.as_str() == "1"));
}

#[test]
fn a_payload_may_be_as_large_as_the_limit() {
    let size = encoded(When::Now).payload.len();
    let with_limit = |limit| {
        let config = Config {
            max_payload_bytes: limit,
            ..Config::default()
        };
        EncodedJob::new(&mut job(), When::Now, now(), &config, None)
    };
    assert!(with_limit(size).is_ok());
    let error = with_limit(size - 1).unwrap_err();
    assert!(matches!(error, EnqueueError::TooLarge { limit, .. } if limit == size - 1));
}

#[test]
fn neighbours_of_one_place_are_stored_by_one_call() {
    let in_queue = |name| Place::Queue(queue(name));
    let later = |seconds, name| Place::Schedule(now() + seconds * SECOND, queue(name));
    assert!(in_queue("a").joins(&in_queue("a")));
    assert!(!in_queue("a").joins(&in_queue("b")));
    assert!(!in_queue("a").joins(&later(1, "a")));
    assert!(later(1, "a").joins(&later(2, "b")), "one set has them all");
}
