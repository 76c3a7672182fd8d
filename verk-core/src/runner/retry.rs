//! What follows a failure: pure decisions, no I/O.

use std::time::SystemTime;

use crate::{
    guard,
    job::{Job, RetryLimit},
    log,
    outcome::{RetryIn, backoff},
    time::clock::time_after,
    worker::WorkerOptions,
};

/// Where a failed job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To the `retry` set, due then.
    Retry(SystemTime),
    /// To the `dead` set.
    Dead,
    /// Nowhere.
    Discard,
}

/// Decides about `job`, in which the failure at `now` is recorded already.
///
/// `random` is from 1 to 30. `options` is `None` for a class that is not registered.
pub(crate) fn decide(
    job: &Job,
    retry_in: RetryIn,
    worker: Option<&WorkerOptions>,
    max_retry_count: u32,
    now: SystemTime,
    random: u32,
) -> Decision {
    let buried = if job.dead() {
        Decision::Dead
    } else {
        Decision::Discard
    };
    let limit = match job.retry_limit() {
        RetryLimit::Never => 0,
        RetryLimit::Times(count) => count,
        RetryLimit::Default => worker
            .and_then(|options| options.max_retry_count)
            .unwrap_or(max_retry_count),
    };
    let failures = job.failures();
    // As in Sidekiq 8.1: if there is a time limit, the number of retries does not count.
    let exhausted = match (job.retry_for(), job.failed_at()) {
        (Some(retry_for), Some(failed_at)) => time_after(failed_at, retry_for) < now,
        _ => failures > limit,
    };
    let at = match retry_in {
        RetryIn::Kill => return buried,
        RetryIn::Discard => return Decision::Discard,
        // Sidekiq's `retry: false`: no retry, and not into the `dead` set either.
        _ if job.retry_limit() == RetryLimit::Never => return Decision::Discard,
        _ if exhausted => return buried,
        RetryIn::At(at) => at,
        RetryIn::After(delay) => time_after(now, delay),
        RetryIn::Default => match worker.and_then(|options| options.retry_at) {
            Some(retry_at) => match guard::call(|| retry_at(now, failures)) {
                Some(at) => at,
                None => {
                    log::error!(class = job.class(), jid = %job.jid(), "the worker's retry_at panicked: the job is retried after Verk's backoff");
                    time_after(now, backoff(failures, random))
                }
            },
            None => time_after(now, backoff(failures, random)),
        },
    };
    Decision::Retry(at)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const FIRST: u64 = 1_700_000_000;

    /// What follows a failure `after` seconds after the first one.
    fn decided(options: &str, retry_count: u32, after: u64, retry_in: RetryIn) -> Decision {
        let payload = format!(
            r#"{{"class":"A","jid":"1","args":[],"failed_at":{FIRST}.0,"retry_count":{retry_count}{options}}}"#
        );
        let job = Job::decode(payload.into()).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(FIRST + after);
        decide(&job, retry_in, None, 2, now, 1)
    }

    fn is_retried(options: &str, retry_count: u32, after: u64) -> bool {
        let decision = decided(options, retry_count, after, RetryIn::Default);
        matches!(decision, Decision::Retry(_))
    }

    #[test]
    fn a_time_to_retry_for_counts_instead_of_the_number() {
        assert!(is_retried("", 1, 60));
        assert!(!is_retried("", 2, 60));
        for limit in ["", r#","retry":0"#, r#","retry":true,"max_retry_count":1"#] {
            let options = format!(r#","retry_for":60{limit}"#);
            assert!(is_retried(&options, 0, 0), "the first failure");
            assert!(is_retried(&options, 999, 60), "within the time");
            let late = decided(&options, 1, 61, RetryIn::Default);
            assert_eq!(late, Decision::Dead, "after the time");
        }
        let no_dead = decided(r#","retry_for":60,"dead":false"#, 1, 61, RetryIn::Default);
        assert_eq!(no_dead, Decision::Discard);
        // The delay that the worker asks for does not get around it.
        let wish = RetryIn::After(Duration::from_secs(1));
        assert_eq!(decided(r#","retry_for":60"#, 1, 61, wish), Decision::Dead);
        // A value that is no time counts as absent.
        for none in ["null", "false", r#""60""#, "[]"] {
            assert!(!is_retried(&format!(r#","retry_for":{none}"#), 2, 60));
        }
    }

    #[test]
    fn without_retry_there_is_neither_a_retry_nor_a_death() {
        for options in ["", r#","retry_for":60"#, r#","max_retry_count":5"#] {
            let options = format!(r#","retry":false{options}"#);
            let decision = decided(&options, 0, 0, RetryIn::Default);
            assert_eq!(decision, Decision::Discard);
        }
    }
}
