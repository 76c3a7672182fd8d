//! Jobs of Rails' `ActiveJob`: the real job is in an envelope, which is the one argument of a
//! wrapper class.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The classes with which Sidekiq runs envelopes: that of Sidekiq since 8.0, and that of Rails and
/// of Sidekiq before.
const WRAPPERS: [&str; 2] = [
    "Sidekiq::ActiveJob::Wrapper",
    "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
];

/// The part of an envelope that names the job to run.
#[derive(Deserialize)]
struct JobData<'a> {
    #[serde(borrow)]
    job_class: Cow<'a, str>,
    #[serde(borrow)]
    arguments: &'a RawValue,
}

/// The class and the arguments within the envelope, if `args`, the text of an array, has one.
#[inline]
pub(super) fn open<'a>(class: &str, args: &'a str) -> Option<(Cow<'a, str>, &'a str)> {
    if !WRAPPERS.contains(&class) {
        return None;
    }
    read(args)
}

fn read(args: &str) -> Option<(Cow<'_, str>, &str)> {
    let args: Vec<&RawValue> = serde_json::from_str(args).ok()?;
    let JobData {
        job_class,
        arguments,
    } = serde_json::from_str(args.first()?.get()).ok()?;
    let is_job = !job_class.is_empty() && arguments.get().starts_with('[');
    is_job.then(|| (job_class, arguments.get()))
}
