//! Where jobs are while nodes run them, and what managing means to a node.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use verk::{
    Client, EventKind, Job, State,
    manage::Found,
    prelude::*,
    time::{Clock, SystemClock},
};
use verk_testing::MemoryStorage;

use super::storages;
use crate::support::{Fixture, Gate, Log, queue_name};

#[verk::worker]
async fn logged(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

#[verk::worker]
async fn dwelling(State(gate): State<Gate>) {
    gate.pass().await;
}

#[tokio::test]
async fn a_job_is_found_wherever_it_is() {
    for shared in storages().await {
        let (web, mut worker) = (&shared.one, shared.consumer().await);
        let job = Job::new("A", queue_name("default"), "[]".into()).unwrap();
        let client = Client::new(Arc::clone(&shared.storage));
        let jid = client.enqueue(job).await.unwrap();

        let place = async || match web.find_job(&jid).await.unwrap() {
            Some(Found::Waiting(entry)) => format!("{:?}", entry.source()),
            Some(Found::InProgress(held)) => {
                assert!(held.alive);
                assert_eq!(held.queue.as_str(), "default");
                format!("on {}", held.node.name())
            }
            _ => "nowhere".to_owned(),
        };
        assert_eq!(place().await, r#"Queue(QueueName("default"))"#);
        let later = SystemClock.now() + Duration::from_secs(60);
        web.queue("default")
            .unwrap()
            .select()
            .reschedule(later)
            .await
            .unwrap();
        assert_eq!(place().await, "Set(Schedule)");
        web.scheduled_set().select().kill().await.unwrap();
        assert_eq!(place().await, "Set(Dead)");
        web.dead_set().select().reschedule(later).await.unwrap();
        assert_eq!(place().await, "Set(Retry)");
        assert_eq!(web.retry_set().select().requeue().await.unwrap(), 1);
        assert_eq!(web.in_progress().await.unwrap().len(), 0);
        worker.fetch(1).await;
        assert_eq!(place().await, "on web");
        let held = shared.other.in_progress().await.unwrap();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].job.as_ref().unwrap().jid(), &jid);
        assert!(web.find_job("nobody").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn running_jobs_of_all_nodes_are_listed() {
    let storage = MemoryStorage::default();
    let mut nodes = Vec::new();
    for name in ["one", "other"] {
        let node = Fixture::on(storage.clone(), |builder| {
            builder.node_id(name.to_owned()).queue("default", 1)
        })
        .await;
        node.verk.start().unwrap();
        nodes.push(node);
    }
    for _ in 0..2 {
        nodes[0].verk.enqueue(Dwelling::new()).await.unwrap();
    }
    for node in &mut nodes {
        node.wait_for_started(1).await;
    }
    let held = nodes[0].verk.admin().in_progress().await.unwrap();
    let names: BTreeSet<&str> = held.iter().map(|held| held.node.name()).collect();
    assert_eq!(names, ["one", "other"].into());
    assert!(!format!("{held:?}").contains("args"), "{held:?}");
    for node in &nodes {
        node.gate.open();
        node.verk.shutdown().await;
    }
    assert_eq!(nodes[0].verk.admin().in_progress().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_job_that_is_rescheduled_sooner_runs_in_time() {
    let mut it = Fixture::in_real_time(|builder| {
        builder
            .queue("default", 1)
            .poll_interval(Duration::from_secs(3600))
    })
    .await;
    it.verk.start().unwrap();
    let hour = Duration::from_secs(3600);
    it.verk
        .enqueue(Logged::new(1).schedule_in(hour))
        .await
        .unwrap();
    // Once this one has run, the schedule manager sleeps.
    let soon = Logged::new(0).schedule_in(Duration::from_millis(1));
    it.verk.enqueue(soon).await.unwrap();
    it.wait_for_finished(1).await;
    let rescheduled = it
        .verk
        .admin()
        .scheduled_set()
        .select()
        .reschedule(SystemClock.now());
    assert_eq!(rescheduled.await.unwrap(), 1);
    it.wait_for_finished(1).await;
    assert_eq!(it.log.entries(), ["0", "1"]);
    it.verk.shutdown().await;
    it.assert_empty().await;
}

#[tokio::test]
async fn a_killed_job_does_not_run_and_a_requeued_one_does() {
    let mut it = Fixture::new().await;
    for number in 1..=3 {
        it.verk.enqueue(Logged::new(number)).await.unwrap();
    }
    let queue = it.verk.admin().queue("default").unwrap();
    let second = queue.select().text("[2]").first().await.unwrap().unwrap();
    assert!(second.kill().await.unwrap());
    it.verk.start().unwrap();
    it.wait_for_finished(2).await;
    assert_eq!(
        it.log.entries().into_iter().collect::<BTreeSet<_>>(),
        ["1".into(), "3".into()].into()
    );
    assert_eq!(
        it.verk.admin().dead_set().select().requeue().await.unwrap(),
        1
    );
    it.wait_for(|event| matches!(event.what, EventKind::JobFinished { .. }).then_some(()))
        .await;
    assert_eq!(it.log.entries()[2], "2");
    it.verk.shutdown().await;
    it.assert_empty().await;
}
