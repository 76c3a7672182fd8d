//! A queue that moves from one cell of a cluster to another.

use std::time::Duration;

use serde_json::Value;
use verk::{
    Client, EnqueueExt as _, Enqueued, Job, Unique, Verk,
    client::{IntoJob as _, NewJob},
    cron::Cron,
    manage::AuditEntry,
    redis::RedisBuilderExt as _,
    storage::Page,
};
use verk_testing::RedisCluster;

use crate::support::{self, Printed};

const HOUR: Duration = Duration::from_secs(3_600);

fn job(number: u32) -> Job {
    Job::new("Sync", "mailers".parse().unwrap(), format!("[{number}]")).unwrap()
}

fn unique(number: u32) -> NewJob {
    job(number).into_job().unique(Unique::new())
}

async fn connect(url: &str) -> Verk {
    let verk = Verk::builder().redis(url).disabled(true).build();
    verk.await.unwrap()
}

/// Runs the binary in another thread, so that the tasks of this test run.
async fn cells(url: &str, args: &[&str]) -> Printed {
    let mut command = support::verk(url, &["cells"]);
    command.args(args);
    let run = tokio::task::spawn_blocking(move || support::run(command));
    run.await.unwrap()
}

fn objects(printed: &Printed) -> Vec<Value> {
    let lines = printed.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{printed:?}")))
        .collect()
}

async fn fill(client: &Client) {
    for number in 0..230 {
        client.enqueue(job(number)).await.unwrap();
    }
    client.enqueue(unique(1_000)).await.unwrap();
    client
        .enqueue(unique(1_001).schedule_in(HOUR))
        .await
        .unwrap();
    let again = client.enqueue_once("order-17", job(1_002)).await.unwrap();
    assert!(matches!(again, Enqueued::New(_)), "{again:?}");
    let daily = Cron::new("0 7 * * *").class("Report", [1]).queue("mailers");
    let admin = client.admin();
    admin.cron().upsert("daily", daily).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_moves_to_another_cell_and_back() {
    let cluster = RedisCluster::builder().without_replicas().start();
    let url = format!("{}/?cells=4", cluster.url());
    let (verk, other) = (connect(&url).await, connect(&url).await);
    fill(verk.client()).await;
    // `mailers` lies in cell 1 of 4.
    let listed = objects(&cells(&url, &["ls", "-o", "json"]).await);
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|cell| cell["answers"] == true));
    assert!(
        listed
            .iter()
            .all(|cell| cell["moved_here"] == Value::Array(Vec::new()))
    );

    let dry = cells(&url, &["move", "mailers", "--to", "3", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{dry:?}");
    let refused = cells(&url, &["move", "mailers", "--to", "3"]).await;
    assert_eq!(refused.code, 5, "it asks: {refused:?}");
    let unknown = cells(&url, &["move", "mailers", "--to", "4", "--yes"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("from 0 to 3"), "{unknown:?}");

    let moved = cells(
        &url,
        &["move", "mailers", "--to", "3", "--yes", "-o", "json"],
    )
    .await;
    assert_eq!(moved.code, 0, "{moved:?}");
    let moved = &objects(&moved)[0];
    assert_eq!(
        (&moved["to"], &moved["complete"]),
        (&3.into(), &true.into())
    );
    assert_eq!(moved["moved"], 234, "the jobs and the entry");
    let listed = objects(&cells(&url, &["ls", "-o", "json"]).await);
    assert_eq!(listed[3]["moved_here"][0], "mailers");

    // Programs that ran before find all of it.
    for client in [verk.client(), other.client()] {
        let again = client.enqueue_unique(unique(1_000)).await.unwrap();
        assert!(matches!(again, Enqueued::Duplicate { .. }), "{again:?}");
        let again = client.enqueue_once("order-17", job(1_002)).await.unwrap();
        assert!(matches!(again, Enqueued::Seen(_)), "{again:?}");
    }
    let admin = other.admin();
    assert_eq!(admin.queue("mailers").unwrap().count().await.unwrap(), 232);
    assert!(admin.cron().get("daily").await.unwrap().is_some());
    let audit: Vec<AuditEntry> = admin
        .audit(Page {
            offset: 0,
            limit: 10,
        })
        .await
        .unwrap();
    assert_eq!(audit.len(), 1, "{audit:?}");

    let from = moved["from"].to_string();
    let back = cells(&url, &["move", "mailers", "--to", &from, "--yes"]).await;
    assert_eq!(back.code, 0, "{back:?}");
    let row = back.stdout.lines().find(|row| row.starts_with("queue:"));
    let row: Vec<&str> = row.unwrap().split_whitespace().collect();
    assert_eq!(row, ["queue:mailers", "232", "232", "0", "0", "0", "232"]);
    let again = cells(&url, &["move", "mailers", "--to", &from, "--yes"]).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("lies in cell"), "{again:?}");
    assert_eq!(
        verk.admin()
            .queue("mailers")
            .unwrap()
            .count()
            .await
            .unwrap(),
        232
    );
}
