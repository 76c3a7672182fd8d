//! The payloads in the queue of a run: jobs as a client sends them, and payloads that no client of
//! ours would send.

use serde_json::value::RawValue;
use verk::{Job, QueueName, Unique, Worker};

use crate::{
    kind::{KEPT, KEPT_KEY, Kind, QUEUE},
    worker::Chaos,
};

/// The most that a client of ours sends.
const CLIENTS_LIMIT: usize = 1024 * 1024;

/// Deeper than any parser reads, and deep enough to overflow the stack of one that recurses.
const DEEP: usize = 200_000;

/// The untyped form of a job, for callers that need its jid before it is sent.
pub(crate) fn job(kind: Kind) -> Job {
    match kind {
        Kind::Huge => padded(kind, CLIENTS_LIMIT * 9 / 10),
        _ => padded(kind, 0),
    }
}

/// A job of which only one with this key is stored at a time.
pub(crate) fn unique(kind: Kind, key: &str) -> (Job, Unique) {
    let by_key = Unique::new().by(&[1]);
    (with_text(kind, key.to_owned()), by_key)
}

/// More than a client of ours sends.
pub(crate) fn huger() -> Job {
    padded(Kind::Huge, 3 * CLIENTS_LIMIT)
}

fn padded(kind: Kind, padding: usize) -> Job {
    with_text(kind, "x".repeat(padding))
}

fn with_text(kind: Kind, text: String) -> Job {
    let worker = Chaos::new(kind, text);
    let args = worker
        .encode_args()
        .expect("a word and a text have a JSON form");
    let queue = QueueName::new(QUEUE).expect("a valid name");
    let mut job = Job::new(<Chaos as Worker>::CLASS, queue, args).expect("a valid job");
    let kept = RawValue::from_string(KEPT.to_owned()).expect("JSON");
    job.set(KEPT_KEY, &kept).expect("a key of nobody's");
    job
}

/// A payload that is no job, in a form that follows from its jid.
pub(crate) fn malformed(jid: &str) -> Vec<u8> {
    let id = format!(r#""jid":"{jid}""#);
    let rest = r#""class":"Chaos","queue":"default","retry":0"#;
    match form(jid) % 7 {
        0 => format!("{{{id}, no job").into_bytes(),
        1 => format!("[{{{id}}}]").into_bytes(),
        2 => format!(r#"{{{id},"args":[]}}"#).into_bytes(),
        3 => format!(r#"{{"of":{{{id}}},{rest},"args":[]}}"#).into_bytes(),
        4 => format!(r#"{{{id},{rest},"args":7}}"#).into_bytes(),
        5 => {
            let mut payload = format!(r#"{{{id},{rest},"args":[""#).into_bytes();
            payload.extend(b"\xff\xfe\"]}");
            payload
        }
        _ => {
            let (open, close) = ("[".repeat(DEEP), "]".repeat(DEEP));
            format!(r#"{{{id},{rest},"args":{open}{close}}}"#).into_bytes()
        }
    }
}

/// A job that no program can run, for a reason that follows from its jid. It is not retried.
pub(crate) fn misfit(jid: &str) -> Vec<u8> {
    let rest = format!(r#""jid":"{jid}","queue":"default","retry":0"#);
    match form(jid) % 4 {
        0 => format!(r#"{{{rest},"class":"Nobody::Has","args":[]}}"#),
        1 => format!(r#"{{{rest},"class":"Chaos","args":["quick","",7,8,9]}}"#),
        2 => format!(r#"{{{rest},"class":"Chaos","args":[1e400]}}"#),
        _ => format!(r#"{{{rest},"class":"Chaos","args":[{{"quick":[[[]]]}}]}}"#),
    }
    .into_bytes()
}

/// The last digits of a jid.
fn form(jid: &str) -> u64 {
    u64::from_str_radix(&jid[jid.len().saturating_sub(4)..], 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jids() -> impl Iterator<Item = String> {
        (0..28).map(|number| format!("{number:04x}"))
    }

    #[test]
    fn what_is_malformed_is_no_job_and_a_misfit_is_one() {
        for jid in jids() {
            assert!(Job::decode(malformed(&jid).into()).is_err(), "{jid}");
            let job = Job::decode(misfit(&jid).into()).unwrap();
            assert_eq!(job.jid().to_string(), jid);
        }
    }

    #[test]
    fn every_job_has_a_key_of_nobodys() {
        let job = Job::decode(job(Kind::Quick).encode()).unwrap();
        assert_eq!(job.get(KEPT_KEY), Some(KEPT));
    }
}
