//! The findings of the doctor in a storage with errors, and its repair.

mod periodic;
mod storages;
mod unique;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use verk::{
    Verk,
    config::{Dialect, ScheduleKeys, TimeFormat},
    doctor::{Conversion, Finding, Report, Severity},
    names::NodeId,
    prelude::*,
    redis::{RedisConfig, RedisStorage},
    storage::{Due, Inprogress, JobSet, JobStore, NodeStore, PauseStore, Source, WaitingJob},
};
use verk_testing::{
    Key, MemoryStorage, RedisServer, VirtualClock,
    conformance::{Harness, ScoredJob},
};

use crate::support::{ALL, Fixture, States, payloads};

#[verk::worker(class = "Doctor::Known", queue = "clinic")]
async fn known() {}

const STRING_ARGS: &str = r#"{ "class":"Doctor::Known","args":"[1.50, \"a\"]","jid":"elixir","queue":"clinic","x":12345678901234567890123}"#;
const ARRAY_ARGS: &str = r#"{"class":"Doctor::Known","args":[1.50, "a"],"jid":"elixir","queue":"clinic","x":12345678901234567890123}"#;

/// A server of its own with a Verk that runs the queue `clinic`, not started.
struct Clinic {
    redis: RedisServer,
    verk: Verk,
}

impl Clinic {
    async fn new(schedule_keys: ScheduleKeys) -> Self {
        let redis = RedisServer::start();
        let builder = Verk::builder()
            .redis(RedisConfig::new(redis.url()))
            .schedule_keys(schedule_keys)
            .queue("clinic", 1);
        let verk = States::new().give(builder).build().await.unwrap();
        // So that nothing is wrong at first.
        let clinic = Self { redis, verk };
        clinic.command(&["CONFIG", "SET", "appendonly", "yes"]);
        clinic
    }

    fn command(&self, args: &[&str]) {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let reply = self.redis.command(&args);
        assert!(!matches!(reply, verk_testing::Reply::Error(_)), "{reply:?}");
    }

    fn register_sidekiq(&self, version: &str) {
        let info = format!(r#"{{"version":"{version}"}}"#);
        self.command(&["SADD", "processes", "ruby:1:0f", "gone:2:0f"]);
        self.command(&["HSET", "ruby:1:0f", "info", &info]);
    }

    async fn findings(&self) -> Vec<Finding> {
        self.verk.admin().doctor().examine().await.unwrap().findings
    }

    async fn convert_string_args(&self) -> Conversion {
        let doctor = self.verk.admin().doctor();
        doctor.convert_string_args().await.unwrap()
    }
}

fn names(findings: &[Finding]) -> Vec<String> {
    let name = |finding| serde_json::to_value(finding).unwrap()["finding"].clone();
    let names = findings.iter().map(name);
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_healthy_storage_has_no_findings_and_an_examination_changes_nothing() {
    let clinic = Clinic::new(ScheduleKeys::Shared).await;
    clinic.verk.enqueue(Known::new()).await.unwrap();
    let keys = clinic.redis.command(&[b"DBSIZE"]);
    let report = clinic.verk.admin().doctor().examine().await.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!((report.jobs, report.complete), (1, true));
    assert_eq!(
        format!("{:?}", clinic.redis.command(&[b"DBSIZE"])),
        format!("{keys:?}")
    );
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn a_server_that_loses_jobs_is_found() {
    let clinic = Clinic::new(ScheduleKeys::Shared).await;
    clinic.command(&["CONFIG", "SET", "appendonly", "no"]);
    clinic.command(&["CONFIG", "SET", "maxmemory", "1gb"]);
    clinic.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let findings = clinic.findings().await;
    let policy = "allkeys-lru".to_owned();
    assert_eq!(
        findings,
        [Finding::EvictingServer { policy }, Finding::NotAppendOnly]
    );
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn keys_of_another_type_are_found() {
    let clinic = Clinic::new(ScheduleKeys::Shared).await;
    for key in ["retry", "processes", "paused"] {
        clinic.command(&["SET", key, "broken"]);
    }
    let findings = clinic.findings().await;
    assert_eq!(names(&findings), ["unreadable"; 3]);
    let text = findings[1].to_string();
    assert!(
        text.starts_with("the retry set cannot be read (") && text.contains("WRONGTYPE"),
        "{text}"
    );
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn what_sidekiq_cannot_read_is_found_and_converted_in_place() {
    let clinic = Clinic::new(ScheduleKeys::Shared).await;
    for command in [
        ["RPUSH", "queue:clinic", STRING_ARGS, "not json", ARRAY_ARGS].as_slice(),
        &["SADD", "queues", "clinic"],
        &["ZADD", "retry", "1732387200.123456", STRING_ARGS],
        &["ZADD", "dead", "-1.5", STRING_ARGS],
        &["ZADD", "dead", "2", "not json"],
    ] {
        clinic.command(command);
    }
    assert_eq!(names(&clinic.findings().await), ["malformed"]);

    clinic.register_sidekiq("8.0.9");
    let expected = [
        "string_args",
        "string_args",
        "string_args",
        "malformed",
        "other_movers",
    ];
    assert_eq!(names(&clinic.findings().await), expected);

    let conversion = clinic.convert_string_args().await;
    assert_eq!(
        (conversion.converted, conversion.merged, conversion.gone),
        (3, 0, 0)
    );
    assert!(conversion.complete);
    let storage = clinic.verk.storage();
    let queue = storage
        .list(&Source::Queue("clinic".parse().unwrap()), &ALL.into())
        .await;
    assert_eq!(
        payloads(queue.unwrap().jobs),
        [ARRAY_ARGS, "not json", ARRAY_ARGS]
    );
    for (set, expected) in [
        (JobSet::Retry, vec![(1_732_387_200.123_456, ARRAY_ARGS)]),
        (JobSet::Dead, vec![(-1.5, ARRAY_ARGS), (2.0, "not json")]),
    ] {
        let members = storage
            .list(&Source::Set(set), &ALL.into())
            .await
            .unwrap()
            .jobs;
        let member = |(score, job): (f64, &'static str)| WaitingJob {
            score: Some(score),
            job: Bytes::from(job),
            index: None,
        };
        let expected: Vec<_> = expected.into_iter().map(member).collect();
        assert_eq!(members, expected);
    }
    assert_eq!(
        names(&clinic.findings().await),
        ["malformed", "other_movers"]
    );
    let again = clinic.convert_string_args().await;
    assert_eq!(again.converted, 0);
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn sidekiq_and_elixir_on_one_pair_of_sets_are_an_error_unless_ours_are_our_own() {
    for (schedule_keys, expected, worst) in [
        (
            ScheduleKeys::Shared,
            ["other_movers", "dead_set_cut"].as_slice(),
            Severity::Error,
        ),
        (ScheduleKeys::Own, &["dead_set_cut"], Severity::Notice),
    ] {
        let clinic = Clinic::new(schedule_keys).await;
        clinic.register_sidekiq("7.3.0");
        clinic.command(&["SADD", "verk_nodes", "12345678901234567890"]);
        let report = clinic.verk.admin().doctor().examine().await.unwrap();
        assert_eq!(names(&report.findings), expected);
        assert_eq!(report.worst(), Some(worst));
        clinic.verk.shutdown().await;
    }
}

#[tokio::test]
async fn queues_of_elixir_are_examined_though_nothing_lists_them() {
    let clinic = Clinic::new(ScheduleKeys::Own).await;
    clinic.register_sidekiq("7.3.0");
    clinic.command(&["SADD", "verk_nodes", "12345678901234567890"]);
    clinic.command(&["SADD", "verk:node:12345678901234567890:queues", "elixir"]);
    for queue in ["queue:elixir", "queue:clinic"] {
        clinic.command(&["LPUSH", queue, STRING_ARGS]);
    }
    let found = names(&clinic.findings().await);
    let strings = found.iter().filter(|name| *name == "string_args");
    assert_eq!(strings.count(), 2, "{found:?}");
    let conversion = clinic.convert_string_args().await;
    assert_eq!(conversion.converted, 2);
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn own_schedule_keys_keep_jobs_from_other_movers_and_those_that_were_left_are_found() {
    let clinic = Clinic::new(ScheduleKeys::Own).await;
    let later = Known::new().schedule_in(Duration::from_secs(3600));
    clinic.verk.enqueue(later).await.unwrap();
    let len = |key: &str| {
        let reply = clinic.redis.command(&["ZCARD", key]);
        reply.as_integer()
    };
    assert_eq!((len("verk:schedule"), len("schedule")), (Some(1), Some(0)));
    assert_eq!(clinic.verk.admin().stats().await.unwrap().scheduled, 1);
    assert_eq!(clinic.findings().await, []);

    // As a node with the other setting sees it.
    let shared = Verk::builder().redis(clinic.redis.url().as_str()).build();
    let shared = shared.await.unwrap();
    let report = shared.admin().doctor().examine().await.unwrap();
    assert_eq!(report.findings, [Finding::JobsElsewhere { jobs: 1 }]);

    // Sidekiq moves what it stored itself; without it, no program would.
    clinic.command(&["ZADD", "retry", "1", ARRAY_ARGS]);
    assert_eq!(
        clinic.findings().await,
        [Finding::JobsElsewhere { jobs: 1 }]
    );
    clinic.register_sidekiq("7.3.0");
    assert_eq!(clinic.findings().await, []);
    clinic.verk.shutdown().await;
}

#[tokio::test]
async fn what_counts_is_where_the_storage_keeps_jobs() {
    let redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "appendonly", "yes"]);
    let config = RedisConfig::new(redis.url()).schedule_keys(ScheduleKeys::Own);
    let verk = Verk::builder().redis(config).build().await.unwrap();
    redis.command(&["SADD", "processes", "ruby:1:0f"]);
    redis.command(&["HSET", "ruby:1:0f", "info", "{}"]);
    redis.command(&["ZADD", "verk:retry", "1", STRING_ARGS]);
    let report = verk.admin().doctor().examine().await.unwrap();
    assert_eq!(report.findings, [], "Sidekiq does not see that set");
    redis.command(&["ZADD", "dead", "1", STRING_ARGS]);
    let report = verk.admin().doctor().examine().await.unwrap();
    assert_eq!(names(&report.findings), ["string_args"]);
}

#[tokio::test]
async fn settings_that_others_cannot_read_are_found() {
    let redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "appendonly", "yes"]);
    redis.command(&["SADD", "processes", "ruby:1:0f"]);
    redis.command(&["HSET", "ruby:1:0f", "info", r#"{"version":"7.3.2"}"#]);
    let verk = Verk::builder()
        .redis(redis.url())
        .schedule_keys(ScheduleKeys::Own)
        .dialect(Dialect::Verk)
        .time_format(TimeFormat::Milliseconds)
        .build()
        .await
        .unwrap();
    let report = verk.admin().doctor().examine().await.unwrap();
    assert_eq!(
        report.findings,
        [Finding::VerkDialect, Finding::MillisecondTimes]
    );
    verk.enqueue(Known::new()).await.unwrap();
    let report = verk.admin().doctor().examine().await.unwrap();
    assert_eq!(
        names(&report.findings),
        ["verk_dialect", "string_args", "millisecond_times"]
    );
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_found() {
    let clock = VirtualClock::starting_at(std::time::UNIX_EPOCH);
    let redis = RedisServer::start();
    redis.command(&["CONFIG", "SET", "appendonly", "yes"]);
    let verk = Verk::builder()
        .redis(redis.url())
        .clock(Arc::new(clock))
        .build()
        .await
        .unwrap();
    let report = verk.admin().doctor().examine().await.unwrap();
    let [Finding::ClockSkew { ahead_ms }] = report.findings[..] else {
        panic!("{report}");
    };
    assert!(ahead_ms > 0, "{ahead_ms}");
}

#[tokio::test]
async fn jobs_that_nobody_sees_to_are_found() {
    let storage = MemoryStorage::default();
    let held = |node: &str| Inprogress {
        queue: "clinic".parse().unwrap(),
        node: NodeId::from(node),
    };
    let (dead, foreign) = (held("web.0123456789ab"), held("elixir"));
    let ttl = Duration::from_secs(60);
    let queues = [dead.queue.clone()];
    storage
        .register(&dead.node, &queues, ttl, &Default::default())
        .await
        .unwrap();
    Harness::expire_heartbeat(&storage, &dead.node).await;
    for held in [&dead, &foreign] {
        Harness::add_inprogress(&storage, held, ARRAY_ARGS.into()).await;
    }
    let unknown = r#"{"class":"Doctor::Unknown","args":[],"jid":"1"}"#;
    let due = |job: &'static str| Due {
        at: std::time::UNIX_EPOCH,
        job: job.into(),
    };
    storage.schedule(&[due(unknown)]).await.unwrap();
    let unknown_jobs = [unknown.into(), unknown.into()];
    storage.enqueue(&dead.queue, &unknown_jobs).await.unwrap();
    storage.pause(&dead.queue, &Bytes::new()).await.unwrap();
    let died = ScoredJob {
        score: 0.0,
        job: ARRAY_ARGS.into(),
    };
    Harness::add_member(&storage, JobSet::Dead, died).await;

    let builder = Verk::builder()
        .storage(storage)
        .queue("clinic", 1)
        .max_dead_jobs(1)
        .dead_timeout(Duration::from_secs(60));
    let verk = States::new().give(builder).build().await.unwrap();
    let report = verk.admin().doctor().examine().await.unwrap();
    let class = "Doctor::Unknown".to_owned();
    for finding in [
        Finding::UnknownClass { class, jobs: 2 },
        Finding::DeadSetFull {
            jobs: 1,
            max_dead_jobs: 1,
        },
        Finding::PausedQueue {
            queue: dead.queue,
            jobs: 2,
        },
        Finding::DeadNode {
            node: dead.node,
            jobs: 1,
        },
    ] {
        assert!(report.findings.contains(&finding), "{report}");
    }
    let mut found = names(&report.findings);
    found.sort();
    assert_eq!(
        found,
        [
            "dead_node",
            "dead_set_full",
            "foreign_list",
            "no_queue",
            "paused_queue",
            "unknown_class"
        ]
    );
    let json = serde_json::to_value(&report).unwrap();
    let first = &json["findings"][0];
    assert_eq!(first["severity"], "warning");
    assert_eq!(first["message"], report.findings[0].to_string());
    // A client knows of no worker, but reports everything else.
    let of_client = verk.client().admin().doctor().examine().await.unwrap();
    found.retain(|finding| finding != "unknown_class");
    let mut found_by_client = names(&of_client.findings);
    found_by_client.sort();
    assert_eq!(found_by_client, found);
    verk.shutdown().await;
}

#[tokio::test]
async fn a_sample_is_bounded_and_says_so() {
    let fixture = Fixture::new().await;
    let jobs = vec![Bytes::from(ARRAY_ARGS); 150];
    let queue = "clinic".parse().unwrap();
    fixture.storage.enqueue(&queue, &jobs).await.unwrap();
    let examine = async |max_jobs| {
        let doctor = fixture.verk.admin().doctor().max_jobs(max_jobs);
        let Report { jobs, complete, .. } = doctor.examine().await.unwrap();
        (jobs, complete)
    };
    assert_eq!(examine(0).await, (0, false));
    assert_eq!(examine(149).await, (149, false));
    assert_eq!(examine(150).await, (150, true));
}

#[tokio::test]
async fn a_storage_that_is_gone_is_an_error_and_a_broken_place_is_not() {
    let fixture = Fixture::new().await;
    let faults = fixture.storage.faults();
    faults.break_key(Key::Set(JobSet::Retry));
    let report = fixture.verk.admin().doctor().examine().await.unwrap();
    assert_eq!(names(&report.findings), ["unreadable"]);
    assert!(!report.complete);
    fixture
        .verk
        .admin()
        .doctor()
        .convert_string_args()
        .await
        .unwrap_err();
    faults.set_refusing(true);
    fixture.verk.admin().doctor().examine().await.unwrap_err();
    faults.set_refusing(false);
}

#[tokio::test]
async fn a_storage_without_a_node_has_its_own_schedule_keys() {
    let redis = RedisServer::start();
    let config = RedisConfig::new(redis.url()).schedule_keys(ScheduleKeys::Own);
    let storage = RedisStorage::connect(config).await.unwrap();
    let at = std::time::UNIX_EPOCH;
    let job = Bytes::from(ARRAY_ARGS);
    storage.schedule(&[Due { at, job }]).await.unwrap();
    let len = redis.command(&["ZCARD", "verk:schedule"]).as_integer();
    assert_eq!(len, Some(1));
}
