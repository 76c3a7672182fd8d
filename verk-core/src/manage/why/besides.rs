//! What else a job says: the lock that it holds, and the run of the timetable that it is. Pure.

use super::Reason;
use crate::{
    effects::Claim,
    job::Job,
    storage::{JobSet, LockId, StoredLock},
    timetable::Tick,
};

/// The lock that a job names.
pub(super) fn lock_of(job: &Job) -> Option<LockId> {
    Claim::of(job).map(|claim| claim.lock())
}

/// What is known besides the reasons why a job waits. `lock` is the lock that it names, as it is
/// stored, and `set` the set that the job is in.
pub(super) fn of(job: &Job, set: Option<JobSet>, lock: Option<StoredLock>) -> Vec<Reason> {
    let lock = lock.and_then(|lock| {
        if lock.jid == *job.jid() {
            return Some(Reason::HoldsLock {
                lock: lock.id,
                since: lock.since,
                until: lock.until,
                next: lock.next.map(|(jid, _)| jid),
            });
        }
        // Other jobs have had their lock: until their start, or for a time.
        (set == Some(JobSet::Dead)).then_some(Reason::LockTaken {
            lock: lock.id,
            holder: lock.jid,
        })
    });
    let tick = Tick::of(job).map(|tick| Reason::Periodic {
        name: tick.name().to_owned(),
        due: tick.due(),
        missed: tick.missed(),
    });
    lock.into_iter().chain(tick).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{
        names::{Jid, QueueName},
        storage::HolderPlace,
    };

    fn job(verk: &str) -> Job {
        let payload = format!(
            r#"{{"class":"Charge","jid":"j1","queue":"billing","args":[],"verk":{{{verk}}}}}"#
        );
        Job::decode(payload.into()).unwrap()
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_953_600 + second)
    }

    fn lock(jid: &str) -> StoredLock {
        let queue = QueueName::new("billing").unwrap();
        StoredLock {
            id: LockId::from_bits(7),
            jid: Jid::from(jid),
            class: "Charge".to_owned(),
            place: HolderPlace::Waiting { queue },
            since: at(0),
            until: None,
            conflicts: 0,
            next: None,
            revision: 1,
        }
    }

    fn shown(job: &Job, set: Option<JobSet>, lock: Option<StoredLock>) -> Vec<String> {
        let reasons = of(job, set, lock);
        reasons.iter().map(ToString::to_string).collect()
    }

    const CLAIM: &str = r#""u":{"d":"00000000000000000000000000000007"}"#;
    const TICK: &str = r#""c":{"n":"daily\n","d":1795953600000000,"m":2}"#;

    #[test]
    fn a_job_that_holds_its_lock_says_who_waits_for_it() {
        let unique = job(CLAIM);
        assert_eq!(lock_of(&unique), Some(LockId::from_bits(7)));
        let waiting = StoredLock {
            until: Some(at(60)),
            next: Some((Jid::from("j2"), QueueName::new("billing").unwrap())),
            ..lock("j1")
        };
        let of_lock = "it holds unique lock 00000000000000000000000000000007 since \
                       2026-11-29T12:00:00Z";
        for (lock, expected) in [
            (lock("j1"), of_lock.to_owned()),
            (
                waiting,
                format!("{of_lock}, until 2026-11-29T12:01:00Z at most, and job j2 waits for it"),
            ),
        ] {
            assert_eq!(shown(&unique, None, Some(lock)), [expected]);
        }
        assert_eq!(shown(&unique, None, None), [""; 0]);
    }

    #[test]
    fn a_dead_job_says_who_has_its_lock_now() {
        let other = || Some(lock("j2"));
        let expected = "job j2 holds its unique lock 00000000000000000000000000000007, so this job \
                        cannot leave the dead set";
        assert_eq!(shown(&job(CLAIM), Some(JobSet::Dead), other()), [expected]);
        for set in [None, Some(JobSet::Retry)] {
            assert_eq!(shown(&job(CLAIM), set, other()), [""; 0]);
        }
    }

    #[test]
    fn a_run_of_the_timetable_says_which_it_is() {
        assert_eq!(
            shown(&job(TICK), None, None),
            [
                "it is the run of periodic job daily\\n for 2026-11-29T12:00:00Z, after 2 that were \
                 missed"
            ]
        );
        assert_eq!(shown(&job(r#""c":7"#), None, None), [""; 0]);
    }
}
