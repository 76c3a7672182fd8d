//! What an entry is: [`Definition`], as the storage has it, and the job of a run.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hmac_sha256::Hash;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;
use verk_cron::{InvalidSchedule, Schedule};

use crate::{
    config::Config,
    effects::{self, Claim, unique::Unique},
    job::{Job, MalformedJob},
    names::{Jid, QueueName},
    storage::{Conflict, CronPush, Due, LockedJob, OnceJob},
    time::clock::{from_unix_seconds, time_after, unix_seconds},
    timetable::{
        periodic::{CatchUp, Overlap},
        tick::Tick,
    },
};

/// What an entry is: when it is due, what it enqueues, and what happens if it cannot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Definition {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tz: Option<String>,
    /// Whole seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    every: Option<u64>,
    #[serde(default)]
    pub(crate) overlap: Overlap,
    #[serde(default)]
    pub(crate) catch_up: CatchUp,
    #[serde(with = "seconds")]
    pub(crate) within: Duration,
    #[serde(with = "seconds", default)]
    pub(crate) splay: Duration,
    /// What a run does if another job has the lock of a unique class, which is in the job. Such a
    /// class has no other lock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unique: Option<Conflict>,
    /// How long the job waits in the `schedule` set, if its class is debounced.
    #[serde(with = "seconds", skip_serializing_if = "Duration::is_zero", default)]
    debounce: Duration,
    pub(crate) origin: Origin,
    /// What a period counts from. It is no part of the hash, so that all nodes declare the same.
    #[serde(with = "time")]
    pub(crate) anchor: SystemTime,
    /// The job, with the jid [`NO_JID`] and without times.
    job: Box<RawValue>,
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A worker of the program declares it.
    Static,
    /// A program stored it while it ran.
    Dynamic,
}

/// Why an entry cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Damaged {
    #[error("its definition is lost, or of another version")]
    Unreadable,
    #[error(transparent)]
    Schedule(#[from] InvalidSchedule),
    #[error("its job is malformed: {0}")]
    Job(#[from] MalformedJob),
    #[error("its job has no queue")]
    NoQueue,
    #[error(
        "`catch_up` \"all\" needs `overlap` \"allow\" and a class that is not unique: only the first of \
         several jobs would be stored"
    )]
    AllButOneSkipped,
}

/// The policies of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policies {
    pub(crate) overlap: Overlap,
    pub(crate) catch_up: CatchUp,
    pub(crate) within: Duration,
    pub(crate) splay: Duration,
}

/// The jid of a job that was not enqueued yet.
const NO_JID: &str = "0";

impl Definition {
    pub(crate) fn new(
        schedule: &Schedule,
        policies: Policies,
        origin: Origin,
        anchor: SystemTime,
        mut job: Job,
        unique: Option<&Unique>,
    ) -> Result<Self, Damaged> {
        let queue = job.queue().ok_or(Damaged::NoQueue)?;
        let claim = unique.map(|unique| Claim::new(unique, job.class(), queue, job.args()));
        if policies.catch_up == CatchUp::All
            && (policies.overlap != Overlap::Allow || unique.is_some())
        {
            return Err(Damaged::AllButOneSkipped);
        }
        if let Some(claim) = claim {
            claim.put(&mut job);
        }
        job.set_jid(Jid::from(NO_JID));
        let json = String::from_utf8(job.encode().into()).map_err(|_| Damaged::Unreadable)?;
        let mut definition = Self {
            cron: schedule.expression().map(str::to_owned),
            tz: schedule.zone().map(str::to_owned),
            every: schedule.period().map(|period| period.as_secs()),
            overlap: policies.overlap,
            catch_up: policies.catch_up,
            within: policies.within,
            splay: policies.splay,
            unique: unique.map(effects::conflict),
            debounce: (unique.and_then(|unique| unique.debounce)).unwrap_or_default(),
            origin,
            anchor,
            job: RawValue::from_string(json).map_err(|_| Damaged::Unreadable)?,
        };
        definition.count_from(anchor);
        Ok(definition)
    }

    /// Lets its periods count from this second. They are whole seconds, and so are due times then.
    pub(crate) fn count_from(&mut self, anchor: SystemTime) {
        self.anchor = from_unix_seconds(unix_seconds(anchor).floor());
    }

    pub(crate) fn decode(stored: &[u8]) -> Result<Self, Damaged> {
        serde_json::from_slice(stored).map_err(|_| Damaged::Unreadable)
    }

    pub(crate) fn encode(&self) -> Bytes {
        // Every field has a JSON form.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// 16 hex digits, the same for two entries that are the same.
    pub(crate) fn hash(&self) -> String {
        let without_anchor = Self {
            anchor: SystemTime::UNIX_EPOCH,
            ..self.clone()
        };
        let hash = Hash::hash(&without_anchor.encode());
        hex(&hash[..8])
    }

    /// Whether both are due at the same times, if they count from the same moment.
    pub(crate) fn has_schedule_of(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.cron.clone(), it.tz.clone(), it.every);
        parts(self) == parts(other)
    }

    /// When it is due.
    pub(crate) fn schedule(&self) -> Result<Schedule, Damaged> {
        if let Some(seconds) = self.every {
            return Ok(Schedule::every(Duration::from_secs(seconds))?);
        }
        let (Some(cron), Some(zone)) = (&self.cron, &self.tz) else {
            return Err(Damaged::Unreadable);
        };
        Ok(PARSED.get(cron, zone)?)
    }

    /// The job that each run enqueues, without an id of its own.
    pub(crate) fn job(&self) -> Result<Job, Damaged> {
        let job = Job::decode(self.job.get().to_owned().into())?;
        match job.queue() {
            Some(_) => Ok(job),
            None => Err(Damaged::NoQueue),
        }
    }

    /// The queue of that job; `None` if it cannot be read.
    pub(crate) fn queue(&self) -> Option<QueueName> {
        self.job().ok()?.queue().cloned()
    }

    /// Whether its class is unique.
    pub(crate) fn is_unique(&self) -> bool {
        self.unique.is_some()
    }

    /// Whether a run may skip its job because of another one.
    pub(crate) fn has_lock(&self) -> bool {
        self.is_unique() || self.overlap != Overlap::Allow
    }

    /// The job of a run, and how it is stored at `now`.
    pub(crate) fn run(
        &self,
        jid: Jid,
        tick: &Tick,
        now: SystemTime,
        config: &Config,
    ) -> Result<(OnceJob, Job), Damaged> {
        let mut job = self.job()?;
        let queue = job.queue().cloned().ok_or(Damaged::NoQueue)?;
        job.set_jid(jid);
        job.set_in_verk("c", Some(tick.to_json()));
        let lock = match (self.unique, self.overlap) {
            (Some(conflict), _) => Claim::of(&job).map(|claim| (claim, conflict)),
            (None, Overlap::Allow) => None,
            (None, Overlap::Skip) => Some((Claim::of_entry(tick.name()), Conflict::Skip)),
            (None, Overlap::QueueOne) => Some((Claim::of_entry(tick.name()), Conflict::QueueOne)),
        };
        if let Some((claim, _)) = &lock {
            claim.put(&mut job);
        }
        job.write_as(config.form());
        let spread = spread(job.jid(), self.splay);
        let at = time_after(tick.due(), spread).max(time_after(now, self.debounce));
        let at = (at > now && !(spread + self.debounce).is_zero()).then_some(at);
        if at.is_some() {
            job.set_created_at(now);
            job.set_enqueued_at(None);
        } else {
            job.set_enqueued_now(now);
        }
        let payload = job.encode();
        let push = match (lock, at) {
            (Some((claim, on_conflict)), at) => OnceJob::Locked(LockedJob {
                lock: claim.of_job(&job, &queue),
                job: payload,
                at,
                class: job.class().to_owned(),
                lasts: claim.lasts(),
                on_conflict,
            }),
            (None, Some(at)) => OnceJob::Free(CronPush::Later(Due { at, job: payload })),
            (None, None) => OnceJob::Free(CronPush::Queue {
                queue,
                job: payload,
            }),
        };
        Ok((push, job))
    }
}

/// The id of the job of a run: 24 hex digits, the same on each node that takes the run.
pub(crate) fn jid_of(name: &str, due: SystemTime) -> Jid {
    let micros = due
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    // A name has no line feed.
    let hash = Hash::hash(format!("{name}\n{micros}").as_bytes());
    Jid::from(hex(&hash[..12]))
}

/// By how much a job is delayed: the same on each node.
fn spread(jid: &Jid, splay: Duration) -> Duration {
    let most = u64::try_from(splay.as_millis()).unwrap_or(u64::MAX);
    let digits = jid.as_str().get(..16).unwrap_or_default();
    let number = u64::from_str_radix(digits, 16).unwrap_or_default();
    Duration::from_millis(number % most.saturating_add(1))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Schedules that were parsed before: a tick every second does not read the zone each time.
#[derive(Default)]
struct Parsed(Mutex<Vec<(String, String, Schedule)>>);

static PARSED: LazyLock<Parsed> = LazyLock::new(Parsed::default);

impl Parsed {
    /// How many are kept.
    const MOST: usize = 256;

    fn get(&self, cron: &str, zone: &str) -> Result<Schedule, InvalidSchedule> {
        let find = |known: &[(String, String, Schedule)]| {
            let mut known = known.iter();
            known
                .find(|(text, of, _)| text == cron && of == zone)
                .map(|(_, _, schedule)| schedule.clone())
        };
        if let Some(schedule) = find(&self.0.lock()) {
            return Ok(schedule);
        }
        let schedule = Schedule::cron(cron, zone)?;
        let mut known = self.0.lock();
        if known.len() == Self::MOST {
            known.remove(0);
        }
        known.push((cron.to_owned(), zone.to_owned(), schedule.clone()));
        Ok(schedule)
    }
}

/// A duration as float seconds.
mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(it.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
    }
}

/// A time as float seconds since 1970.
mod time {
    use super::{
        Deserialize, Deserializer, Serializer, SystemTime, from_unix_seconds, unix_seconds,
    };

    pub(super) fn serialize<S: Serializer>(it: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(unix_seconds(*it))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        f64::deserialize(from).map(from_unix_seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    pub(crate) fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn definition(seconds: u64, splay: Duration) -> Definition {
        let mut job = Job::new("Report", "reports".parse().unwrap(), "[1.50]".to_owned()).unwrap();
        job.set_verk(r#"{"u":"x"}"#);
        let policies = Policies {
            overlap: Overlap::Allow,
            catch_up: CatchUp::Last,
            within: Duration::from_secs(3_600),
            splay,
        };
        let schedule = Schedule::cron("0 7 * * *", "Europe/Berlin").unwrap();
        Definition::new(&schedule, policies, Origin::Static, at(seconds), job, None).unwrap()
    }

    #[test]
    fn a_definition_is_read_as_it_was_written() {
        let written = definition(1_700_000_000, Duration::from_millis(1_500));
        let read = Definition::decode(&written.encode()).unwrap();
        assert_eq!(read.encode(), written.encode());
        assert_eq!(read.splay, Duration::from_millis(1_500));
        assert_eq!(read.anchor, at(1_700_000_000));
        assert_eq!(read.job().unwrap().args(), "[1.50]");
        let schedule = read.schedule().unwrap();
        assert_eq!(schedule.zone(), Some("Europe/Berlin"));
    }

    #[test]
    fn the_hash_says_what_is_the_same() {
        let one = definition(1, Duration::ZERO);
        assert_eq!(one.hash(), definition(2, Duration::ZERO).hash());
        assert_ne!(one.hash(), definition(1, Duration::from_secs(1)).hash());
        assert_eq!(one.hash().len(), 16);
    }

    #[test]
    fn what_is_no_definition_is_damaged() {
        for stored in ["", "{}", "null", "[]", "broken"] {
            let read = Definition::decode(stored.as_bytes());
            assert_eq!(read.err(), Some(Damaged::Unreadable), "{stored}");
        }
    }

    #[test]
    fn a_run_has_its_tick_and_the_same_id_everywhere() {
        let tick = Tick::new("daily", at(86_400), 2);
        let jid = jid_of("daily", tick.due());
        assert_ne!(jid, jid_of("daily", at(86_401)));
        assert_ne!(jid, jid_of("dail", at(86_400)));
        let definition = definition(0, Duration::ZERO);
        let config = Config::default();
        let run = definition.run(jid.clone(), &tick, at(86_401), &config);
        let (push, job) = run.unwrap();
        let OnceJob::Free(CronPush::Queue { queue, job: stored }) = push else {
            panic!("{push:?}");
        };
        assert_eq!(queue.as_str(), "reports");
        let read = Job::decode(stored).unwrap();
        assert_eq!((read.jid(), job.jid()), (&jid, &jid));
        assert_eq!(jid.as_str().len(), 24);
        assert_eq!(read.enqueued_at(), Some(at(86_401)));
        assert_eq!(Tick::of(&read), Some(tick));
        assert!(read.get("verk").unwrap().contains(r#""u":"x""#));
    }

    #[test]
    fn a_splay_delays_by_the_same_time_everywhere() {
        let splay = Duration::from_secs(60);
        let definition = definition(0, splay);
        let config = Config::default();
        let mut delays = std::collections::BTreeSet::new();
        for day in 1..50 {
            let due = at(day * 86_400);
            let tick = Tick::new("daily", due, 0);
            let run = || definition.run(jid_of("daily", due), &tick, due, &config);
            let (push, _) = run().unwrap();
            let OnceJob::Free(CronPush::Later(later)) = push else {
                continue;
            };
            assert_eq!(
                run().unwrap().0,
                OnceJob::Free(CronPush::Later(later.clone()))
            );
            let delay = later.at.duration_since(due).unwrap();
            assert!(delay <= splay, "{delay:?}");
            delays.insert(delay);
            // After that time, it is enqueued at once.
            let late = definition.run(jid_of("daily", due), &tick, due + splay, &config);
            assert!(matches!(
                late.unwrap().0,
                OnceJob::Free(CronPush::Queue { .. })
            ));
        }
        assert!(delays.len() > 20, "{}", delays.len());
    }
}
