//! Whatever bytes other programs stored.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use verk::{
    Job, Verk,
    config::TimeFormat,
    manage::Query,
    storage::{Due, JobSet, JobStore, MAX_BATCH_BYTES, Source, WaitingStore},
    time::{Clock, SystemClock},
};
use verk_testing::MemoryStorage;

use super::{payload, requeued, storages};
use crate::support::{ALL, States, queue_name};

#[tokio::test]
async fn what_is_no_job_is_shown_deleted_killed_and_rescheduled() {
    let odd: Vec<Bytes> = ["[1,2]", "", "123", "not json", r#"{"class":"A"}"#]
        .map(Bytes::from)
        .into_iter()
        .chain([Bytes::from_static(b"\xff\xfe")])
        .collect();
    for shared in storages().await {
        shared.enqueue(&odd).await;
        let queue = shared.one.queue("default").unwrap();
        let entries = queue.list(&Query::new().limit(100)).await.unwrap().entries;
        let shown: Vec<_> = entries
            .iter()
            .map(|entry| entry.payload().clone())
            .collect();
        assert_eq!(shown, odd);
        assert!(entries.iter().all(|entry| entry.job().is_err()));
        assert_eq!(queue.select().kill().await.unwrap(), 6);

        let dead = shared.one.dead_set();
        assert_eq!(dead.select().requeue().await.unwrap(), 0);
        assert_eq!(dead.select().kill().await.unwrap(), 0);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        assert_eq!(dead.select().reschedule(at).await.unwrap(), 6);
        let retries = shared.one.retry_set();
        assert_eq!(retries.count().await.unwrap(), 6);
        assert_eq!(
            retries.select().reschedule(at).await.unwrap(),
            0,
            "they have it"
        );
        let arrays = retries
            .select()
            .filter(|entry| entry.payload().starts_with(b"["));
        assert_eq!(arrays.delete().await.unwrap(), 1);
        assert_eq!(
            retries
                .select()
                .filter(|entry| entry.job().is_err())
                .delete()
                .await
                .unwrap(),
            5
        );
    }
}

#[tokio::test]
async fn equal_payloads_of_a_queue_are_deleted_one_by_one() {
    for shared in storages().await {
        let twice = vec![payload("A", 1); 150];
        shared.enqueue(&twice).await;
        shared.enqueue(&[payload("B", 2)]).await;
        let queue = shared.one.queue("default").unwrap();
        assert!(
            queue
                .find("1")
                .await
                .unwrap()
                .unwrap()
                .delete()
                .await
                .unwrap()
        );
        assert_eq!(queue.count().await.unwrap(), 150);
        assert_eq!(queue.select().jid("1").delete().await.unwrap(), 149);
        assert_eq!(shared.queued().await, [payload("B", 2)]);
    }
}

#[tokio::test]
async fn a_requeue_writes_its_time_as_configured() {
    for (time_format, is_float) in [
        (TimeFormat::Seconds, true),
        (TimeFormat::Milliseconds, false),
    ] {
        let storage = MemoryStorage::default();
        let builder = Verk::builder().storage(storage.clone());
        let builder = builder.time_format(time_format);
        let verk = States::new().give(builder).build().await.unwrap();
        let at = SystemTime::UNIX_EPOCH;
        let job = payload("A", 1);
        storage.schedule(&[Due { at, job }]).await.unwrap();
        assert_eq!(
            verk.admin()
                .scheduled_set()
                .select()
                .requeue()
                .await
                .unwrap(),
            1
        );
        let queue = Source::Queue(queue_name("default"));
        let queued = storage.list(&queue, &ALL.into()).await.unwrap().jobs;
        let job = Job::decode(queued[0].job.clone()).unwrap();
        let enqueued_at = job.get("enqueued_at").unwrap();
        assert_eq!(enqueued_at.contains('.'), is_float, "{enqueued_at}");
        assert!(is_float || enqueued_at.len() == 13, "{enqueued_at}");
    }
}

#[tokio::test]
async fn a_requeue_changes_the_count_and_the_time_and_not_a_byte_more() {
    let sidekiq = |retry_count: i32| {
        Bytes::from(format!(
            r#"{{"retry":true, "queue":"default","args":[12345678901234567890,1.50,1e400,[]],"class":"A","jid":"a","x-unknown":{{"n":0.10000000000000000001}},"failed_at":1700000000.5,"retry_count":{retry_count},"error_message":"no \u00fc"}}"#
        ))
    };
    let text = |payload: Bytes| String::from_utf8(payload.to_vec()).unwrap();
    // A re-encode leaves out the blanks between keys.
    let moved = |retry_count| text(sidekiq(retry_count)).replace(", ", ",");
    let verk = r#"{"error_message":"no","failed_at":1700000000,"retry_count":3,"queue":"default","class":"A","args":"[1]","jid":"v","finished_at":null,"enqueued_at":1700000000,"retried_at":null,"created_at":null,"error_backtrace":null,"max_retry_count":25}"#;
    for shared in storages().await {
        let (one, storage) = (&shared.one, &shared);
        for set in [JobSet::Retry, JobSet::Dead] {
            let jobs = match set {
                JobSet::Dead => one.dead_set(),
                _ => one.retry_set(),
            };
            for retry_count in [3, 0] {
                storage.add(set, &[sidekiq(retry_count)]).await;
                assert!(
                    jobs.find("a")
                        .await
                        .unwrap()
                        .unwrap()
                        .requeue()
                        .await
                        .unwrap()
                );
                let queued = storage.queued().await;
                assert_eq!(requeued(&queued[0]), moved(retry_count - 1));
                one.queue("default").unwrap().clear().await.unwrap();
            }
            storage.add(set, &[Bytes::from(verk)]).await;
            assert!(
                jobs.find("v")
                    .await
                    .unwrap()
                    .unwrap()
                    .requeue()
                    .await
                    .unwrap()
            );
            let queued = storage.queued().await;
            let job = Job::decode(queued[0].clone()).unwrap();
            let (now, before) = (
                job.get("enqueued_at").unwrap(),
                "\"enqueued_at\":1700000000",
            );
            assert!(!now.contains('.'), "whole seconds, as Verk has them");
            let expected = verk.replace(before, &format!("\"enqueued_at\":{now}"));
            assert_eq!(text(queued[0].clone()), expected);
            one.queue("default").unwrap().clear().await.unwrap();
        }

        // A scheduled job did not fail to get there.
        storage.add(JobSet::Schedule, &[sidekiq(3)]).await;
        assert_eq!(one.scheduled_set().select().requeue().await.unwrap(), 1);
        assert_eq!(requeued(&storage.queued().await[0]), moved(3));
        one.queue("default").unwrap().clear().await.unwrap();

        // Everything else leaves the bytes alone.
        storage.add(JobSet::Retry, &[sidekiq(3)]).await;
        assert_eq!(one.retry_set().select().kill().await.unwrap(), 1);
        assert_eq!(storage.members(JobSet::Dead).await, [sidekiq(3)]);
        let later = SystemClock.now() + Duration::from_secs(60);
        assert_eq!(one.dead_set().select().reschedule(later).await.unwrap(), 1);
        assert_eq!(storage.members(JobSet::Retry).await, [sidekiq(3)]);
    }
}

#[tokio::test]
async fn jobs_that_no_page_holds_together_are_all_reached() {
    let jobs: Vec<Bytes> = (0..5)
        .map(|jid| payload(&"A".repeat(MAX_BATCH_BYTES / 2), jid))
        .collect();
    for shared in storages().await {
        shared.enqueue(&jobs).await;
        let queue = shared.one.queue("default").unwrap();
        let mut worker = shared.consumer().await;
        for _ in 0..3 {
            worker.fetch(1).await;
        }
        assert_eq!(shared.one.in_progress().await.unwrap().len(), 3);
        assert!(queue.find("3").await.unwrap().is_some());
        shared.enqueue(&jobs[..3]).await;
        assert_eq!(queue.select().delete().await.unwrap(), 5);
    }
}

#[tokio::test]
async fn a_job_without_a_queue_is_not_requeued() {
    for shared in storages().await {
        let job = Bytes::from(r#"{"class":"A","jid":"a","args":[]}"#);
        shared.add(JobSet::Retry, std::slice::from_ref(&job)).await;
        assert_eq!(shared.one.retry_set().select().requeue().await.unwrap(), 0);
        assert_eq!(shared.members(JobSet::Retry).await, [job]);
    }
}
