//! What other programs make of a job.

use super::{Job, decode::VERK_KEY_NAMES, value::is_float};

/// The keys of a job that hold a time.
const TIMES: [&str; 4] = ["created_at", "enqueued_at", "failed_at", "retried_at"];

/// From this integer on, Sidekiq 8 means milliseconds, and nobody means seconds.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

impl Job {
    /// Whether the arguments are written in another form than an array, the only one that Sidekiq reads.
    pub(crate) fn has_spoiled_args(&self) -> bool {
        self.present("args")
            .is_some_and(|raw| !raw.starts_with('['))
    }

    /// Writes the arguments as an array. All else stays as it is, byte for byte.
    pub(crate) fn put_args_in_array(&mut self) {
        let args = self.args().to_owned();
        self.patch("args", args);
    }

    /// Whether a time is a whole number of milliseconds: Sidekiq before 8 takes it for seconds.
    pub(crate) fn has_milliseconds(&self) -> bool {
        self.whole_times().any(|time| time >= FIRST_MILLISECONDS)
    }

    /// Whether a time is a whole number of seconds: Sidekiq 8 takes it for milliseconds.
    pub(crate) fn has_whole_seconds(&self) -> bool {
        self.whole_times().any(|time| time < FIRST_MILLISECONDS)
    }

    fn whole_times(&self) -> impl Iterator<Item = u64> {
        let raw = TIMES.iter().filter_map(|key| self.present(key));
        raw.filter_map(|raw| raw.parse().ok())
    }

    /// Whether Elixir's Verk, which moves jobs through cjson and stores only the keys that it knows, would store another job: one that
    /// lacks keys, has rounded times, or `{}` for an empty array.
    pub(crate) fn is_changed_by_elixir(&self) -> bool {
        let foreign_key = |entry| !VERK_KEY_NAMES.iter().any(|key| self.is_key(entry, key));
        let float_time = |key: &&str| self.present(key).is_some_and(is_float);
        self.entries.iter().any(foreign_key)
            || TIMES.iter().any(float_time)
            || self.present("args").is_some_and(|raw| raw.starts_with('['))
    }
}
