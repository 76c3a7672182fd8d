//! Statistics and processes, as Sidekiq Web reads them.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use verk_core::{
    error::Applied,
    storage::{
        Counts, ExecutionCounts, ExecutionStep, Executions, Minute, NodeStore, ProcessReport,
        ProcessSignal, ProcessStore, Server, ServerRole, StatsReport, StatsStore,
    },
};
use verk_testing::{RedisServer, Reply};

use crate::{Setup, chain, text};

fn report(succeeded: u64) -> StatsReport {
    let counts = Counts {
        succeeded,
        failed: 1,
    };
    StatsReport {
        days: [("2025-01-31".parse().unwrap(), counts)].into(),
        queues: [("default".parse().unwrap(), counts)].into(),
        executions: Default::default(),
    }
}

fn strings(server: &RedisServer) -> Vec<(String, String)> {
    let keys = server.command(&["KEYS", "stat:*"]).into_array().unwrap();
    let mut strings: Vec<_> = keys
        .into_iter()
        .map(text)
        .map(|key| (key.clone(), text(server.command(&["GET", &key]))))
        .collect();
    strings.sort();
    strings
}

#[tokio::test]
async fn of_the_statistics_totals_stay_days_and_numbers_expire() {
    let Setup {
        server,
        storage,
        held,
        ..
    } = Setup::start().await;
    assert!(
        storage
            .record_stats(&held.node, 1, &report(2))
            .await
            .unwrap()
    );
    let expected = [
        ("stat:failed", "1"),
        ("stat:failed:2025-01-31", "1"),
        ("stat:failed:default", "1"),
        ("stat:processed", "3"),
        ("stat:processed:2025-01-31", "3"),
        ("stat:processed:default", "2"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(strings(&server), expected);

    let number = format!("verk:node:{}:stats", held.node);
    let ttl = |key: &str| server.command(&["TTL", key]).as_integer().unwrap();
    for (key, seconds) in [
        ("stat:processed:2025-01-31", 5 * 365 * 86_400),
        ("stat:failed:2025-01-31", 5 * 365 * 86_400),
        (&number, 86_400),
    ] {
        assert!((seconds - 600..=seconds).contains(&ttl(key)), "{key}");
    }
    for key in ["stat:processed", "stat:failed", "stat:processed:default"] {
        assert_eq!(ttl(key), -1, "{key}");
    }
    assert!(storage.deregister(&held.node).await.unwrap());
    assert_eq!(ttl(&number), -2);
}

#[tokio::test]
async fn a_counter_that_is_no_number_is_named_and_nothing_is_added() {
    let Setup {
        server,
        storage,
        held,
        ..
    } = Setup::start().await;
    for value in ["1.5", "", "many", "01", "-0", "9999999999999999999", " 1"] {
        server.command(&["SET", "stat:processed:default", value]);
        let before = strings(&server);
        let refused = storage.record_stats(&held.node, 1, &report(1)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.applied(), Applied::NotApplied, "{value:?}");
        let shown = chain(&refused);
        assert!(shown.contains("stat:processed:default"), "{shown}");
        assert_eq!(strings(&server), before, "{value:?}");
    }
    server.command(&["SET", "stat:processed:default", "-5"]);
    let too_many = storage
        .record_stats(&held.node, 1, &report(u64::MAX / 2))
        .await;
    assert_eq!(too_many.unwrap_err().applied(), Applied::NotApplied);
    assert_eq!(strings(&server).len(), 1);
    assert!(
        storage
            .record_stats(&held.node, 1, &report(7))
            .await
            .unwrap()
    );
    let value = text(server.command(&["GET", "stat:processed:default"]));
    assert_eq!(value, "2");
}

/// A hash as its fields and values, in order.
fn hash(server: &RedisServer, key: &str) -> Vec<String> {
    let pairs = server.command(&["HGETALL", key]).into_array().unwrap();
    pairs.into_iter().map(text).collect()
}

#[tokio::test]
async fn a_process_is_written_as_sidekiq_writes_its_own() {
    const ID: &str = "web:1:0123456789ab";
    let Setup {
        server, storage, ..
    } = Setup::start().await;
    let mut report = ProcessReport {
        identity: ID.into(),
        info: "{}".into(),
        concurrency: 25,
        busy: 1,
        quiet: false,
        beat: UNIX_EPOCH + Duration::from_micros(1_795_465_676_432_571),
        rss: 27_424,
        rtt: Duration::from_micros(256),
        work: [("os9".to_owned(), Bytes::from(r#"{"queue":"default"}"#))].into(),
        sidekiq_6_work: true,
    };
    storage.report_process(&report).await.unwrap();

    let processes = server.command(&["SMEMBERS", "processes"]);
    assert_eq!(text(processes.into_array().unwrap().remove(0)), ID);
    #[rustfmt::skip]
    let fields = [
        "info", "{}", "concurrency", "25", "busy", "1", "beat", "1795465676.432571",
        "quiet", "false", "rss", "27424", "rtt_us", "256",
    ];
    assert_eq!(hash(&server, ID), fields);
    let ttl = |key: &str| server.command(&["TTL", key]).as_integer().unwrap();
    let work = format!("{ID}:work");
    let workers = format!("{ID}:workers");
    for key in [&work, &workers] {
        assert_eq!(hash(&server, key), ["os9", r#"{"queue":"default"}"#]);
    }
    for key in [ID, &work, &workers] {
        assert!((50..=60).contains(&ttl(key)), "{key}");
    }

    // Only what is new in Sidekiq is written unless it is asked for.
    server.command(&["DEL", &workers]);
    report.sidekiq_6_work = false;
    storage.report_process(&report).await.unwrap();
    assert_eq!(hash(&server, &workers), [""; 0]);

    for (signal, name) in [
        (ProcessSignal::Quiet, "TSTP"),
        (ProcessSignal::Stop, "TERM"),
        (ProcessSignal::Dump, "TTIN"),
    ] {
        assert!(storage.signal_process(ID, signal).await.unwrap());
        let key = format!("{ID}-signals");
        assert!((50..=60).contains(&ttl(&key)));
        assert_eq!(text(server.command(&["RPOP", &key])), name);
        server.command(&["LPUSH", &key, "USR2", name]);
        let taken = storage.report_process(&report).await.unwrap();
        assert_eq!(taken, [signal], "what is not known is passed over");
    }
}

#[tokio::test]
async fn processes_of_sidekiq_are_read() {
    let Setup {
        server, storage, ..
    } = Setup::start().await;
    // As Sidekiq 7.3.10 wrote them, and 6.1, which writes less.
    server.command(&[
        "SADD",
        "processes",
        "vm:31573:50a043cacf17",
        "vm:1:a",
        "gone",
    ]);
    #[rustfmt::skip]
    server.command(&[
        "HSET", "vm:31573:50a043cacf17", "info", "{}", "busy", "1", "beat", "1795465676.4325705",
        "rtt_us", "256", "quiet", "true", "rss", "27424",
    ]);
    server.command(&[
        "HSET",
        "vm:31573:50a043cacf17:work",
        "os9",
        r#"{"run_at":1}"#,
    ]);
    server.command(&["HSET", "vm:1:a", "info", "{}", "busy", "many"]);
    // As Sidekiq 6.4.1 wrote it. The keys of the others have another type.
    server.command(&["HSET", "vm:1:a:workers", "ou8", r#"{"run_at":2}"#]);
    server.command(&["SADD", "processes", "list", "list:of"]);
    server.command(&[&b"SADD"[..], b"processes", b"\xff"]);
    server.command(&["LPUSH", "list", "x"]);
    server.command(&["LPUSH", "list:work", "x"]);

    let processes = storage.processes().await.unwrap();
    let [old, new] = &processes[..] else {
        panic!("{processes:?}");
    };
    assert_eq!((&*old.identity, old.busy, old.quiet), ("vm:1:a", 0, false));
    assert_eq!((new.busy, new.quiet, new.rss), (1, true, 27_424));
    assert_eq!(new.rtt, Duration::from_micros(256));
    let work = storage.work(None, 10).await.unwrap();
    let jobs: Vec<_> = work
        .work
        .iter()
        .map(|shown| (&*shown.thread, &shown.work[..]))
        .collect();
    assert_eq!(
        jobs,
        [
            ("ou8", &br#"{"run_at":2}"#[..]),
            ("os9", br#"{"run_at":1}"#)
        ]
    );
    assert_eq!(work.next, None);
    let signal = storage.signal_process("list", ProcessSignal::Quiet);
    assert!(!signal.await.unwrap(), "it is no process");

    assert_eq!(storage.prune_processes().await.unwrap(), 3);
    server.command(&["SADD", "processes", "gone"]);
    let again = storage.prune_processes().await.unwrap();
    assert_eq!(again, 0, "somebody did so within a minute");
    let lock = server.command(&["TTL", "process_cleanup"]);
    assert!((50..=60).contains(&lock.as_integer().unwrap()));
}

/// The field of a hash as a number.
fn field(server: &RedisServer, key: &str, field: &str) -> i64 {
    let value = text(server.command(&["HGET", key, field]));
    value.parse().unwrap()
}

#[tokio::test]
async fn executions_are_written_as_sidekiq_8_writes_them() {
    let Setup {
        server,
        storage,
        held,
        ..
    } = Setup::start().await;
    let mut report = report(2);
    let mut executions = Executions {
        counts: report.total(),
        took: Duration::from_millis(8_001),
        ..Executions::default()
    };
    executions.histogram[0] = 70_000;
    executions.histogram[15] = 1;
    // 2025-02-14 08:03 UTC.
    let minute = Minute::of(UNIX_EPOCH + Duration::from_secs(1_739_520_180));
    let classes = [("Slow::Job".to_owned(), executions)];
    report.executions = [(minute, classes.into())].into();
    // A value of another program, of another type: totals still count.
    server.command(&["SET", "j|250214|8:0", "broken"]);
    let node = &held.node;
    assert!(storage.record_stats(node, 1, &report).await.unwrap());
    assert_eq!(text(server.command(&["GET", "stat:processed"])), "3");
    assert_eq!(text(server.command(&["GET", "j|250214|8:0"])), "broken");
    server.command(&["DEL", "j|250214|8:0"]);
    assert!(storage.record_stats(node, 2, &report).await.unwrap());

    let ttl = |key: &str| server.command(&["TTL", key]).as_integer().unwrap();
    for (key, times, seconds) in [
        ("j|250214|8:03", 2, 8 * 3_600),
        ("j|250214|8:0", 1, 3 * 86_400),
    ] {
        assert_eq!(hash(&server, key).len(), 6, "{key}");
        assert_eq!(field(&server, key, "Slow::Job|p"), 3 * times);
        assert_eq!(field(&server, key, "Slow::Job|f"), times);
        assert_eq!(field(&server, key, "Slow::Job|ms"), 8_001 * times);
        assert!((seconds - 60..=seconds).contains(&ttl(key)), "{key}");
    }
    let histogram = "h|Slow::Job-14-8:3";
    #[rustfmt::skip]
    let buckets = server.command(&[
        "BITFIELD", histogram, "GET", "u16", "#0", "GET", "u16", "#14", "GET", "u16", "#15",
    ]);
    let buckets = buckets.into_array().unwrap();
    let buckets: Vec<_> = buckets.iter().filter_map(Reply::as_integer).collect();
    assert_eq!(buckets, [65_535, 0, 2], "as many as 16 bits hold");
    assert!((28_740..=28_800).contains(&ttl(histogram)));
}

#[tokio::test]
async fn executions_of_sidekiq_7_and_8_are_read() {
    let Setup {
        server,
        storage,
        held,
        ..
    } = Setup::start().await;
    let minute = |second| Minute::of(UNIX_EPOCH + Duration::from_secs(second));
    // 2026-11-23 20:08 UTC: both histograms have one key. 2026-12-03 02:05 UTC: they have two.
    let (one_key, two_keys) = (minute(1_795_464_480), minute(1_796_263_500));
    #[rustfmt::skip]
    let of_ruby: [&[&str]; 8] = [
        // As Sidekiq 7.3.10 writes them.
        &["HSET", "j|20261123|20:8", "OkJob|ms", "40", "OkJob|p", "4", "FailJob|f", "1", "FailJob|p", "1"],
        &["BITFIELD", "h|OkJob-23-20:8", "OVERFLOW", "SAT", "INCRBY", "u16", "#0", "4"],
        &["HSET", "j|20261203|2:5", "OkJob|ms", "300", "OkJob|p", "3"],
        &["BITFIELD", "h|OkJob-03-02:5", "OVERFLOW", "SAT", "INCRBY", "u16", "#4", "3"],
        // As Sidekiq 8.1.7 does.
        &["HSET", "j|261203|2:05", "OkJob|ms", "700", "OkJob|p", "8", "OkJob|f", "1"],
        &["HSET", "j|261203|2:0", "OkJob|ms", "700", "OkJob|p", "8", "OkJob|f", "1"],
        &["BITFIELD", "h|OkJob-3-2:5", "OVERFLOW", "SAT", "INCRBY", "u16", "#4", "7"],
        // Another program.
        &["SET", "j|261123|20:08", "broken"],
    ];
    for command in of_ruby {
        let reply = server.command(command);
        assert!(!matches!(reply, Reply::Error(_)), "{command:?}: {reply:?}");
    }
    let times = [one_key, two_keys];
    let counts = |succeeded, failed, milliseconds| ExecutionCounts {
        counts: Counts { succeeded, failed },
        took: Duration::from_millis(milliseconds),
    };
    let by_minute = ExecutionStep::Minute;
    let all = storage.executions(by_minute, &times, None).await.unwrap();
    assert_eq!(all[0].classes["OkJob"], counts(4, 0, 40));
    assert_eq!(all[0].classes["FailJob"], counts(0, 1, 0));
    assert_eq!(all[1].classes["OkJob"], counts(10, 1, 1_000), "of both");
    let one = storage.executions(by_minute, &times, Some("OkJob")).await;
    let one = one.unwrap();
    assert_eq!(one[0].classes["OkJob"], counts(4, 0, 40));
    assert_eq!(one[1].classes, all[1].classes);
    let ten = storage.executions(ExecutionStep::TenMinutes, &times, None);
    let ten = ten.await.unwrap();
    assert_eq!(ten[0].classes.len(), 0, "Sidekiq 7 has none");
    assert_eq!(ten[1].classes["OkJob"], counts(7, 1, 700));
    let histograms = storage.histograms("OkJob", &times).await.unwrap();
    assert_eq!((histograms[0][0], histograms[1][4]), (4, 10));

    // What verk itself writes comes on top.
    let mut runs = Executions {
        counts: Counts {
            succeeded: 1,
            failed: 0,
        },
        took: Duration::from_millis(9),
        ..Executions::default()
    };
    runs.histogram[4] = 1;
    let mut report = report(1);
    report.executions = [(two_keys, [("OkJob".to_owned(), runs)].into())].into();
    assert!(storage.record_stats(&held.node, 1, &report).await.unwrap());
    let all = storage.executions(by_minute, &times, None).await.unwrap();
    assert_eq!(all[1].classes["OkJob"], counts(11, 1, 1_009));
    let histograms = storage.histograms("OkJob", &times).await.unwrap();
    assert_eq!(histograms[1][4], 11);
}

#[tokio::test]
async fn a_server_tells_about_itself_what_it_may() {
    let Setup {
        server, storage, ..
    } = Setup::start().await;
    let facts = storage.server_facts().await.unwrap();
    assert!(facts.kind.is_some(), "{facts:?}");
    assert!(facts.version.is_some(), "{facts:?}");
    assert_eq!(facts.role, Some(ServerRole::Primary));
    assert_eq!(facts.replicas, Some(0));
    assert!(
        facts.clients.is_some_and(|clients| clients > 0),
        "{facts:?}"
    );
    assert!(
        facts.memory_used.is_some_and(|bytes| bytes > 0),
        "{facts:?}"
    );
    assert!(facts.memory_peak >= facts.memory_used, "{facts:?}");
    assert_eq!(facts.memory_limit, None, "it has no limit");
    assert!(facts.uptime.is_some() && facts.operations_per_second.is_some());
    assert!(facts.append_only.is_some() && facts.changes_since_snapshot.is_some());

    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let facts = storage.server_facts().await.unwrap();
    assert_eq!(facts.memory_limit, Some(100 * 1024 * 1024));

    // A user who may not ask still gets the rest.
    server.command(&["ZADD", "verk:retry", "1", "a job"]);
    server.command(&["ACL", "SETUSER", "default", "-info"]);
    let facts = storage.server_facts().await.unwrap();
    assert_eq!(facts.elsewhere, 1);
    let told = (&facts.version, facts.role, facts.memory_used, facts.clients);
    assert_eq!(told, (&None, None, None, None));
}
