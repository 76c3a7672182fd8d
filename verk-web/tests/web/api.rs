//! The JSON API.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use verk_core::{
    QueueName,
    manage::AuditEntry,
    names::NodeId,
    storage::{AuditStore, JobSet, NodeStore, Page, Source, StoredNodeInfo},
};
use verk_testing::within;

use crate::support::{Answer, Web, failed, time};

#[tokio::test]
async fn lists_have_jobs_with_exact_arguments() {
    let web = Web::open().await;
    web.push(
        "q",
        r#"{"class":"A","jid":"a1","queue":"q","args":[12345678901234567890.10]}"#,
    )
    .await;
    let answer = web.get("/api/v1/queues/q/jobs").await;
    assert!(
        answer.body.contains(r#""args":[12345678901234567890.10]"#),
        "{}",
        answer.body
    );
    let list: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&list["total"], &list["jobs"][0]["key"]),
        (&json!(1), &json!("0-a1"))
    );
    let one = web.json("/api/v1/queues/q/jobs/0-a1").await;
    assert_eq!(one["class"], "A");
}

#[tokio::test]
async fn an_error_is_a_problem() {
    let web = Web::open().await;
    let answer = web.get("/api/v1/queues/nobody").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        problem,
        json!({
            "type": "about:blank", "title": "Not found", "status": 404,
            "detail": "No program knows this queue.", "applied": "no",
        })
    );
    let nothing = web.get("/api/v1/nothing").await;
    assert!(
        serde_json::from_str::<Value>(&nothing.body).is_ok(),
        "{}",
        nothing.body
    );
}

#[tokio::test]
async fn one_job_is_changed_if_it_is_still_the_same() {
    let web = Web::open().await;
    web.add(
        JobSet::Dead,
        1_700_000_000,
        failed("d1", "Charge", "timeout"),
    )
    .await;
    let path = "/api/v1/sets/dead/jobs/1700000000-d1/requeue";
    let other = format!(r#"{{"sha256":"{}"}}"#, "0".repeat(64));
    assert_eq!(web.post(path, &other).await.status, StatusCode::CONFLICT);
    assert_eq!(
        web.post(path, "{\"unknown\":1}").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(web.post(path, "").await.status, StatusCode::OK);
    assert_eq!(web.post(path, "").await.status, StatusCode::CONFLICT);
    assert_eq!(web.len(&Source::Queue("default".parse().unwrap())).await, 1);
}

#[tokio::test]
async fn all_that_match_are_counted_or_changed_by_a_task() {
    let web = Web::open().await;
    for jid in ["d1", "d2"] {
        web.add(
            JobSet::Dead,
            1_700_000_000,
            failed(jid, "Charge", "timeout"),
        )
        .await;
    }
    let path = "/api/v1/sets/dead/bulk/delete";
    assert_eq!(web.post(path, "{}").await.status, StatusCode::BAD_REQUEST);
    let count = web.post(path, r#"{"class":"Charge","dry_run":true}"#).await;
    assert_eq!(
        serde_json::from_str::<Value>(&count.body).unwrap(),
        json!({"jobs": 2, "complete": true})
    );
    assert_eq!(web.len(&Source::Set(JobSet::Dead)).await, 2);
    let task = web.post(path, r#"{"class":"Charge"}"#).await;
    assert_eq!(task.status, StatusCode::ACCEPTED);
    let id = serde_json::from_str::<Value>(&task.body).unwrap()["id"].clone();
    let task = loop {
        let task = web.json(&format!("/api/v1/tasks/{id}")).await;
        if task["state"] != "running" {
            break task;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&task["state"], &task["changed"]),
        (&json!("ended"), &json!(2))
    );
    assert_eq!(web.len(&Source::Set(JobSet::Dead)).await, 0);
}

#[tokio::test]
async fn a_queue_that_nobody_knows_has_no_load() {
    let web = Web::open().await;
    web.push("q", "{}").await;
    let load = web.json("/api/v1/queues/q/load").await;
    assert_eq!((&load["jobs"], &load["paused"]), (&json!(1), &json!(false)));
    assert_eq!(web.json("/api/v1/queues/nobody/load").await["jobs"], 0);
    assert_eq!(web.json("/api/v1/stats").await["waiting"], 1);
}

#[tokio::test]
async fn the_doctor_checks_once_for_all_who_ask() {
    let web = Web::open().await;
    // Until the first check has ended, the answer is 503.
    let asked = async {
        loop {
            let answer = web.get("/api/v1/doctor").await;
            if answer.status == StatusCode::OK {
                break answer.body;
            }
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        }
    };
    let first = within(Duration::from_secs(60), asked).await;
    let report: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(
        (&report["findings"], &report["complete"]),
        (&json!([]), &json!(true))
    );
    assert!(report["at"].as_str().unwrap().ends_with('Z'), "{first}");
    web.admin.pause_queue_everywhere("mailers").await.unwrap();
    let again = web.get("/api/v1/doctor").await.body;
    assert_eq!(
        again, first,
        "the findings of the first check, and its time"
    );
}

#[tokio::test]
async fn a_job_is_enqueued_with_every_digit_of_its_arguments() {
    let web = Web::open().await;
    let path = "/api/v1/jobs";
    let answer = web
        .post(
            path,
            r#"{"class":"Ruby::Job","args":[12345678901234567890.10],"queue":"q"}"#,
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let enqueued: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(enqueued["checked"], json!(false));
    let list = web.get("/api/v1/queues/q/jobs").await.body;
    assert!(
        list.contains(r#""args":[12345678901234567890.10]"#),
        "{list}"
    );
    assert!(list.contains(enqueued["jid"].as_str().unwrap()), "{list}");

    let later = r#"{"class":"Ruby::Job","args":[],"in":3600}"#;
    assert_eq!(web.post(path, later).await.status, StatusCode::CREATED);
    assert_eq!(web.json("/api/v1/stats").await["scheduled"], json!(1));
    let audit = web
        .admin
        .audit(Page {
            offset: 0,
            limit: 10,
        })
        .await
        .unwrap();
    assert_eq!(audit.len(), 2);
    assert_eq!(audit[0].action, "enqueue");
}

/// Of requests with one key, the first enqueues.
#[tokio::test]
async fn a_request_with_a_key_enqueues_once() {
    let web = Web::open().await;
    let post = async |key: &str, args: u32| {
        let body = format!(r#"{{"class":"Ruby::Job","args":[{args}],"queue":"q"}}"#);
        let headers = [("idempotency-key", key)];
        web.send(Method::POST, "/api/v1/jobs", &body, &headers)
            .await
    };
    let first = post("order 17", 1).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    let again = post("order 17", 1).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    let read = |answer: &Answer| serde_json::from_str::<Value>(&answer.body).unwrap();
    assert_eq!(read(&first)["jid"], read(&again)["jid"]);
    assert_eq!(
        (&read(&first)["seen"], &read(&again)["seen"]),
        (&json!(false), &json!(true))
    );
    let other = post("order 17", 2).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(read(&other)["applied"], "no");
    assert_eq!(post("order 18", 2).await.status, StatusCode::CREATED);
    for wrong in ["", &"k".repeat(256)] {
        assert_eq!(post(wrong, 3).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(web.json("/api/v1/stats").await["waiting"], json!(2));
}

#[tokio::test]
async fn a_job_that_is_none_is_refused() {
    let web = Web::open().await;
    for body in [
        "",
        "{}",
        r#"{"class":"A"}"#,
        r#"{"class":"A","args":{}}"#,
        r#"{"class":"A","args":[],"queue":""}"#,
        r#"{"class":"","args":[]}"#,
        r#"{"class":"A","args":[],"time":"soon"}"#,
        r#"{"class":"A","args":[],"time":"2030-01-01T00:00:00Z","in":1}"#,
        r#"{"class":"A","args":[],"retry":1}"#,
    ] {
        let answer = web.post("/api/v1/jobs", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(problem["applied"], "no", "{body}");
    }
    assert_eq!(web.json("/api/v1/stats").await["waiting"], json!(0));
}

#[tokio::test]
async fn nodes_say_what_they_hold_and_what_they_are() {
    let web = Web::open().await;
    assert_eq!(web.json("/api/v1/nodes").await, json!([]));
    let queue: QueueName = "q".parse().unwrap();
    let info = StoredNodeInfo {
        version: "verk 1.0.0".to_owned(),
        process: "vm:1:0f".to_owned(),
        registered_at: Some(time(1_700_000_000)),
        class_count: 2,
        classes: r#"["A","B"]"#.into(),
        ..StoredNodeInfo::default()
    };
    let node = NodeId::from("vm.0123456789ab");
    let day = Duration::from_secs(86_400);
    web.storage
        .register(&node, &[queue], day, &info)
        .await
        .unwrap();
    web.storage
        .register(
            &NodeId::from("elixir"),
            &[],
            day,
            &StoredNodeInfo::default(),
        )
        .await
        .unwrap();
    assert_eq!(
        web.json("/api/v1/nodes").await,
        json!([
            {"node": "elixir", "alive": true, "queues": [], "info": null},
            {
                "node": "vm.0123456789ab", "alive": true,
                "queues": [{"queue": "q", "held": 0, "prefetched": 0}],
                "info": {
                    "version": "verk 1.0.0", "process": "vm:1:0f",
                    "registered_at": "2023-11-14T22:13:20.000Z",
                    "class_count": 2, "classes": ["A", "B"],
                },
            },
        ])
    );
}

#[tokio::test]
async fn what_operators_did_is_read_by_pages() {
    let web = Web::open().await;
    for number in 0..30 {
        let entry = AuditEntry::new("delete").on("the dead set").count(number);
        web.admin.record_action(entry).await.unwrap();
    }
    // What another program wrote there ends no list.
    web.storage.record_action(&"{".into()).await.unwrap();
    let first = web.json("/api/v1/audit?limit=20").await;
    assert_eq!(first["actions"].as_array().unwrap().len(), 19);
    assert_eq!(first["actions"][0]["count"], json!(29));
    assert_eq!(first["actions"][0]["who"], json!(null));
    assert_eq!(first["next"], json!("20"));
    let last = web.json("/api/v1/audit?limit=20&at=20").await;
    assert_eq!(last["actions"][10]["count"], json!(0));
    assert_eq!(last["next"], json!(null));
    for (path, older) in [("/audit", true), ("/audit?from=25", false)] {
        assert_eq!(web.get(path).await.body.contains("Older"), older, "{path}");
    }
    for path in ["/api/v1/audit?at=x", "/audit?from=-1"] {
        assert_eq!(
            web.get(path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_has_no_facts() {
    let server = Web::open().await.json("/api/v1/server").await;
    assert_eq!(
        (&server["version"], &server["role"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(server["schedule_keys"], json!("shared"));
}
