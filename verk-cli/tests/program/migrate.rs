//! A migration from one Redis to a cluster with cells, and back.

use std::{process::Command, time::Duration};

use serde_json::Value;
use verk::{
    Client, EnqueueExt as _, Job, OnConflict, Unique, Verk,
    client::{IntoJob as _, NewJob},
    cron::Cron,
    manage::{Admin, Jobs, PauseNote, Query},
    redis::RedisBuilderExt as _,
    storage::Page,
};
use verk_testing::{RedisCluster, RedisServer};

use crate::support::{self, Printed};

const HOUR: Duration = Duration::from_secs(3_600);

fn job(number: u32, queue: &str) -> Job {
    Job::new("Sync", queue.parse().unwrap(), format!("[{number}]")).unwrap()
}

fn unique(number: u32) -> NewJob {
    let unique = Unique::new().on_conflict(OnConflict::Replace);
    job(number, "default").into_job().unique(unique)
}

async fn connect(url: &str) -> Verk {
    let verk = Verk::builder().redis(url).disabled(true).build();
    verk.await.unwrap()
}

/// All jobs in their places and their order, with their times.
async fn jobs(admin: &Admin) -> Vec<(String, Option<f64>, bytes::Bytes)> {
    let queues = ["default", "low", "mailers"].map(|queue| admin.queue(queue).unwrap());
    let sets = [admin.scheduled_set(), admin.retry_set(), admin.dead_set()];
    let mut all = Vec::new();
    for place in sets.into_iter().chain(queues) {
        let mut query = Query::new().limit(100);
        loop {
            let page = Jobs::list(&place, &query).await.unwrap();
            let entries = page.entries.iter();
            all.extend(entries.map(|entry| {
                let payload = entry.payload().clone();
                (place.source().to_string(), entry.score(), payload)
            }));
            match page.next {
                Some(next) => query = query.at(next),
                None => break,
            }
        }
    }
    all
}

async fn fill(client: &Client) {
    let admin = client.admin();
    for number in 0..230 {
        client.enqueue(job(number, "mailers")).await.unwrap();
    }
    client.enqueue(job(1, "low")).await.unwrap();
    let note = PauseNote::new().by("bea").reason("it fails");
    admin.pause_queue("low", note).await.unwrap();
    client.enqueue(unique(1)).await.unwrap();
    client.enqueue(unique(2).schedule_in(HOUR)).await.unwrap();
    for number in 3..6 {
        let jid = client.enqueue(job(number, "default")).await.unwrap();
        let found = admin.queue("default").unwrap().find(&jid).await.unwrap();
        found.unwrap().kill().await.unwrap();
        if number > 3 {
            let dead = admin.dead_set().find(&jid).await.unwrap().unwrap();
            dead.reschedule(admin.now() + HOUR).await.unwrap();
        }
    }
    let daily = Cron::new("0 7 * * *").class("Report", [1]).queue("low");
    admin.cron().upsert("daily", daily).await.unwrap();
}

/// How many locks are held.
async fn locks(admin: &Admin) -> usize {
    let page = Page {
        offset: 0,
        limit: 100,
    };
    admin.locks(page).await.unwrap().locks.len()
}

/// Runs the binary in another thread, so that the tasks of this test run.
async fn migrate(from: &str, args: &[&str]) -> Printed {
    let mut command: Command = support::verk(from, &["migrate"]);
    command.args(args);
    let run = tokio::task::spawn_blocking(move || support::run(command));
    run.await.unwrap()
}

fn object(printed: &Printed) -> Value {
    serde_json::from_str(printed.stdout.trim()).unwrap_or_else(|_| panic!("{printed:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_waits_moves_to_a_cluster_and_back() {
    let server = RedisServer::start();
    let cluster = RedisCluster::builder().without_replicas().start();
    let (from, to) = (server.url(), format!("{}/?cells=4", cluster.url()));
    let (source, target) = (connect(&from).await, connect(&to).await);
    fill(source.client()).await;
    let (source, target) = (source.admin(), target.admin());
    let before = jobs(&source).await;
    assert_eq!((before.len(), locks(&source).await), (236, 2));

    let dry = migrate(&from, &["--to", &to, "--dry-run", "-o", "json"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    assert_eq!(object(&dry)["waiting"], 237, "the jobs and an entry");
    let refused = migrate(&from, &["--to", &to]).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert_eq!(jobs(&source).await, before);

    // Another job has the lock there.
    let other = target.enqueue(unique(1)).await.unwrap();
    let yes = ["--to", &to, "--yes", "-o", "json"];
    let first = migrate(&from, &yes).await;
    assert_eq!(first.code, 1, "{first:?}");
    let value = object(&first);
    assert_eq!(
        (&value["moved"], &value["waiting"]),
        (&236.into(), &1.into())
    );
    let reason = format!("job {other} holds its unique lock in the target");
    assert_eq!(value["left"][0]["reason"], reason);
    let default = target.queue("default").unwrap();
    let other = default.find(&other).await.unwrap().unwrap();
    assert!(other.delete().await.unwrap());
    let second = migrate(&from, &yes).await;
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!(object(&second)["complete"], true);

    assert_eq!(jobs(&target).await, before);
    assert_eq!((jobs(&source).await.len(), locks(&source).await), (0, 0));
    assert_eq!(locks(&target).await, 2);
    let pauses = target.pauses().await.unwrap();
    let paused: Vec<_> = pauses.iter().map(|pause| pause.queue.as_str()).collect();
    assert_eq!(
        (&paused[..], pauses[0].by.as_deref()),
        (&["low"][..], Some("bea"))
    );
    let entry = target.cron().get("daily").await.unwrap().unwrap();
    assert!(entry.next.is_some() && entry.pause.is_none());
    assert!(source.cron().get("daily").await.unwrap().is_none());
    // The lock has the payload, by which the job is replaced.
    let newer = target.enqueue(unique(2).schedule_in(HOUR)).await.unwrap();
    assert_eq!(target.scheduled_set().count().await.unwrap(), 1);
    assert!(target.scheduled_set().find(&newer).await.unwrap().is_some());

    let before = jobs(&target).await;
    let back = migrate(&to, &["--to", &from, "--yes"]).await;
    assert_eq!(back.code, 0, "{back:?}");
    let row = back
        .stdout
        .lines()
        .find(|row| row.starts_with("queue:mailers"));
    let row: Vec<&str> = row.unwrap().split_whitespace().collect();
    assert_eq!(row, ["queue:mailers", "230", "230", "0", "0", "0", "230"]);
    assert_eq!(jobs(&source).await, before);
    assert_eq!((jobs(&target).await.len(), locks(&source).await), (0, 2));

    let same = migrate(&from, &["--to", &from, "--yes"]).await;
    assert_eq!(same.code, 2, "{same:?}");
    assert_eq!(jobs(&source).await, before);
}

#[tokio::test]
async fn a_target_is_needed_and_its_password_is_no_argument() {
    let server = RedisServer::start();
    let none = migrate(&server.url(), &["--yes"]).await;
    assert_eq!(none.code, 2, "{none:?}");
    let public = migrate(&server.url(), &["--to", "redis://:hunter2@a", "--yes"]).await;
    assert_eq!(public.code, 2);
    assert!(public.stderr.contains("VERK_MIGRATE_TO"), "{public:?}");
    assert!(!public.stderr.contains("hunter2"), "{public:?}");
}

#[tokio::test]
async fn a_sidekiq_that_fetches_from_the_source_is_refused() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let info = r#"{"hostname":"web-1","pid":1,"identity":"web-1:1:a","concurrency":5,"queues":["low"],"version":"7.3.10"}"#;
    server.command(&["SADD", "processes", "web-1:1:a"]);
    let fields = [
        "HSET",
        "web-1:1:a",
        "info",
        info,
        "busy",
        "0",
        "beat",
        "1",
        "quiet",
    ];
    server.command(&[&fields[..], &["false"]].concat());
    let run = ["--to", &other.url(), "--yes"];
    let refused = migrate(&server.url(), &run).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("web-1:1:a"), "{refused:?}");
    server.command(&["HSET", "web-1:1:a", "quiet", "true"]);
    let done = migrate(&server.url(), &run).await;
    assert_eq!(done.code, 0, "{done:?}");
}
