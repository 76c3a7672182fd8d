//! The tick that made a job: [`Tick`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::job::Job;

/// Why a periodic job runs: the time that it is for. A worker takes it as a parameter.
///
/// A job that was enqueued in another way fails. Take `Option<Tick>` in a worker that also has
/// such jobs.
///
/// ```
/// use verk_core::cron::Tick;
///
/// fn title(tick: &Tick) -> String {
///     format!("{}: {:?}, {} missed", tick.name(), tick.due(), tick.missed())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tick {
    name: String,
    due: SystemTime,
    missed: u64,
}

impl Tick {
    /// A tick of the entry `name`.
    #[must_use]
    pub fn new(name: &str, due: SystemTime, missed: u64) -> Self {
        Self {
            name: name.to_owned(),
            due,
            missed,
        }
    }

    /// The tick that made a job. `None` if it was enqueued in another way.
    #[must_use]
    pub fn of(job: &Job) -> Option<Self> {
        let verk: Verk = serde_json::from_str(job.get("verk")?).ok()?;
        let Wire { n, d, m } = verk.c?;
        Some(Self {
            name: n,
            due: d.time()?,
            missed: m,
        })
    }

    /// The JSON that a job has of it, as the value of `c` in its key `verk`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let since = self.due.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wire = Wire {
            n: self.name.clone(),
            d: Due::Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
            m: self.missed,
        };
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// The time that the job is for. It is later now: by the splay, and by as long as the job
    /// waited.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        self.due
    }

    /// How many ticks before this one no node was there for, and no job was made of.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The name of the entry: the class, unless the worker has another one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The key `verk` of a job.
#[derive(Deserialize)]
struct Verk {
    #[serde(default)]
    c: Option<Wire>,
}

#[derive(Deserialize, Serialize)]
struct Wire {
    n: String,
    d: Due,
    #[serde(default)]
    m: u64,
}

/// A time: whole microseconds, or seconds with a fraction.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Due {
    Micros(u64),
    Seconds(f64),
}

impl Due {
    fn time(self) -> Option<SystemTime> {
        let since = match self {
            Self::Micros(micros) => Duration::from_micros(micros),
            Self::Seconds(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        };
        UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(more: &str) -> Job {
        let payload = format!(r#"{{"class":"A","jid":"1","args":[]{more}}}"#);
        Job::decode(payload.into()).unwrap()
    }

    #[test]
    fn a_tick_is_read_as_it_was_written() {
        let due = UNIX_EPOCH + Duration::new(1_732_387_200, 123_456_000);
        let tick = Tick::new("a \"daily\" report", due, 3);
        let written = format!(r#","verk":{{"u":"x","c":{}}}"#, tick.to_json());
        assert_eq!(Tick::of(&job(&written)), Some(tick));
    }

    #[test]
    fn a_time_in_seconds_is_read_too() {
        let tick = Tick::of(&job(r#","verk":{"c":{"n":"a","d":1732387200.5}}"#)).unwrap();
        let due = UNIX_EPOCH + Duration::new(1_732_387_200, 500_000_000);
        assert_eq!((tick.due(), tick.missed(), tick.name()), (due, 0, "a"));
    }

    #[test]
    fn other_jobs_have_no_tick() {
        for more in [
            "",
            r#","verk":{}"#,
            r#","verk":null"#,
            r#","verk":{"c":7}"#,
            r#","verk":{"c":{"n":"a"}}"#,
            r#","verk":{"c":{"n":"a","d":-1.5}}"#,
            r#","verk":{"c":{"n":"a","d":1e300}}"#,
            r#","verk":{"c":{"n":"a","d":"today"}}"#,
        ] {
            assert_eq!(Tick::of(&job(more)), None, "{more}");
        }
    }
}
