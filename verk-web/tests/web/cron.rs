//! Periodic jobs, and what is done to them.

use axum::http::StatusCode;
use serde_json::{Value, json};
use verk_core::{
    cron::Cron,
    storage::{CronStore, CronUpsert, Page, Source},
};

use crate::support::{Web, input};

const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

/// A dashboard with a report at 7 in Berlin.
async fn report() -> Web {
    let web = Web::open().await;
    let entry = Cron::new("0 7 * * MON-FRI").tz("Europe/Berlin");
    let entry = entry.class("Reports::Daily", ["all"]).queue("reports");
    web.admin.cron().upsert("a/b", entry).await.unwrap();
    web
}

async fn waiting(web: &Web) -> usize {
    web.len(&Source::Queue("reports".parse().unwrap())).await
}

/// Stores a definition as a worker of another program declares it, or as nobody can read it.
async fn store(web: &Web, name: &str, definition: &str) {
    let upsert = CronUpsert {
        seen: None,
        queue: None,
        definition: definition.to_owned().into(),
        hash: "a".to_owned(),
        next: Some(crate::support::time(4_000_000_000)),
        even_if_superseded: true,
    };
    web.storage.upsert_cron(name, &upsert).await.unwrap();
}

const DECLARED: &str = r#"{"every":60,"within":1,"origin":"static","anchor":0,
    "job":{"class":"A","jid":"0","queue":"q","args":[]}}"#;

#[tokio::test]
async fn an_entry_has_its_words_and_its_next_times_in_two_zones() {
    let web = report().await;
    let list = web.get("/cron").await.body;
    for part in ["href=\"/cron/a%2Fb\"", "Reports::Daily", "Europe/Berlin"] {
        assert!(list.contains(part), "{part}: {list}");
    }
    let value = web.json("/api/v1/cron").await;
    let entry = &value["entries"][0];
    assert_eq!(
        (&entry["name"], &value["next"]),
        (&json!("a/b"), &json!(null))
    );
    assert_eq!(
        (&entry["expression"], &entry["zone"], &entry["every"]),
        (
            &json!("0 7 * * MON-FRI"),
            &json!("Europe/Berlin"),
            &json!(null)
        )
    );
    assert_eq!(
        (&entry["args"], &entry["origin"]),
        (&json!(["all"]), &json!("dynamic"))
    );
    assert_eq!(entry["upcoming"].as_array().unwrap().len(), 5);
    let page = web.get("/cron/a%2Fb").await.body;
    for time in entry["upcoming"].as_array().unwrap() {
        let local = time["local"].as_str().unwrap();
        assert!(local.contains(" 07:00:00 CE"), "{local}");
        let utc = time["at"].as_str().unwrap();
        assert!(page.contains(local) && page.contains(utc), "{page}");
    }
    assert_eq!(web.json("/api/v1/cron/a%2Fb").await, *entry);
}

#[tokio::test]
async fn a_click_runs_an_entry_once() {
    let web = report().await;
    let page = web.get("/cron/a%2Fb").await.body;
    let form = format!("seen={}", input(&page, "seen"));
    for (n, text) in [(1, "Its job is enqueued."), (0, "not again now")] {
        let answer = web.post("/cron/a%2Fb/run", &form).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        assert_eq!(answer.location, format!("/cron/a%2Fb?done=ran&n={n}"));
        let page = web.get(&answer.location).await.body;
        assert!(page.contains(text), "{page}");
        assert_eq!(waiting(&web).await, 1);
    }
    let page = web.get("/cron/a%2Fb").await.body;
    assert!(page.contains("an operator asked for it"), "{page}");
    let entry = web.json("/api/v1/cron/a%2Fb").await;
    let jid = entry["last"][0]["jid"].as_str().unwrap();
    assert!(page.contains(&format!("href=\"/jobs/{jid}\"")), "{page}");
    assert!(page.contains("in queue reports"), "{page}");

    let ran = web.post("/api/v1/cron/a%2Fb/run", "").await;
    let ran: Value = serde_json::from_str(&ran.body).unwrap();
    assert!(ran["jid"].is_string(), "{ran}");
    assert_eq!(waiting(&web).await, 2);
}

#[tokio::test]
async fn an_entry_is_paused_resumed_and_removed() {
    let web = report().await;
    let paused = web.post("/cron/a%2Fb/pause", "reason=holidays").await;
    let page = web.get(&paused.location).await.body;
    assert!(
        page.contains("It is paused") && page.contains("holidays"),
        "{page}"
    );
    let entry = web.json("/api/v1/cron/a%2Fb").await;
    assert_eq!(
        (&entry["next"], &entry["paused"]["reason"]),
        (&json!(null), &json!("holidays"))
    );
    for changed in [true, false] {
        let answer = web.post("/api/v1/cron/a%2Fb/resume", "").await;
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(answer, json!({"changed": changed}));
    }
    let question = web.post("/cron/a%2Fb/remove", "").await;
    assert_eq!(question.status, StatusCode::OK);
    assert!(
        question.body.contains("It runs no more"),
        "{}",
        question.body
    );
    assert_eq!(web.get("/cron/a%2Fb").await.status, StatusCode::OK);
    let removed = web.post("/cron/a%2Fb/remove", "confirm=yes").await;
    assert_eq!(removed.location, "/cron?done=removed&n=1");
    for path in ["/cron/a%2Fb", "/api/v1/cron/a%2Fb"] {
        assert_eq!(web.get(path).await.status, StatusCode::NOT_FOUND);
    }
    for action in ["run", "pause", "resume", "remove"] {
        for path in ["/cron/a%2Fb/", "/api/v1/cron/a%2Fb/"] {
            let answer = web.post(&format!("{path}{action}"), "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}{action}");
        }
    }
    let page = Page {
        offset: 0,
        limit: 10,
    };
    let audit = web.admin.audit(page).await.unwrap();
    let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["remove", "resume", "resume", "pause"]);
    assert_eq!(audit[0].target.as_deref(), Some("the periodic job a/b"));
}

#[tokio::test]
async fn an_entry_that_a_worker_declares_stays() {
    let web = Web::open().await;
    store(&web, "declared", DECLARED).await;
    let page = web.get("/cron/declared").await.body;
    assert!(page.contains("a worker declares it"), "{page}");
    assert!(!page.contains("Remove…"), "{page}");
    for path in ["/cron/declared/remove", "/api/v1/cron/declared/remove"] {
        for body in ["", "{}"] {
            let status = web.post(path, body).await.status;
            assert_eq!(status, StatusCode::CONFLICT, "{path}");
        }
    }
    // When no node declares it any more, it can go.
    let since = Some(crate::support::time(1_700_000_000));
    web.storage.mark_cron("declared", since).await.unwrap();
    let page = web.get("/cron/declared").await.body;
    assert!(
        page.contains("No node declares it") && page.contains("Remove…"),
        "{page}"
    );
    let removed = web.post("/api/v1/cron/declared/remove", "").await;
    assert_eq!(removed.status, StatusCode::OK);
}

#[tokio::test]
async fn what_others_wrote_into_an_entry_is_text() {
    let web = Web::open().await;
    let entry = Cron::every("10m").class(MARKUP, [MARKUP]).queue(MARKUP);
    web.admin.cron().upsert(MARKUP, entry).await.unwrap();
    store(&web, "damaged", "{").await;
    let name: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
    let path = format!("/cron/{}", name.replace('+', "%20"));
    web.post(&format!("{path}/pause"), &format!("reason={name}"))
        .await;
    for path in ["/cron", &path, "/cron/damaged", "/audit"] {
        let answer = web.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        for bad in ["<script>", "<img", "onerror=alert(1)>"] {
            assert!(!answer.body.contains(bad), "{path}: {}", answer.body);
        }
    }
    let damaged = web.post("/cron/damaged/run", "").await;
    assert_eq!(damaged.status, StatusCode::CONFLICT);
    let damaged = web.json("/api/v1/cron/damaged").await;
    assert!(damaged["damaged"].is_string(), "{damaged}");
}

#[tokio::test]
async fn entries_are_read_by_pages_and_their_arguments_are_hidden() {
    let web = Web::with(|dashboard| dashboard).await;
    for number in 0..30 {
        let entry = Cron::every("1h").class("A", ["zebra"]);
        let name = format!("e{number}");
        web.admin.cron().upsert(&name, entry).await.unwrap();
    }
    let first = web.json("/api/v1/cron?limit=20").await;
    assert_eq!(
        (first["entries"].as_array().unwrap().len(), &first["next"]),
        (20, &json!("20"))
    );
    assert_eq!(first["entries"][0]["args"], json!(null));
    let last = web.json("/api/v1/cron?limit=20&at=20").await;
    assert_eq!(
        (last["entries"].as_array().unwrap().len(), &last["next"]),
        (10, &json!(null))
    );
    for (path, next) in [
        ("/cron", true),
        ("/cron?from=25", false),
        ("/cron?from=99", false),
    ] {
        let page = web.get(path).await.body;
        assert_eq!(page.contains("rel=\"next\""), next, "{path}");
    }
    for path in ["/cron/e0", "/api/v1/cron/e0"] {
        assert!(!web.get(path).await.body.contains("zebra"), "{path}");
    }
    for path in ["/cron?from=x", "/api/v1/cron?at=-1"] {
        assert_eq!(
            web.get(path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}
