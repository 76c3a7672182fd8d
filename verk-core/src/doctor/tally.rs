//! The traits that jobs of one place share: [`Tally`]. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    finding::{Finding, JobGroup},
    fleet::Fleet,
    locks::Locks,
};
use crate::{
    job::Job,
    names::{Jid, QueueName},
    storage::{JobSet, ScheduleKeys, Source},
};

/// How many classes without a worker are listed separately.
const MAX_CLASSES: usize = 100;

/// What a job is judged by.
pub(super) struct Judge<'a> {
    pub(super) fleet: Fleet,
    pub(super) schedule_keys: ScheduleKeys,
    /// Whether this node runs the jobs of a queue.
    pub(super) runs: &'a (dyn Fn(&QueueName) -> bool + Sync),
    /// Whether this node has a worker for a class.
    pub(super) knows: &'a (dyn Fn(&str) -> bool + Sync),
}

/// What the jobs of all places show together.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The classes without a worker here, and how many jobs they have.
    pub(super) unknown_classes: BTreeMap<String, usize>,
    pub(super) locks: Locks,
}

/// The findings about the jobs of one place.
#[derive(Debug)]
pub(super) struct Tally {
    place: Source,
    /// In the order in which they are reported.
    found: BTreeMap<Trait, (usize, Option<Jid>)>,
}

/// A trait of jobs that a finding reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trait {
    StringArgs,
    UnreadableInRuby,
    ChangedByElixir,
    MisreadTimes,
    NoQueue,
    Malformed,
}

impl Tally {
    pub(super) fn of(place: Source) -> Self {
        Self {
            place,
            found: BTreeMap::new(),
        }
    }

    /// Checks one payload. If this node would have to run its class and cannot, counts it among
    /// the unknown classes.
    pub(super) fn add(&mut self, payload: Bytes, judge: &Judge<'_>, seen: &mut Seen) {
        // Such payloads belong in the dead set.
        let is_dead = self.place == Source::Set(JobSet::Dead);
        let Ok(job) = Job::decode(payload) else {
            if !is_dead {
                self.count(Trait::Malformed, None);
            }
            return;
        };
        let queue = match &self.place {
            Source::Queue(queue) => Some(queue),
            Source::Set(_) => job.queue(),
        };
        seen.locks.see(&job, queue.filter(|_| !is_dead));
        if queue.is_none() && !is_dead {
            self.count(Trait::NoQueue, Some(&job));
        } else if queue.is_some_and(judge.runs) && !is_dead && !(judge.knows)(job.class()) {
            let unknown_classes = &mut seen.unknown_classes;
            let is_full = unknown_classes.len() >= MAX_CLASSES;
            if let Some(jobs) = unknown_classes.get_mut(job.class()) {
                *jobs += 1;
            } else if !is_full {
                unknown_classes.insert(job.class().to_owned(), 1);
            }
        }
        if !self.is_shared(judge) {
            return;
        }
        let fleet = judge.fleet;
        if fleet.has_sidekiq() && job.has_spoiled_args() {
            self.count(Trait::StringArgs, Some(&job));
        }
        if fleet.elixir && job.is_changed_by_elixir() {
            self.count(Trait::ChangedByElixir, Some(&job));
        }
        if fleet.has_sidekiq() && job.is_unreadable_in_ruby() {
            self.count(Trait::UnreadableInRuby, Some(&job));
        }
        if fleet.sidekiq_before_8 && job.has_milliseconds()
            || fleet.sidekiq_from_8 && job.has_whole_seconds()
        {
            self.count(Trait::MisreadTimes, Some(&job));
        }
    }

    pub(super) fn findings(self) -> impl Iterator<Item = Finding> {
        let place = self.place;
        self.found.into_iter().map(move |(what, (jobs, example))| {
            let jobs = JobGroup {
                place: place.clone(),
                jobs,
                example,
            };
            match what {
                Trait::StringArgs => Finding::StringArgs(jobs),
                Trait::UnreadableInRuby => Finding::UnreadableInRuby(jobs),
                Trait::ChangedByElixir => Finding::ChangedByElixir(jobs),
                Trait::MisreadTimes => Finding::MisreadTimes(jobs),
                Trait::NoQueue => Finding::NoQueue(jobs),
                Trait::Malformed => Finding::Malformed(jobs),
            }
        })
    }

    /// Whether other programs read this place.
    fn is_shared(&self, judge: &Judge<'_>) -> bool {
        match self.place {
            Source::Queue(_) | Source::Set(JobSet::Dead) => true,
            Source::Set(JobSet::Schedule | JobSet::Retry) => {
                judge.schedule_keys == ScheduleKeys::Shared
            }
        }
    }

    fn count(&mut self, what: Trait, job: Option<&Job>) {
        let (jobs, example) = self.found.entry(what).or_default();
        *jobs += 1;
        if example.is_none() {
            *example = job.map(|job| job.jid().clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDEKIQ_7: Fleet = Fleet {
        sidekiq_before_8: true,
        sidekiq_from_8: false,
        elixir: false,
    };
    const SIDEKIQ_8: Fleet = Fleet {
        sidekiq_before_8: false,
        sidekiq_from_8: true,
        elixir: false,
    };
    const ELIXIR: Fleet = Fleet {
        sidekiq_before_8: false,
        sidekiq_from_8: false,
        elixir: true,
    };

    const STRING_ARGS: &str = r#"{"class":"A","jid":"1","queue":"q","args":"[1]"}"#;
    const MILLISECONDS: &str =
        r#"{"class":"A","jid":"1","queue":"q","args":[],"created_at":1732387200000}"#;
    const WHOLE_SECONDS: &str =
        r#"{"class":"A","jid":"1","queue":"q","args":[],"failed_at":1732387200}"#;
    const FLOAT: &str =
        r#"{"class":"A","jid":"1","queue":"q","args":[],"created_at":1732387200.0}"#;
    const INFINITE: &str = r#"{"class":"A","jid":"1","queue":"q","args":[1e400]}"#;
    const OF_VERK: &str = r#"{"error_message":null,"failed_at":null,"retry_count":0,"queue":"q","class":"A","args":"[]","jid":"1","finished_at":null,"enqueued_at":1732387200,"retried_at":null,"created_at":null,"error_backtrace":null,"max_retry_count":25}"#;

    fn findings_in(place: Source, fleet: Fleet, keys: ScheduleKeys, payload: &str) -> Vec<Finding> {
        let judge = Judge {
            fleet,
            schedule_keys: keys,
            runs: &|_| true,
            knows: &|class| class == "A",
        };
        let mut tally = Tally::of(place);
        let mut seen = Seen::default();
        tally.add(payload.to_owned().into(), &judge, &mut seen);
        let classes = (seen.unknown_classes.into_iter())
            .map(|(class, jobs)| Finding::UnknownClass { class, jobs });
        tally.findings().chain(classes).collect()
    }

    fn queue() -> Source {
        Source::Queue("q".parse().unwrap())
    }

    fn findings(fleet: Fleet, payload: &str) -> Vec<Finding> {
        findings_in(queue(), fleet, ScheduleKeys::Shared, payload)
    }

    fn jobs(place: Source, example: Option<&str>) -> JobGroup {
        JobGroup {
            place,
            jobs: 1,
            example: example.map(Jid::from),
        }
    }

    #[test]
    fn each_program_has_jobs_that_it_cannot_read() {
        let one = || jobs(queue(), Some("1"));
        for (fleet, payload, expected) in [
            (Fleet::default(), STRING_ARGS, vec![]),
            (SIDEKIQ_7, STRING_ARGS, vec![Finding::StringArgs(one())]),
            (SIDEKIQ_7, FLOAT, vec![]),
            (SIDEKIQ_7, MILLISECONDS, vec![Finding::MisreadTimes(one())]),
            (SIDEKIQ_7, WHOLE_SECONDS, vec![]),
            (SIDEKIQ_8, FLOAT, vec![]),
            (SIDEKIQ_8, MILLISECONDS, vec![]),
            (SIDEKIQ_8, WHOLE_SECONDS, vec![Finding::MisreadTimes(one())]),
            (Fleet::default(), INFINITE, vec![]),
            (SIDEKIQ_8, INFINITE, vec![Finding::UnreadableInRuby(one())]),
            (ELIXIR, OF_VERK, vec![]),
            (ELIXIR, STRING_ARGS, vec![]),
            (ELIXIR, FLOAT, vec![Finding::ChangedByElixir(one())]),
            (
                ELIXIR,
                r#"{"class":"A","jid":"1","args":"[]","trace":1}"#,
                vec![Finding::ChangedByElixir(one())],
            ),
        ] {
            assert_eq!(findings(fleet, payload), expected, "{fleet:?} {payload}");
        }
    }

    #[test]
    fn sets_of_our_own_are_read_by_nobody_else() {
        for (set, told) in [
            (JobSet::Schedule, false),
            (JobSet::Retry, false),
            (JobSet::Dead, true),
        ] {
            let found = |keys| findings_in(Source::Set(set), SIDEKIQ_7, keys, STRING_ARGS);
            assert_eq!(found(ScheduleKeys::Own).len(), usize::from(told), "{set:?}");
            assert_eq!(found(ScheduleKeys::Shared).len(), 1, "{set:?}");
        }
    }

    #[test]
    fn what_cannot_run_is_told_except_where_it_belongs() {
        let no_queue = r#"{"class":"A","jid":"1","args":[]}"#;
        let unknown = r#"{"class":"B","jid":"1","queue":"q","args":[]}"#;
        let found = |set, payload| {
            findings_in(
                Source::Set(set),
                Fleet::default(),
                ScheduleKeys::Shared,
                payload,
            )
        };
        let retry = || Source::Set(JobSet::Retry);
        assert_eq!(
            found(JobSet::Retry, no_queue),
            [Finding::NoQueue(jobs(retry(), Some("1")))]
        );
        assert_eq!(
            found(JobSet::Retry, "{"),
            [Finding::Malformed(jobs(retry(), None))]
        );
        let class = "B".to_owned();
        assert_eq!(
            found(JobSet::Retry, unknown),
            [Finding::UnknownClass { class, jobs: 1 }]
        );
        for payload in [no_queue, "{", unknown] {
            assert_eq!(found(JobSet::Dead, payload), [], "{payload}");
        }
        // In a queue it has one, even if its key has another name or none.
        assert_eq!(findings(Fleet::default(), no_queue), []);
    }
}
