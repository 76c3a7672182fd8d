//! How jobs are shown to people: in one line, without their arguments.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use verk::manage::Query;

use super::storages;

const AT: SystemTime = SystemTime::UNIX_EPOCH;

#[tokio::test]
async fn a_job_is_shown_in_one_line_wherever_it_is() {
    let payload = Bytes::from(
        r#"{"retry":true,"queue":"default","class":"Charge","args":["4111-1111"],"jid":"b4a577ed","enqueued_at":1732387200.5,"failed_at":1732380000.5,"retry_count":1,"error_class":"BankClosed","error_message":"closed\non Sunday"}"#,
    );
    let error = r"BankClosed: closed\non Sunday";
    let due = AT + Duration::from_secs(2_000_000_000);
    for shared in storages().await {
        let (web, mut worker) = (&shared.one, shared.consumer().await);
        let shown = async || {
            let found = web.find_job("b4a577ed").await.unwrap().unwrap();
            let debug = format!("{found:?}");
            assert!(debug.contains(&format!("({found})")), "{debug}");
            assert!(
                !debug.contains('\n') && !debug.contains("4111-1111"),
                "{debug}"
            );
            found.to_string()
        };
        shared.enqueue(std::slice::from_ref(&payload)).await;
        let waits = "Charge b4a577ed in queue default since 2024-11-23T18:40:00Z, attempt 3";
        assert_eq!(shown().await, format!("{waits}: {error}"));

        let queue = web.queue("default").unwrap();
        assert_eq!(queue.select().reschedule(due).await.unwrap(), 1);
        let waits = "in the schedule set until 2033-05-18T03:33:20Z, queue default, attempt 3";
        assert_eq!(shown().await, format!("Charge b4a577ed {waits}: {error}"));

        assert_eq!(web.scheduled_set().select().kill().await.unwrap(), 1);
        let dead = shown().await;
        let (since, rest) = dead.split_once("Z, ").unwrap();
        assert!(since.starts_with("Charge b4a577ed in the dead set since 20"));
        assert_eq!(rest, format!("queue default, after 2 attempts: {error}"));

        assert_eq!(web.dead_set().select().requeue().await.unwrap(), 1);
        worker.fetch(1).await;
        let held = shown().await;
        let (start, rest) = held.split_once(", enqueued ").unwrap();
        assert!(start.starts_with("Charge b4a577ed in progress on node web."));
        assert!(start.ends_with(", queue default"), "{start}");
        // The requeue by hand took one retry off the count.
        assert!(rest.ends_with(&format!("Z, attempt 2: {error}")), "{rest}");
    }
}

#[tokio::test]
async fn what_is_no_job_is_shown_as_such_and_long_texts_are_cut() {
    let long = "x".repeat(1000);
    let payloads = [
        Bytes::from("[1,2]"),
        format!(r#"{{"class":"{long}","jid":"1\u001b[2J","queue":"default"}}"#).into(),
    ];
    for shared in storages().await {
        shared.enqueue(&payloads).await;
        let queue = shared.one.queue("default").unwrap();
        let entries = queue.list(&Query::new()).await.unwrap().entries;
        let no_job = "5 bytes that are no job (not a JSON object) in queue default";
        assert_eq!(entries[0].to_string(), no_job);
        let cut = format!(
            r"{}... 1\u{{1b}}[2J in queue default, attempt 1",
            &long[..200]
        );
        assert_eq!(entries[1].to_string(), cut);
        assert_eq!(format!("{:?}", entries[0]), format!("Entry({no_job})"));
    }
}
