//! In which form this program writes jobs.

use super::*;

#[test]
fn a_new_job_is_written_in_the_form_that_is_configured() {
    let written = |dialect, time_format, edit: fn(&mut Job)| {
        let mut job = Job::new("A.B", "q".parse().unwrap(), r#"[1,"é"]"#.to_owned()).unwrap();
        edit(&mut job);
        job.write_as(Form {
            dialect,
            time_format,
            max_retry_count: 25,
        });
        job.set_created_at(at(1_500_000));
        job.set_enqueued_at(Some(at(2_999_999)));
        encoded(&job).replace(job.jid().as_str(), "1")
    };
    assert_eq!(
        written(Dialect::Sidekiq, TimeFormat::Milliseconds, |_| ()),
        r#"{"retry":true,"queue":"q","args":[1,"é"],"class":"A.B","jid":"1","created_at":1500,"enqueued_at":2999}"#
    );
    // It has Verk's 13 keys, and no `retry`, with which every reader would take it for one of
    // Sidekiq's jobs.
    for time_format in [TimeFormat::Seconds, TimeFormat::Milliseconds] {
        let json = written(Dialect::Verk, time_format, |_| ());
        assert_eq!(
            json,
            r#"{"max_retry_count":25,"queue":"q","args":"[1,\"é\"]","class":"A.B","jid":"1","created_at":1,"enqueued_at":2,"error_message":null,"failed_at":null,"retry_count":0,"error_backtrace":null,"retried_at":null,"finished_at":null}"#
        );
        let mut job = decode(&json).unwrap();
        assert_eq!(job.args(), r#"[1,"é"]"#);
        job.record_failure(&failure("1"), at(3_000_000), &"q".parse().unwrap());
        assert_eq!(job.get("retry_count"), Some("1"));
        assert_eq!(job.get("error_class"), None);
        assert_eq!(job.get("failed_at"), Some("3"));
    }
    let limited = written(Dialect::Verk, TimeFormat::Seconds, |job| {
        job.set_max_retry_count(3);
    });
    assert!(
        limited.starts_with(r#"{"max_retry_count":3,"queue""#),
        "{limited}"
    );
    let never = written(Dialect::Verk, TimeFormat::Seconds, |job| {
        job.set_retry_limit(RetryLimit::Never);
    });
    let never = decode(&never).unwrap();
    assert_eq!(never.get("retry"), None);
    assert_eq!(never.retry_limit(), RetryLimit::Times(0));
    assert!(!never.dead());
}

#[test]
fn a_job_of_another_program_keeps_its_dialect() {
    let form = Form {
        dialect: Dialect::Verk,
        time_format: TimeFormat::Milliseconds,
        max_retry_count: 25,
    };
    let mut of_sidekiq = job("");
    of_sidekiq.write_as(form);
    of_sidekiq.record_failure(&failure("1"), at(1_500_000), &"q".parse().unwrap());
    assert_eq!(of_sidekiq.get("args"), Some("[]"));
    assert_eq!(of_sidekiq.get("retry_count"), Some("0"));
    assert_eq!(of_sidekiq.get("failed_at"), Some("1500"));

    let mut of_verk = decode(r#"{"class":"A","jid":"1","args":"[]","queue":"q"}"#).unwrap();
    of_verk.write_as(Form {
        dialect: Dialect::Sidekiq,
        ..form
    });
    of_verk.record_failure(&failure("1"), at(1_500_000), &"q".parse().unwrap());
    assert_eq!(of_verk.get("args"), Some(r#""[]""#));
    assert_eq!(of_verk.get("failed_at"), Some("1"));
}
