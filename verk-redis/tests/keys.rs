//! Every key that verk makes is in `docs/wire-format.md`, with what ends it.

use std::{
    collections::BTreeSet,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk_core::{
    Jid,
    cells::Layout,
    config::ScheduleKeys,
    names::NodeId,
    storage::{
        AuditStore, CellStore, Conflict, Counts, CronChange, CronPush, CronStore, CronUpsert,
        DeadLimits, DequeueRequest, Dequeued, Due, DueStore, EffectStore, Executions, Gate,
        Inprogress, JobStore, Lease, LockId, LockRef, Locked, LockedJob, Minute, MovedQueue,
        NameClaim, NodeStore, Once, OnceAnswer, OnceJob, PauseStore, ProcessReport, ProcessSignal,
        ProcessStore, Settled, Settlement, StatsReport, StatsStore, StoredNodeInfo, Target,
    },
};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{RedisServer, Reply};

const LONG: Duration = Duration::from_secs(300);
const PROCESS: &str = "web:1:0123456789ab";

/// A row of the table of keys.
struct Row {
    /// As documented, with its placeholders.
    name: String,
    expires: bool,
    ended_by: String,
}

/// The table of keys in the documentation.
fn documented() -> Vec<Row> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/wire-format.md");
    let page = std::fs::read_to_string(page).unwrap();
    let table = page.split("\n## Redis keys\n").nth(1).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        // A bar that belongs to a name.
        let row = row.replace("\\|", "\u{1}");
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [names, kind, _, _, _, ended_by] = cells[..] else {
            panic!("a row with other cells: {row}");
        };
        let names: Vec<String> = names
            .split(", ")
            .map(|name| name.trim_matches('`').replace('\u{1}', "|"))
            .collect();
        let (expires, ended_by) = (kind.contains("expire"), ended_by.to_owned());
        names.into_iter().map(move |name| Row {
            name,
            expires,
            ended_by: ended_by.clone(),
        })
    })
    .collect()
}

impl Row {
    /// What the key is called in this test.
    fn key(&self, node: &NodeId) -> String {
        let name = self
            .name
            .replace("YYMMDD|H:MM", "250214|8:03")
            .replace("YYMMDD|H:M", "250214|8:0")
            .replace("CLASS-D-H:M", "Job-14-8:3")
            .replace("DAY", "2025-02-14")
            .replace("LOCK", "00000000000000000000000000000001")
            .replace("KEY", "ab")
            .replace("JID", "held")
            .replace("NODE", node.as_str())
            .replace("NAME", node.name());
        let name = match name.strip_prefix("ID") {
            Some(rest) => format!("{PROCESS}{rest}"),
            None => name,
        };
        let words = name.split(':').map(|word| match word {
            "Q" => "default",
            word => word,
        });
        words.collect::<Vec<_>>().join(":")
    }
}

async fn connect(server: &RedisServer, schedule_keys: ScheduleKeys) -> RedisStorage {
    let config = RedisConfig::new(server.url()).schedule_keys(schedule_keys);
    RedisStorage::connect(config).await.unwrap()
}

/// A node that holds jobs, the last of which it prefetched.
async fn holding(storage: &RedisStorage, jobs: &[&'static str]) -> Inprogress {
    let held = Inprogress {
        queue: "default".parse().unwrap(),
        node: NodeId::register("web").unwrap(),
    };
    let queues = std::slice::from_ref(&held.queue);
    let info = StoredNodeInfo {
        version: "verk 0.1.0".to_owned(),
        ..StoredNodeInfo::default()
    };
    let registered = storage.register(&held.node, queues, LONG, &info).await;
    registered.unwrap();
    let payloads = jobs.iter().map(|job| Bytes::from_static(job.as_bytes()));
    let payloads: Vec<Bytes> = payloads.collect();
    storage.enqueue(&held.queue, &payloads).await.unwrap();
    let mut connection = storage.open_queue(&held).await.unwrap();
    let request = DequeueRequest {
        max_jobs: jobs.len(),
        max_bytes: 1024 * 1024,
        prefetched: 1,
        wait: Duration::ZERO,
        interrupt: CancellationToken::new(),
    };
    let fetched = connection.dequeue(request).await.unwrap();
    assert_eq!(fetched, Dequeued::Jobs(payloads));
    held
}

fn settlement(held: &'static str, to: Target) -> Settlement {
    Settlement::new(held.into(), to)
}

fn due(job: &'static str) -> Due {
    Due {
        at: UNIX_EPOCH + Duration::from_secs(4_000_000_000),
        job: job.into(),
    }
}

#[track_caller]
fn assert_done(settled: &[Settled]) {
    let done = |settled: &Settled| matches!(settled, Settled::Done);
    assert!(settled.iter().all(done), "{settled:?}");
}

/// Does all that makes keys. Returns a node that lives and one that died.
async fn make_every_key(server: &RedisServer) -> [NodeId; 2] {
    let storage = connect(server, ScheduleKeys::Shared).await;
    let own = connect(server, ScheduleKeys::Own).await;
    let held = holding(&storage, &["a", "b", "c", "d", "e"]).await;
    let dead = holding(&storage, &["x", "y"]).await;
    server.command(&["DEL", &format!("verk:node:{}", dead.node)]);
    let started = [Jid::from("held")];
    let deaths = storage.count_deaths(&dead.node, &started).await.unwrap();
    assert_eq!(deaths.len(), 1);
    let back = [settlement("x", Target::Requeue)];
    assert_done(&storage.restore(&dead, &back).await);

    let limits = DeadLimits {
        max_jobs: 10,
        timeout: LONG,
    };
    let job = due("buried");
    let settlements = [
        settlement("a", Target::Retry(due("retried"))),
        settlement("b", Target::Schedule(due("snoozed"))),
        settlement("c", Target::Dead { job, limits }),
    ];
    assert_done(&storage.settle(&held, &settlements).await);
    let to = Target::Retry(due("of its own"));
    assert_done(&own.settle(&held, &[settlement("d", to)]).await);
    own.schedule(&[due("of its own")]).await.unwrap();
    storage.pause(&held.queue, &"a note".into()).await.unwrap();

    let lock = LockRef {
        id: LockId::from_bits(1),
        jid: "unique".into(),
        queue: held.queue.clone(),
    };
    let unique = |jid: &str| LockedJob {
        lock: LockRef {
            jid: jid.into(),
            ..lock.clone()
        },
        job: jid.to_owned().into(),
        at: None,
        class: "Sync".to_owned(),
        lasts: Some(LONG),
        on_conflict: Conflict::Skip,
    };
    let stored = storage.enqueue_locked(&[unique("unique")]).await;
    assert!(matches!(stored[..], [Locked::New]), "{stored:?}");
    // Nothing touched the lock for long when the second job meets it.
    let key = format!("verk:unique:{}", lock.id);
    server.command(&["HSET", &key, "touched", "0"]);
    let stored = storage.enqueue_locked(&[unique("next")]).await;
    assert!(
        matches!(stored[..], [Locked::Duplicate { .. }]),
        "{stored:?}"
    );
    let once = Once {
        key: "ab".to_owned(),
        request: "cd".to_owned(),
        jid: "once".into(),
        queue: None,
        lasts: LONG,
    };
    let job = OnceJob::Free(CronPush::Queue {
        queue: held.queue.clone(),
        job: "once".into(),
    });
    let stored = storage.enqueue_once(&once, &job).await;
    assert!(
        matches!(stored, OnceAnswer::First(Locked::New)),
        "{stored:?}"
    );

    let node = &held.node;
    let claimed = storage.claim_name(node, LONG).await.unwrap();
    assert_eq!(claimed, NameClaim::Granted);
    let poll = storage.poll_schedule(node, LONG).await.unwrap();
    assert_eq!(poll.lease, Lease::Granted);

    let counts = Counts {
        succeeded: 1,
        failed: 1,
    };
    let mut executions = Executions {
        counts,
        ..Executions::default()
    };
    executions.histogram[0] = 1;
    // 2025-02-14 08:03 UTC.
    let minute = Minute::of(UNIX_EPOCH + Duration::from_secs(1_739_520_180));
    let report = StatsReport {
        days: [("2025-02-14".parse().unwrap(), counts)].into(),
        queues: [(held.queue.clone(), counts)].into(),
        executions: [(minute, [("Job".to_owned(), executions)].into())].into(),
    };
    assert!(storage.record_stats(node, 1, &report).await.unwrap());
    let report = ProcessReport {
        identity: PROCESS.into(),
        info: "{}".into(),
        concurrency: 1,
        busy: 1,
        quiet: false,
        beat: UNIX_EPOCH,
        rss: 1,
        rtt: Duration::ZERO,
        work: [("e".to_owned(), Bytes::from_static(b"{}"))].into(),
        sidekiq_6_work: true,
    };
    storage.report_process(&report).await.unwrap();
    let signal = storage.signal_process(PROCESS, ProcessSignal::Dump);
    signal.await.unwrap();
    storage.prune_processes().await.unwrap();
    let upsert = CronUpsert {
        seen: None,
        queue: None,
        definition: "{}".into(),
        hash: "0".to_owned(),
        next: Some(UNIX_EPOCH),
        even_if_superseded: false,
    };
    let stored = storage.upsert_cron("entry", &upsert).await.unwrap();
    assert_eq!(stored, CronChange::Done);
    storage.record_action(&"{}".into()).await.unwrap();
    let layout = Layout::new(0, 2).to_string();
    assert_eq!(storage.claim_layout(&layout).await.unwrap(), layout);
    let moved = MovedQueue {
        queue: "moved".parse().unwrap(),
        revision: 1,
        gate: Gate::Closed,
        place: "{}".to_owned(),
    };
    assert!(storage.record_move(&moved, 0).await.unwrap());
    [held.node, dead.node]
}

fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_bytes().unwrap().to_vec()).unwrap()
}

/// All keys, with their time to live in seconds: -1 for none.
fn keys(server: &RedisServer) -> Vec<(String, i64)> {
    let keys = server.command(&["KEYS", "*"]).into_array().unwrap();
    let with_ttl = keys.into_iter().map(text).map(|key| {
        let ttl = server.command(&["TTL", &key]).as_integer().unwrap();
        (key, ttl)
    });
    with_ttl.collect()
}

#[tokio::test]
async fn every_key_is_documented_with_what_ends_it() {
    let server = RedisServer::start();
    let nodes = make_every_key(&server).await;
    let rows = documented();
    let mut found = BTreeSet::new();
    for (key, ttl) in keys(&server) {
        let row = rows
            .iter()
            .find(|row| nodes.iter().any(|node| row.key(node) == key));
        let row = row.unwrap_or_else(|| panic!("{key} is not documented"));
        assert_eq!(ttl > 0, row.expires, "{key} has {ttl} seconds to live");
        found.insert(row.name.clone());
    }
    for row in &rows {
        assert!(found.contains(&row.name), "{} was not made", row.name);
        let by_time = row.ended_by.starts_with("time");
        assert_eq!(by_time, row.expires, "{}: {}", row.name, row.ended_by);
        assert!(!row.ended_by.is_empty(), "{}", row.name);
    }
}

#[tokio::test]
async fn a_dead_node_that_elixir_restores_leaves_no_key_for_ever() {
    let server = RedisServer::start();
    let storage = connect(&server, ScheduleKeys::Shared).await;
    let Inprogress { node, .. } = holding(&storage, &["a", "b"]).await;
    server.command(&["DEL", &format!("verk:node:{node}")]);

    // As a node of Verk 1.7.3 does.
    let list = format!("inprogress:default:{node}");
    for _ in 0..2 {
        server.command(&["LMOVE", &list, "queue:default", "LEFT", "RIGHT"]);
    }
    let queues = format!("verk:node:{node}:queues");
    server.command(&["DEL", &queues]);
    server.command(&["SREM", "verk_nodes", node.as_str()]);

    let mut left = keys(&server);
    left.retain(|(key, _)| key.contains(node.as_str()));
    left.sort();
    let [(info, day), (prefetched, three_days)] = &left[..] else {
        panic!("{left:?}");
    };
    assert_eq!(*info, format!("verk:node:{node}:info"));
    assert_eq!(*prefetched, format!("verk:prefetched:default:{node}"));
    for (ttl, hours) in [(day, 24), (three_days, 72)] {
        let seconds = hours * 60 * 60;
        assert!((seconds - 600..=seconds).contains(ttl), "{ttl}");
    }
}
