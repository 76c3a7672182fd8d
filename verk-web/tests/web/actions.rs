//! What the buttons do, and what they leave alone.

use axum::http::StatusCode;
use verk_core::storage::{JobSet, Source};

use crate::support::{Web, failed, input};

const DEAD: Source = Source::Set(JobSet::Dead);

/// The form keys of all jobs of a page.
fn keys(html: &str) -> Vec<String> {
    let values = html.split("name=\"job\" value=\"").skip(1);
    values
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

fn form(keys: &[String]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for key in keys {
        form.append_pair("job", key);
    }
    form.finish()
}

async fn three_dead() -> Web {
    let web = Web::open().await;
    for jid in ["d1", "d2", "d3"] {
        web.add(
            JobSet::Dead,
            1_700_000_000,
            failed(jid, "Charge", "timeout"),
        )
        .await;
    }
    web
}

#[tokio::test]
async fn chosen_jobs_run_now() {
    let web = three_dead().await;
    let chosen = &keys(&web.get("/dead").await.body)[..2];
    let answer = web.post("/dead/actions/requeue", &form(chosen)).await;
    assert_eq!(
        (answer.status, &*answer.location),
        (StatusCode::SEE_OTHER, "/dead?done=requeue&n=2&gone=0")
    );
    assert_eq!(web.len(&DEAD).await, 1);
    assert_eq!(web.len(&Source::Queue("default".parse().unwrap())).await, 2);
    assert!(
        web.get(&answer.location)
            .await
            .body
            .contains("2 jobs moved to their queues.")
    );

    // The same form again meets nothing, and says so.
    let again = web.post("/dead/actions/requeue", &form(chosen)).await;
    assert_eq!(again.location, "/dead?done=requeue&n=0&gone=2");
}

#[tokio::test]
async fn deleting_asks_first() {
    let web = three_dead().await;
    let chosen = form(&keys(&web.get("/dead").await.body)[..1]);
    let question = web.post("/dead/actions/delete", &chosen).await;
    assert_eq!((question.status, web.len(&DEAD).await), (StatusCode::OK, 3));
    assert!(question.body.contains("Delete 1 job") && question.body.contains("no undo"));
    let sent = format!("confirm=yes&{}", form(&keys(&question.body)));
    assert_eq!(
        web.post("/dead/actions/delete", &sent).await.location,
        "/dead?done=delete&n=1&gone=0"
    );
    assert_eq!(web.len(&DEAD).await, 2);
}

#[tokio::test]
async fn a_job_that_changed_meanwhile_is_left_alone() {
    let web = Web::open().await;
    web.add(
        JobSet::Dead,
        1_700_000_000,
        failed("d1", "Charge", "timeout"),
    )
    .await;
    let chosen = form(&keys(&web.get("/dead").await.body));
    // The same job at the same time, with other bytes.
    web.admin.dead_set().clear().await.unwrap();
    web.add(
        JobSet::Dead,
        1_700_000_000,
        failed("d1", "Charge", "declined"),
    )
    .await;
    let answer = web
        .post("/dead/actions/delete", &format!("confirm=yes&{chosen}"))
        .await;
    assert_eq!(
        (&*answer.location, web.len(&DEAD).await),
        ("/dead?done=delete&n=0&gone=1", 1)
    );
    assert!(
        web.get(&answer.location)
            .await
            .body
            .contains("stayed as it was")
    );
}

#[tokio::test]
async fn all_that_match_are_counted_and_then_changed() {
    let web = three_dead().await;
    web.add(
        JobSet::Dead,
        1_700_000_000,
        failed("other", "Resize", "timeout"),
    )
    .await;
    let question = web
        .post("/dead/actions/delete", "scope=all&class=Charge")
        .await
        .body;
    assert!(
        question.contains("Delete 3 jobs") && question.contains("class “<bdi>Charge</bdi>”"),
        "{question}"
    );
    let sent = format!("confirm=yes&scope=all&class={}", input(&question, "class"));
    let answer = web.post("/dead/actions/delete", &sent).await;
    assert_eq!(answer.location, "/dead?done=delete&n=3");
    assert_eq!(web.len(&DEAD).await, 1);
    let tasks = web.get("/tasks").await.body;
    assert!(
        tasks.contains("ended") && tasks.contains("class “Charge”"),
        "{tasks}"
    );
}

#[tokio::test]
async fn rescheduling_needs_a_time() {
    let web = three_dead().await;
    let chosen = form(&keys(&web.get("/dead").await.body)[..1]);
    let sent = format!("confirm=yes&{chosen}");
    let missing = web.post("/dead/actions/reschedule", &sent).await;
    assert_eq!(
        (missing.status, web.len(&DEAD).await),
        (StatusCode::BAD_REQUEST, 3)
    );
    let answer = web
        .post(
            "/dead/actions/reschedule",
            &format!("{sent}&time=2100-01-01T00:00"),
        )
        .await;
    assert_eq!(answer.location, "/dead?done=reschedule&n=1&gone=0");
    let retries = web.get("/retries").await.body;
    assert!(retries.contains("2100-01-01T00:00:00.000Z"), "{retries}");
}

#[tokio::test]
async fn a_queue_is_paused_resumed_and_cleared() {
    let web = Web::open().await;
    web.push("a/b", r#"{"class":"A","jid":"1","queue":"a/b","args":[]}"#)
        .await;
    // The figures of this page are not shown again after the action.
    web.get("/queues/a%2Fb").await;
    let paused = web
        .post("/queues/a%2Fb/pause", "reason=the+bank+is+closed")
        .await;
    let page = web.get(&paused.location).await.body;
    assert!(
        page.contains("paused on all nodes") && page.contains("the bank is closed"),
        "{page}"
    );
    assert_eq!(web.admin.paused_queues().await.unwrap().len(), 1);
    let resumed = web.post("/queues/a%2Fb/resume", "").await;
    assert_eq!(resumed.location, "/queues/a%2Fb?done=resumed");
    assert_eq!(web.admin.paused_queues().await.unwrap().len(), 0);

    let queue = Source::Queue("a/b".parse().unwrap());
    for (typed, left) in [("", 1), ("typed=a", 1), ("typed=a%2Fb", 0)] {
        web.post("/queues/a%2Fb/clear", typed).await;
        assert_eq!(web.len(&queue).await, left, "{typed}");
    }
}

#[tokio::test]
async fn a_form_that_is_none_changes_nothing() {
    let web = three_dead().await;
    let digest = "0".repeat(64);
    for form in [
        "",
        "job=",
        "job=x",
        "job=a:b:c",
        &format!("job={digest}:NaN"),
        &format!("job={digest}:@-1"),
    ] {
        let answer = web
            .post("/dead/actions/delete", &format!("confirm=yes&{form}"))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{form}");
    }
    let unknown = format!("confirm=yes&job={digest}:1700000000&job={digest}:inf&job={digest}:@7");
    assert_eq!(
        web.post("/dead/actions/delete", &unknown).await.location,
        "/dead?done=delete&n=0&gone=3"
    );
    assert_eq!(web.len(&DEAD).await, 3);
}

#[tokio::test]
async fn a_queue_whose_name_browsers_remove_from_a_path_is_paused_and_cleared() {
    let web = Web::open().await;
    for name in [".", "..", "~.", "~"] {
        web.push(name, r#"{"class":"A","jid":"1","args":[]}"#).await;
        let path = if name == "~" {
            "/queues/~".to_owned()
        } else {
            format!("/queues/~{name}")
        };
        let paused = web.post(&format!("{path}/pause"), "").await;
        assert_eq!(paused.location, format!("{path}?done=paused"));
        let load = web.json(&format!("/api/v1{path}/load")).await;
        assert_eq!(
            (&load["waiting"], &load["paused"]),
            (&1.into(), &true.into())
        );
        let job = web.get(&format!("{path}/jobs/0-1")).await;
        assert_eq!(job.status, StatusCode::OK);
        assert!(
            job.body.contains(&format!("href=\"{path}\"")),
            "{}",
            job.body
        );
        let cleared = web
            .post(&format!("{path}/clear"), &format!("typed={name}"))
            .await;
        assert_eq!(cleared.location, format!("{path}?done=cleared&n=1"));
    }
}
