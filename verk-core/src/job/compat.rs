//! What other programs make of a job.

use serde_json::Value;

use super::{
    Job,
    decode::{NO_ARGS, check_args, depth_over},
    dialect::VERK_KEYS,
    value::is_float,
};

/// The keys of a job that hold a time.
const TIMES: [&str; 4] = ["created_at", "enqueued_at", "failed_at", "retried_at"];

/// From this integer on, Sidekiq 8 means milliseconds, and no program means seconds.
const FIRST_MILLISECONDS: u64 = 100_000_000_000;

/// How deep Ruby reads JSON.
const RUBY_MAX_DEPTH: usize = 100;

impl Job {
    /// Whether the arguments are missing, or have another form than an array, the only one that
    /// Sidekiq reads.
    pub(crate) fn has_spoiled_args(&self) -> bool {
        !self.get("args").is_some_and(|raw| raw.starts_with('['))
    }

    /// Writes [such](Self::has_spoiled_args) arguments as an array. Everything else stays byte for
    /// byte.
    pub(crate) fn put_args_in_array(&mut self) {
        // A string without an array means no arguments, because `decode` accepts nothing else.
        let string = self.string("args").unwrap_or_default();
        let args = check_args(&string).unwrap_or(NO_ARGS).to_owned();
        self.patch("args", args);
    }

    /// Whether Ruby cannot read the stored payload, or cannot write what it read: it has a number
    /// that no float can represent, half of a surrogate pair, or too many levels.
    pub(crate) fn is_unreadable_in_ruby(&self) -> bool {
        let payload = self.original_json();
        std::str::from_utf8(payload).is_ok_and(|json| depth_over(json, RUBY_MAX_DEPTH))
            || serde_json::from_slice::<Value>(payload).is_err()
    }

    /// Whether a time is a whole number of milliseconds, which Sidekiq before 8 reads as seconds.
    pub(crate) fn has_milliseconds(&self) -> bool {
        self.whole_times().any(|time| time >= FIRST_MILLISECONDS)
    }

    /// Whether a time is a whole number of seconds, which Sidekiq 8 reads as milliseconds.
    pub(crate) fn has_whole_seconds(&self) -> bool {
        self.whole_times().any(|time| time < FIRST_MILLISECONDS)
    }

    fn whole_times(&self) -> impl Iterator<Item = u64> {
        let raw = TIMES.iter().filter_map(|key| self.present(key));
        raw.filter_map(|raw| raw.parse().ok())
    }

    /// Whether Elixir's Verk, which moves jobs through cjson and stores only the keys that it
    /// knows, would store another job: one that lacks keys, has rounded times, or `{}` for an empty
    /// array.
    pub(crate) fn is_changed_by_elixir(&self) -> bool {
        let foreign_key = |entry| !VERK_KEYS.iter().any(|key| self.is_key(entry, key));
        let float_time = |key: &&str| self.present(key).is_some_and(is_float);
        self.entries.iter().any(foreign_key)
            || TIMES.iter().any(float_time)
            || self.present("args").is_some_and(|raw| raw.starts_with('['))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(keys: &str) -> Job {
        let payload = format!(r#"{{"class":"A","jid":"1",{keys}}}"#);
        Job::decode(payload.into()).unwrap()
    }

    #[test]
    fn what_ruby_cannot_read_or_write_is_known() {
        let nested = |levels| format!(r#""args":{}{}"#, "[".repeat(levels), "]".repeat(levels));
        for (keys, unreadable) in [
            (
                r#""args":["\ud83d\ude00",1e308,12345678901234567890123]"#,
                false,
            ),
            (r#""args":[1e400]"#, true),
            (r#""args":[],"x":-1e400"#, true),
            (r#""args":["\ud83d"]"#, true),
            (&nested(99), false),
            (&nested(100), true),
        ] {
            assert_eq!(job(keys).is_unreadable_in_ruby(), unreadable, "{keys}");
        }
    }

    #[test]
    fn arguments_are_put_in_an_array_as_they_are() {
        let envelope = r#"[{"job_class":"B","arguments":[1]}]"#;
        let in_string = Value::from(envelope).to_string();
        for (before, after) in [
            (r#"" [1.50, \"a\"] ""#, r#"[1.50, "a"]"#),
            (r#""{}""#, "[]"),
            ("{ }", "[]"),
            ("null", "[]"),
            (in_string.as_str(), envelope),
        ] {
            let payload = |args| {
                format!(
                    r#"{{"class":"Sidekiq::ActiveJob::Wrapper","args":{args},"jid":"1","retry":true}}"#
                )
            };
            let mut job = Job::decode(payload(before).into()).unwrap();
            assert!(job.has_spoiled_args(), "{before}");
            job.put_args_in_array();
            assert_eq!(job.encode(), payload(after));
        }
        let mut without = job(r#""retry":true"#);
        assert!(without.has_spoiled_args());
        without.put_args_in_array();
        assert_eq!(without.encode(), job(r#""retry":true,"args":[]"#).encode());
        assert!(!job(r#""args":[1]"#).has_spoiled_args());
    }
}
