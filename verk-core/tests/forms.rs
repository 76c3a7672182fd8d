//! Every form of job that Sidekiq 6.4, 7 and 8 and Elixir's Verk send: read, written back, and
//! failed, as bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::value::RawValue;
use verk_core::{
    Job,
    job::{Backtrace, Failure, RetryLimit},
};

/// A line of the golden file; its README says what is in it.
#[derive(Deserialize)]
struct Form {
    form: String,
    source: String,
    payload: String,
    failed: String,
}

fn forms() -> Vec<Form> {
    include_str!("golden/forms.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The job of each source that has this form.
fn each(form: &str) -> Vec<Job> {
    let jobs: Vec<Job> = forms()
        .into_iter()
        .filter(|line| line.form == form)
        .map(|line| Job::decode(line.payload.into()).unwrap())
        .collect();
    assert!(!jobs.is_empty(), "no line has the form {form}");
    jobs
}

/// What every job of this form answers to `ask`.
#[track_caller]
fn all<T: PartialEq + std::fmt::Debug>(form: &str, ask: impl Fn(&Job) -> T, expected: &T) {
    for job in each(form) {
        assert_eq!(&ask(&job), expected, "{form}: {job:?}");
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_800_000_000_250_000)
}

fn fail(job: &mut Job) {
    let failure = Failure {
        error_class: "Oops".to_owned(),
        error_message: "it broke: \"é\"".to_owned(),
        error_backtrace: Vec::new(),
    };
    let fetched_from = job.queue().cloned();
    let fetched_from = fetched_from.unwrap_or_else(|| "fetched".parse().unwrap());
    job.record_failure(&failure, now(), &fetched_from);
}

fn text(job: &Job) -> String {
    String::from_utf8(job.encode().into()).unwrap()
}

#[test]
fn every_form_is_written_back_and_fails_as_the_file_has_it() {
    let mut wrong = Vec::new();
    for Form {
        form,
        source,
        payload,
        failed,
    } in forms()
    {
        let mut job = Job::decode(payload.clone().into()).unwrap();
        assert_eq!(text(&job), payload, "{form} of {source}");
        let args: Vec<&RawValue> = serde_json::from_str(job.args()).unwrap();
        assert!(args.len() < 7, "{form} of {source}");
        let before = job.failures();
        fail(&mut job);
        let again = Job::decode(job.encode()).unwrap();
        assert_eq!(again.failures(), before + 1, "{form} of {source}");
        assert_eq!(text(&again), text(&job));
        if text(&job) != failed {
            wrong.push(format!("{form} of {source}\n{}\n", text(&job)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.concat());
}

#[test]
fn the_options_of_every_form_are_read() {
    all("retry: true", Job::retry_limit, &RetryLimit::Default);
    all("retry: false", Job::retry_limit, &RetryLimit::Never);
    all("retry: n", Job::retry_limit, &RetryLimit::Times(3));
    all("retry: 0", Job::retry_limit, &RetryLimit::Times(0));
    all("dead: false", Job::dead, &false);
    all("backtrace: true", Job::backtrace, &Backtrace::Full);
    all("backtrace: n", Job::backtrace, &Backtrace::Lines(7));
    let tags = vec!["alpha".to_owned(), "über 🥇".to_owned()];
    all("tags", Job::tags, &tags);
    let slow = Some("slow".parse().unwrap());
    all("retry_queue", Job::retry_queue, &slow);
    let two_days = Some(Duration::from_secs(172_800));
    all("retry_for", Job::retry_for, &two_days);
    all("encrypt", Job::is_encrypted, &true);
    all(
        "args, a string",
        |job| job.args().to_owned(),
        &r#"[1,{"a":1.0}]"#.to_owned(),
    );
    all(
        "args, spoiled by cjson",
        |job| job.args().to_owned(),
        &"[]".to_owned(),
    );
    all("retry now, by the Web UI", Job::failures, &1);
    let expires_in = |job: &Job| {
        let expires_at = job.expires_at().unwrap();
        expires_at
            .duration_since(job.enqueued_at().unwrap())
            .unwrap()
    };
    all("expires_in", expires_in, &Duration::from_secs(3600));
    all(
        "expires_in, a float",
        expires_in,
        &Duration::from_millis(500),
    );
    for form in ["retry: true", "args, a string"] {
        all(form, Job::expires_at, &None);
        all(form, Job::retry_for, &None);
        all(form, Job::is_encrypted, &false);
    }
}

#[test]
fn a_job_of_active_job_is_the_one_in_its_envelope() {
    let arguments =
        r#"["ada",{"_aj_globalid":"gid://shop/User/1"},{"deep":1.0,"_aj_symbol_keys":["deep"]}]"#;
    for form in [
        "ActiveJob",
        "ActiveJob without wrapped",
        "ActiveJob with sidekiq_options",
    ] {
        let class_and_args = |job: &Job| (job.class().to_owned(), job.args().to_owned());
        let expected = ("Mailers::WelcomeJob".to_owned(), arguments.to_owned());
        all(form, class_and_args, &expected);
    }
    let [.., job] = &each("ActiveJob")[..] else {
        panic!("three versions");
    };
    assert_eq!(job.get("class"), Some(r#""Sidekiq::ActiveJob::Wrapper""#));
    assert!(job.get("args").unwrap().contains("job_id"));

    // The class of another program, whatever its arguments look like; and wrappers around nothing.
    for (class, args) in [
        ("A", r#"[{"job_class":"B","arguments":[]}]"#),
        ("Sidekiq::ActiveJob::Wrapper", "[]"),
        ("Sidekiq::ActiveJob::Wrapper", "[1]"),
        ("Sidekiq::ActiveJob::Wrapper", r#"[{"job_class":"B"}]"#),
        (
            "Sidekiq::ActiveJob::Wrapper",
            r#"[{"job_class":"B","arguments":{}}]"#,
        ),
        (
            "Sidekiq::ActiveJob::Wrapper",
            r#"[{"job_class":"","arguments":[]}]"#,
        ),
    ] {
        let payload = format!(r#"{{"class":"{class}","wrapped":"B","jid":"1","args":{args}}}"#);
        let job = Job::decode(payload.into()).unwrap();
        assert_eq!((job.class(), job.args()), (class, args));
    }
}

#[test]
fn an_envelope_can_be_made_here() {
    let args = r#"[{"job_class":"Mailers::WelcomeJob","arguments":["ada"]}]"#;
    let class = "Sidekiq::ActiveJob::Wrapper";
    let mut job = Job::new(class, "mailers".parse().unwrap(), args.to_owned()).unwrap();
    job.set("wrapped", "Mailers::WelcomeJob").unwrap();
    assert_eq!(
        (job.class(), job.args()),
        ("Mailers::WelcomeJob", r#"["ada"]"#)
    );
    let expected = format!(
        r#"{{"retry":true,"queue":"mailers","args":{args},"class":"{class}","jid":"{}","wrapped":"Mailers::WelcomeJob"}}"#,
        job.jid()
    );
    assert_eq!(text(&job), expected);
}

#[test]
fn the_options_are_written_as_ruby_reads_them() {
    let mut job = Job::new("A", "q".parse().unwrap(), "[]".to_owned()).unwrap();
    job.set_retry_queue(&"slow".parse().unwrap());
    job.set_retry_for(Duration::from_millis(1_999));
    job.set_max_retry_count(3);
    job.set_retry_limit(RetryLimit::Never);
    job.set("expires_in", &60).unwrap();
    let expected = format!(
        r#"{{"retry":false,"retry_for":1,"queue":"q","retry_queue":"slow","args":[],"class":"A","jid":"{}","expires_in":60}}"#,
        job.jid()
    );
    assert_eq!(text(&job), expected);
    job.set_retry_limit(RetryLimit::Default);
    job.set_retry_for(Duration::MAX);
    assert_eq!(
        (job.get("retry"), job.get("max_retry_count")),
        (Some("true"), None)
    );
    assert_eq!(
        job.get("retry_for"),
        Some("1000000000"),
        "the most that Sidekiq takes"
    );
}
