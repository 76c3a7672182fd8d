mod forms;

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{value::TimeForm, *};

/// A job with the keys that every job needs and `more`.
fn job(more: &str) -> Job {
    decode(&format!(
        r#"{{"class":"A","jid":"1","args":[],"queue":"q"{more}}}"#
    ))
    .unwrap()
}

fn decode(payload: &str) -> Result<Job, MalformedJob> {
    Job::decode(Bytes::copy_from_slice(payload.as_bytes()))
}

fn failure(message: &str) -> Failure {
    Failure {
        error_class: "Oops".to_owned(),
        error_message: message.to_owned(),
        error_backtrace: vec!["a.rs:1".to_owned(), "b.rs:2".to_owned()],
    }
}

fn at(micros: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(micros)
}

fn encoded(job: &Job) -> String {
    String::from_utf8(job.encode().into()).unwrap()
}

#[test]
fn what_is_no_job_is_malformed_and_says_why() {
    let reason = |payload: &str| decode(payload).unwrap_err().to_string();
    assert_eq!(reason(""), "not JSON: it ends too early at line 1 column 0");
    assert_eq!(
        reason("{"),
        "not JSON: it ends too early at line 1 column 1"
    );
    assert_eq!(
        reason("{secret json"),
        "not JSON: bad syntax at line 1 column 2"
    );
    assert_eq!(reason("{} {}"), "not JSON: bad syntax at line 1 column 4");
    assert_eq!(reason("secret"), "not JSON: bad syntax at line 1 column 1");
    for not_an_object in ["123", "\"secret\"", " [{}]", "null"] {
        assert_eq!(reason(not_an_object), "not a JSON object");
    }
    assert_eq!(reason("{}"), "no key `jid`");
    assert_eq!(reason(r#"{"jid":"1"}"#), "no key `class`");
    assert_eq!(reason(r#"{"jid":"1","class":null}"#), "no key `class`");
    assert_eq!(
        reason(r#"{"jid":123,"class":"A"}"#),
        "key `jid` is not a string with at least one character"
    );
    assert_eq!(
        reason(r#"{"jid":"1","class":""}"#),
        "key `class` is not a string with at least one character"
    );
    assert_eq!(
        reason(r#"{"jid":"1","class":"\ud800"}"#),
        "key `class` is not a string with at least one character"
    );
    for args in [
        "1",
        "true",
        r#"{"secret":1}"#,
        r#""secret""#,
        r#""1""#,
        r#""[1""#,
        r#""[1] 2""#,
        r#""""#,
    ] {
        assert_eq!(
            reason(&format!(r#"{{"jid":"1","class":"A","args":{args}}}"#)),
            "key `args` is not an array",
        );
    }
    assert_eq!(
        Job::decode(Bytes::from_static(b"{\"jid\":\"\xff\"}")).unwrap_err(),
        MalformedJob::NotUtf8
    );
}

#[test]
fn args_are_an_array_whatever_their_form() {
    let args = |raw: &str| {
        let payload = format!(r#"{{"class":"A","jid":"1","args":{raw}}}"#);
        let job = decode(&payload).unwrap();
        assert_eq!(encoded(&job), payload);
        job.args().to_owned()
    };
    assert_eq!(args("[ 1, 2 ]"), "[ 1, 2 ]");
    assert_eq!(args(r#""[1,2]""#), "[1,2]");
    assert_eq!(args(r#"" [1,2]\n""#), "[1,2]");
    assert_eq!(args(r#""[\"a\",\"\\u00e9\"]""#), r#"["a","\u00e9"]"#);
    assert_eq!(args("{}"), "[]");
    assert_eq!(args("{ }"), "[]");
    assert_eq!(args(r#""{}""#), "[]");
    assert_eq!(args(r#""[]""#), "[]");
    assert_eq!(args("null"), "[]");
    let none = decode(r#"{"class":"A","jid":"1"}"#).unwrap();
    assert_eq!(none.args(), "[]");
    assert_eq!(none.get("args"), None);
}

#[test]
fn times_are_read_in_three_forms() {
    let time = |raw: &str| job(&format!(r#","created_at":{raw}"#)).created_at();
    assert_eq!(time("1700000000.25"), Some(at(1_700_000_000_250_000)));
    assert_eq!(time("1.70000000025e9"), Some(at(1_700_000_000_250_000)));
    assert_eq!(time("1795465694.412503"), Some(at(1_795_465_694_412_503)));
    assert_eq!(time("1700000000"), Some(at(1_700_000_000_000_000)));
    assert_eq!(time("1700000000250"), Some(at(1_700_000_000_250_000)));
    // The limits: seconds until the year 5138, milliseconds from 1973.
    assert_eq!(time("99999999999"), Some(at(99_999_999_999_000_000)));
    assert_eq!(time("100000000000"), Some(at(100_000_000_000_000)));
    assert_eq!(time("100000000000.0"), Some(at(100_000_000_000_000_000)));
    // Nonsense is clamped, or no time.
    assert_eq!(time("-5"), Some(UNIX_EPOCH));
    assert_eq!(time("1e400"), Some(at(253_402_300_799_000_000)));
    for none in ["null", "true", "\"1700000000\"", "[]", "{}"] {
        assert_eq!(time(none), None);
    }
}

#[test]
fn times_are_written_as_short_floats() {
    let written = |micros| {
        let mut job = job("");
        job.set_created_at(at(micros));
        let text = job.get("created_at").unwrap().to_owned();
        assert_eq!(
            decode(&encoded(&job)).unwrap().created_at(),
            Some(at(micros))
        );
        text
    };
    assert_eq!(written(1_732_387_200_000_000), "1732387200.0");
    assert_eq!(written(1_732_387_200_500_000), "1732387200.5");
    assert_eq!(written(1_732_387_200_000_001), "1732387200.000001");
    assert_eq!(written(1_732_387_200_123_456), "1732387200.123456");
    assert_eq!(written(0), "0.0");
    let written = |form: TimeForm, time| {
        let mut text = String::new();
        form.write(time, &mut text);
        text
    };
    let before_1970 = UNIX_EPOCH - Duration::from_secs(5);
    assert_eq!(written(TimeForm::FloatSeconds, before_1970), "0.0");
    assert_eq!(written(TimeForm::WholeSeconds, at(1_999_999)), "1");
}

#[test]
fn retry_limits() {
    let limit = |more: &str| job(more).retry_limit();
    assert_eq!(limit(""), RetryLimit::Default);
    for default in ["true", "null", "\"3\"", "[]"] {
        assert_eq!(
            limit(&format!(r#","retry":{default}"#)),
            RetryLimit::Default
        );
    }
    assert_eq!(limit(r#","retry":0"#), RetryLimit::Times(0));
    assert_eq!(limit(r#","retry":-1"#), RetryLimit::Times(0));
    assert_eq!(limit(r#","retry":1e400"#), RetryLimit::Times(u32::MAX));
    assert_eq!(limit(r#","retry":false"#), RetryLimit::Never);
    assert_eq!(
        limit(r#","retry":3,"max_retry_count":null"#),
        RetryLimit::Times(3)
    );
    assert_eq!(
        limit(r#","retry":3,"max_retry_count":0"#),
        RetryLimit::Times(0)
    );
    assert_eq!(
        limit(r#","max_retry_count":7,"retry":false"#),
        RetryLimit::Never
    );
}

#[test]
fn a_job_that_is_written_anew_has_a_retry() {
    for (before, after) in [
        ("", r#","retry":true"#),
        (
            r#","max_retry_count":3"#,
            r#","max_retry_count":3,"retry":3"#,
        ),
        (
            r#","max_retry_count":null"#,
            r#","max_retry_count":null,"retry":true"#,
        ),
        (r#","retry":null,"x":1"#, r#","retry":true,"x":1"#),
        (r#","retry":5,"retry":null"#, r#","retry":true"#),
        (r#","retry":null,"retry":5"#, r#","retry":null,"retry":5"#),
        (r#","retry":false"#, r#","retry":false"#),
        (r#","retry":0"#, r#","retry":0"#),
        (r#","retry":"7""#, r#","retry":"7""#),
    ] {
        let mut job = job(before);
        let limit = job.retry_limit();
        assert_eq!(job.encode(), job.original_json(), "nothing changed");
        job.set_enqueued_at(Some(at(2_500_000)));
        let written = decode(&encoded(&job)).unwrap();
        assert_eq!(written.retry_limit(), limit, "{before}");
        let expected = job.original_json().clone();
        let expected = String::from_utf8(expected.into()).unwrap();
        let expected = expected.replace(&format!("{before}}}"), &format!("{after}}}"));
        job.set_enqueued_at(None);
        assert_eq!(encoded(&job), expected, "{before}");
    }
    // A job of Elixir's Verk keeps its dialect: without `retry`.
    let mut of_verk = decode(r#"{"class":"A","jid":"1","args":"[]","queue":"q"}"#).unwrap();
    of_verk.set_enqueued_at(Some(at(2_500_000)));
    assert!(!encoded(&of_verk).contains("retry"));
}

#[test]
fn a_retry_count_below_zero_counts_as_zero() {
    assert_eq!(job(r#","failed_at":1.5,"retry_count":-1"#).failures(), 1);
    assert_eq!(job(r#","failed_at":null,"retry_count":4"#).failures(), 0);
    assert_eq!(job(r#","retry_count":4"#).failures(), 0);
    assert_eq!(job(r#","failed_at":1.5"#).failures(), 1);
    assert_eq!(
        job(r#","failed_at":1.5,"retry_count":1e99"#).failures(),
        u32::MAX
    );
}

#[test]
fn options_of_the_sender() {
    assert!(job("").dead());
    assert!(job(r#","dead":null"#).dead());
    assert!(!job(r#","dead":false"#).dead());
    assert_eq!(job("").backtrace(), Backtrace::Off);
    assert_eq!(job(r#","backtrace":false"#).backtrace(), Backtrace::Off);
    assert_eq!(job(r#","backtrace":true"#).backtrace(), Backtrace::Full);
    assert_eq!(job(r#","backtrace":3"#).backtrace(), Backtrace::Lines(3));
    assert_eq!(job(r#","tags":["a",1,"é\n",null]"#).tags(), ["a", "é\n"]);
    assert!(job(r#","tags":"a""#).tags().is_empty());
    assert_eq!(
        decode(r#"{"class":"A","jid":"1","queue":"a\nb"}"#)
            .unwrap()
            .queue(),
        None
    );
    assert_eq!(
        decode(r#"{"class":"A","jid":"1","queue":null}"#)
            .unwrap()
            .queue(),
        None
    );
}

#[test]
fn of_a_key_that_is_there_twice_the_last_wins_and_both_stay() {
    let payload = r#"{"queue":"a","x":1,"class":"A","jid":"1","queue":"b","x":2}"#;
    let mut job = decode(payload).unwrap();
    assert_eq!(job.queue().unwrap().as_str(), "b");
    assert_eq!(job.get("x"), Some("2"));
    assert_eq!(encoded(&job), payload);

    // A changed key is there once.
    job.set_queue("c".parse().unwrap());
    assert_eq!(
        encoded(&job),
        r#"{"x":1,"class":"A","jid":"1","queue":"c","x":2,"retry":true}"#
    );
    job.set_enqueued_at(None);
    job.set_queue("b".parse().unwrap());
    assert_eq!(job.queue().unwrap().as_str(), "b");
}

#[test]
fn keys_with_escapes_are_found_and_stay_as_they_are() {
    let payload = r#"{"cl\u0061ss":"\u0041","jid":"1","q\u0075eue":"a","\ud800":1,"é\n":2,"r\u0065try":true}"#;
    let mut job = decode(payload).unwrap();
    assert_eq!(job.class(), "A");
    assert_eq!(job.get("class"), Some(r#""\u0041""#));
    assert_eq!(job.get("é\n"), Some("2"));
    assert_eq!(encoded(&job), payload);
    job.set_queue("b".parse().unwrap());
    assert_eq!(encoded(&job), payload.replace(r#":"a""#, r#":"b""#));
}

#[test]
fn what_few_jobs_have_is_found_however_it_is_written() {
    let job = |rest: &str| {
        decode(&format!(
            r#"{{"class":"A","jid":"1","enqueued_at":1{rest}}}"#
        ))
    };
    let none = job("").unwrap();
    assert_eq!((none.expires_at(), none.is_encrypted()), (None, false));
    for rest in [
        r#","expires_in":60,"encrypt":true"#,
        r#","expires\u005fin":60,"\u0065ncrypt":true"#,
    ] {
        let job = job(rest).unwrap();
        assert_eq!(job.expires_at(), Some(at(61_000_000)));
        assert!(job.is_encrypted());
    }
    let mut set = none;
    set.set("expires_in", &60).unwrap();
    set.set("encrypt", &true).unwrap();
    assert_eq!(set.expires_at(), Some(at(61_000_000)));
    assert!(set.is_encrypted());
}

#[test]
fn a_verk_job_that_expires_is_a_verk_job() {
    let payload = r#"{"args":"[]","class":"A","created_at":1,"enqueued_at":1,"error_backtrace":null,"error_message":null,"failed_at":null,"finished_at":null,"jid":"1","max_retry_count":1,"queue":"a","retried_at":null,"retry_count":0,"expires_in":60}"#;
    for payload in [payload.to_owned(), payload.replace(r#""[]""#, "[]")] {
        assert_eq!(decode(&payload).unwrap().dialect, Dialect::Verk);
    }
}

#[test]
fn values_that_did_not_change_keep_their_bytes() {
    let rest = r#""n":[12345678901234567,18446744073709551615,0.1,1e400,-0.0,1.0,1E+2,{"n": {"n":[ ]}}],"s":"\u00e9\/é\ud800","jid":"1","args":[ 1.50,"{\"class\":\"B\"}" ],"retry":true,"class":"A""#;
    let mut job = decode(&format!("\n{{{rest} , \"queue\":\"a\"}} ")).unwrap();
    assert_eq!(encoded(&job), format!("\n{{{rest} , \"queue\":\"a\"}} "));
    job.record_failure(&failure("no"), at(1_500_000), &"a".parse().unwrap());
    let backtrace = job.get("error_backtrace").unwrap();
    assert_eq!(
        encoded(&job),
        format!(
            r#"{{{rest},"queue":"a","error_message":"no","error_class":"Oops","failed_at":1.5,"retry_count":0,"error_backtrace":{backtrace}}}"#
        )
    );
}

#[test]
fn deep_nesting_is_malformed() {
    let payload = |depth: usize| {
        format!(
            r#"{{"class":"A","jid":"1","args":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    let deepest = decode(&payload(decode::MAX_DEPTH - 1)).unwrap();
    serde_json::from_str::<serde_json::Value>(deepest.args()).unwrap();
    serde_json::from_slice::<serde_json::Value>(&deepest.encode()).unwrap();
    for depth in [decode::MAX_DEPTH, 1_000_000] {
        assert_eq!(decode(&payload(depth)).unwrap_err(), MalformedJob::TooDeep);
    }
    assert!(matches!(
        decode(&"{\"a\":".repeat(1_000_000)).unwrap_err(),
        MalformedJob::NotJson { .. }
    ));
    assert!(matches!(
        decode(&"[".repeat(1_000_000)).unwrap_err(),
        MalformedJob::NotJson { .. }
    ));
    // In a string too.
    let args = format!("\"{}{}\"", "[".repeat(200), "]".repeat(200));
    assert_eq!(
        decode(&format!(r#"{{"class":"A","jid":"1","args":{args}}}"#)).unwrap_err(),
        MalformedJob::TooDeep
    );
    // Brackets within strings, or next to each other, are no depth.
    let flat = format!(
        r#"{{"class":"A","jid":"1","args":["{}\"[",{}[]]}}"#,
        "[".repeat(500),
        "[],".repeat(500)
    );
    decode(&flat).unwrap();
}

#[test]
fn a_new_job_is_written_in_the_order_of_sidekiq() {
    let mut job = Job::new("A::B", "q".parse().unwrap(), "[1]".to_owned()).unwrap();
    let jid = job.jid().clone();
    assert_eq!(
        encoded(&job),
        format!(r#"{{"retry":true,"queue":"q","args":[1],"class":"A::B","jid":"{jid}"}}"#)
    );
    job.set_enqueued_at(Some(at(2_500_000)));
    job.set_created_at(at(1_000_000));
    job.set_created_at(at(9_000_000));
    job.set_max_retry_count(0);
    job.set_tags(&["t\"".to_owned()]);
    job.set_dead(true);
    job.set_dead(false);
    assert_eq!(
        encoded(&job),
        format!(
            r#"{{"retry":0,"max_retry_count":0,"queue":"q","dead":false,"tags":["t\""],"args":[1],"class":"A::B","jid":"{jid}","created_at":1.0,"enqueued_at":2.5}}"#
        )
    );
    job.set_enqueued_at(None);
    job.set_tags(&[]);
    assert_eq!(job.enqueued_at(), None);
    assert!(!encoded(&job).contains("enqueued_at"));

    let read = Job::decode(job.encode()).unwrap();
    assert_eq!(read.jid(), &jid);
    assert_eq!(read.class(), "A::B");
    assert_eq!(read.args(), "[1]");
    assert_eq!(read.retry_limit(), RetryLimit::Times(0));
    assert!(!read.dead());
}

#[test]
fn new_jobs_are_checked() {
    let new = |class: &str, args: &str| Job::new(class, "q".parse().unwrap(), args.to_owned());
    assert_eq!(new("", "[]").unwrap_err(), InvalidJob::EmptyClass);
    for args in ["", "1", "{}", "[1", "[1]2", "\"[]\""] {
        assert_eq!(new("A", args).unwrap_err(), InvalidJob::ArgsNotAnArray);
    }
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(new("A", &deep).unwrap_err(), InvalidJob::ArgsTooDeep);
    let deep = &deep[1..deep.len() - 1];
    Job::decode(new("A", deep).unwrap().encode()).unwrap();
}

#[test]
fn failures_go_to_the_retry_queue_and_count_on() {
    let fetched_from = "elsewhere".parse().unwrap();
    let mut moved = job("");
    moved.record_failure(&failure("1"), at(1_000_000), &fetched_from);
    assert_eq!(moved.queue(), Some(&fetched_from), "not the one it names");
    let mut job = job(r#","retry_queue":"slow""#);
    job.record_failure(&failure("1"), at(1_000_000), &fetched_from);
    assert_eq!(job.queue().unwrap().as_str(), "slow");
    assert_eq!(job.get("retry_count"), Some("0"));
    assert_eq!(job.retried_at(), None);
    job.record_failure(&failure("2"), at(2_000_000), &fetched_from);
    assert_eq!(job.get("retry_count"), Some("1"));
    assert_eq!(job.failures(), 2);
    assert_eq!(job.failed_at(), Some(at(1_000_000)));
    assert_eq!(job.retried_at(), Some(at(2_000_000)));
    assert_eq!(job.error_class().unwrap(), "Oops");
    assert_eq!(job.error_message().unwrap(), "2");
    assert_eq!(job.error_backtrace(), ["a.rs:1", "b.rs:2"]);

    // A backtrace never belongs to an earlier error.
    job.record_failure(&Failure::default(), at(3_000_000), &fetched_from);
    assert_eq!(job.get("error_backtrace"), None);

    let mut lost = decode(r#"{"class":"A","jid":"1"}"#).unwrap();
    lost.record_failure(&failure("1"), at(1_000_000), &fetched_from);
    assert_eq!(lost.queue(), Some(&fetched_from));
    assert_eq!(lost.get("queue"), Some(r#""elsewhere""#));
}

#[test]
fn long_messages_are_cut_between_characters() {
    let mut job = job("");
    let fetched_from = "q".parse().unwrap();
    job.record_failure(&failure(&"é".repeat(10_001)), at(0), &fetched_from);
    assert_eq!(job.error_message().unwrap(), "é".repeat(10_000));
    job.record_failure(&failure(&"é".repeat(10_000)), at(0), &fetched_from);
    assert_eq!(job.error_message().unwrap(), "é".repeat(10_000));
}

#[test]
fn backtraces_are_read_in_three_forms() {
    let backtrace = |raw: &str| job(&format!(r#","error_backtrace":{raw}"#)).error_backtrace();
    assert_eq!(backtrace(r#"["a","b\n"]"#), ["a", "b\n"]);
    assert_eq!(
        backtrace(r#""    lib/a.ex:7: A.b/1\n    c\n""#),
        ["lib/a.ex:7: A.b/1", "c"]
    );
    assert_eq!(backtrace(r#""boom""#), ["boom"]);
    assert!(backtrace(r#""\n""#).is_empty());
    assert!(backtrace("null").is_empty());
    assert!(backtrace("7").is_empty());
}

#[test]
fn a_deflate_bomb_is_bounded() {
    use std::io::Write as _;
    let deflate = |json: &str| {
        let level = flate2::Compression::best();
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(json.as_bytes()).unwrap();
        STANDARD.encode(encoder.finish().unwrap())
    };
    let bomb = format!("[\"first\",\"{}\"]", "a".repeat(20 * 1024 * 1024));
    let bomb = deflate(&bomb);
    assert!(bomb.len() < 40_000);
    let job = job(&format!(r#","error_backtrace":"{bomb}""#));
    assert_eq!(job.error_backtrace(), ["first"]);

    // Nesting is no bomb either.
    let deep = deflate(&"[".repeat(1_000_000));
    let payload = format!(r#"{{"class":"A","jid":"1","error_backtrace":"{deep}"}}"#);
    assert!(decode(&payload).unwrap().error_backtrace().is_empty());
}

#[test]
fn debug_never_shows_the_payload() {
    let job = job(r#","args":["secret"],"password":"secret""#);
    assert_eq!(
        format!("{job:?}"),
        r#"Job { jid: Jid("1"), class: "A", queue: Some(QueueName("q")), .. }"#
    );
}

#[test]
fn keys_of_ones_own_come_last_and_are_written_as_json() {
    let mut job = Job::new("A", "q".parse().unwrap(), "[]".to_owned()).unwrap();
    job.set("a \"quoted\" key", &[1.5]).unwrap();
    job.set("tenant", "acme").unwrap();
    job.set("tenant", "other").unwrap();
    job.set_dead(false);
    let json = job.encode();
    let json = std::str::from_utf8(&json).unwrap();
    assert!(
        json.ends_with(r#","a \"quoted\" key":[1.5],"tenant":"other"}"#),
        "{json}"
    );
    let mut read = Job::decode(job.encode()).unwrap();
    assert_eq!(read.get("tenant"), Some(r#""other""#));
    read.set("tenant", &7).unwrap();
    assert_eq!(read.encode(), json.replace(r#""other""#, "7"));

    let before = job.encode();
    assert_eq!(
        job.set("queue", "x"),
        Err(InvalidJob::ReservedKey { key: "queue" })
    );
    let no_json = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert_eq!(job.set("map", &no_json), Err(InvalidJob::ValueNotJson));
    let deep: serde_json::Value =
        serde_json::from_str(&format!("{}{}", "[".repeat(127), "]".repeat(127))).unwrap();
    assert_eq!(job.set("deep", &deep), Err(InvalidJob::ValueTooDeep));
    assert_eq!(job.encode(), before);
}
