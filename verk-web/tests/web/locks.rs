//! The locks of unique jobs, and what another job's lock keeps from happening.

use axum::http::StatusCode;
use serde_json::{Value, json};
use verk_core::{
    EnqueueExt as _, Jid, Job, Unique,
    client::IntoJob as _,
    manage::{Action, Query, StoredLock},
    storage::{Conflict, EffectStore, LockId},
    storage::{JobSet, LockRef, LockedJob, Page, Source},
};

use crate::support::{Web, input};

/// Enqueues a unique job of a class; the same arguments are the same lock.
async fn unique(web: &Web, class: &str) -> Jid {
    let job = Job::new(class, "default".parse().unwrap(), "[7]".to_owned()).unwrap();
    let job = job.into_job().unique(Unique::new());
    web.admin.enqueue(job).await.unwrap()
}

async fn locks(web: &Web) -> Vec<StoredLock> {
    let page = Page {
        offset: 0,
        limit: 100,
    };
    web.admin.locks(page).await.unwrap().locks
}

/// A dead job whose lock another job has taken. Returns the key of the dead one, and the other.
async fn dead_beside_another(web: &Web) -> (String, Jid) {
    let first = unique(web, "Sync").await;
    let queue = web.admin.queue("default").unwrap();
    let entry = queue.find(&first).await.unwrap().unwrap();
    assert!(entry.act(Action::Kill).await.unwrap());
    let second = unique(web, "Sync").await;
    assert_ne!(first, second);
    let dead = web.json("/api/v1/sets/dead/jobs").await;
    (dead["jobs"][0]["key"].as_str().unwrap().to_owned(), second)
}

#[tokio::test]
async fn a_lock_and_its_job_link_to_each_other() {
    let web = Web::open().await;
    assert!(web.get("/locks").await.body.contains("No job holds a lock"));
    let jid = unique(&web, "Sync").await;
    assert_eq!(unique(&web, "Sync").await, jid);
    let lock = &locks(&web).await[0];
    let list = web.get("/locks").await.body;
    let href = format!("href=\"/locks/{}\"", lock.id);
    assert!(
        list.contains(&href) && list.contains(&format!("/jobs/{jid}")),
        "{list}"
    );
    let page = web.get(&format!("/locks/{}", lock.id)).await.body;
    assert!(page.contains("1 enqueue met it"), "{page}");
    let job = web.get(&format!("/queues/default/jobs/0-{jid}")).await.body;
    assert!(
        job.contains(&href) && job.contains("held by this job"),
        "{job}"
    );

    let value = web.json("/api/v1/locks").await;
    let expected = json!({
        "lock": lock.id.to_string(), "jid": jid.as_str(), "class": "Sync",
        "place": "queue", "queue": "default", "at": null,
        "since": value["locks"][0]["since"], "until": null,
        "conflicts": 1, "next": null, "revision": lock.revision,
    });
    assert_eq!(
        value,
        json!({"locks": [expected], "total": 1, "next": null})
    );
    assert_eq!(
        web.json(&format!("/api/v1/locks/{}", lock.id)).await,
        expected
    );
    let jobs = web.json("/api/v1/queues/default/jobs").await;
    assert_eq!(jobs["jobs"][0]["lock"], json!(lock.id.to_string()));
}

#[tokio::test]
async fn a_job_of_a_set_is_found_where_its_lock_says() {
    let web = Web::open().await;
    let jid = unique(&web, "Sync").await;
    let queue = web.admin.queue("default").unwrap();
    let entry = queue.find(&jid).await.unwrap().unwrap();
    let later = Action::Reschedule(crate::support::time(4_000_000_000));
    assert!(entry.act(later).await.unwrap());
    let path = format!("/jobs/{jid}?at=schedule%2F4000000000");
    let list = web.get("/locks").await.body;
    assert!(list.contains(&format!("href=\"{path}\"")), "{list}");
    let job = web.get(&path).await.body;
    assert!(job.contains("/scheduled/actions/delete"), "{job}");
    // It has moved since: the search finds it.
    let other = web.get(&format!("/jobs/{jid}?at=dead%2F7")).await;
    assert_eq!(other.status, StatusCode::OK);
    assert!(other.body.contains("href=\"/scheduled\""), "{}", other.body);
}

#[tokio::test]
async fn a_lock_is_released_once_it_was_confirmed() {
    let web = Web::open().await;
    let jid = unique(&web, "Sync").await;
    let id = locks(&web).await[0].id;
    let path = format!("/locks/{id}/release");
    let page = web.get(&format!("/locks/{id}")).await.body;
    let form = format!(
        "jid={}&revision={}",
        input(&page, "jid"),
        input(&page, "revision")
    );
    for bad in ["", "revision=0", "jid=a&revision=x", "jid=a&revision=-1"] {
        assert_eq!(
            web.post(&path, bad).await.status,
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
    let question = web.post(&path, &form).await;
    assert_eq!(
        (question.status, locks(&web).await.len()),
        (StatusCode::OK, 1)
    );
    assert!(
        question.body.contains("may be stored beside it"),
        "{}",
        question.body
    );

    let sent = format!("confirm=yes&{form}");
    let done = web.post(&path, &sent).await.location;
    assert_eq!(done, format!("/locks/{id}?done=released&n=1"));
    assert!(web.get(&done).await.body.contains("This lock is free"));
    assert_eq!(locks(&web).await.len(), 0);
    // The job stays, and a second one comes beside it, with the same lock.
    let second = unique(&web, "Sync").await;
    assert_ne!(second, jid);
    assert_eq!(web.len(&Source::Queue("default".parse().unwrap())).await, 2);
    // The same click again does not release the lock of the second.
    let again = web.post(&path, &sent).await.location;
    assert_eq!(again, format!("/locks/{id}?done=released&n=0"));
    assert!(web.get(&again).await.body.contains("changed meanwhile"));
    assert_eq!(locks(&web).await[0].jid, second);

    let page = Page {
        offset: 0,
        limit: 10,
    };
    let audit = web.admin.audit(page).await.unwrap();
    let release: Vec<_> = audit
        .iter()
        .filter(|entry| entry.action == "release")
        .collect();
    assert_eq!(release.len(), 1);
    assert!(release[0].target.as_deref().unwrap().contains(jid.as_str()));
}

#[tokio::test]
async fn a_program_releases_the_lock_that_it_saw() {
    let web = Web::open().await;
    unique(&web, "Sync").await;
    let lock = locks(&web).await.remove(0);
    let path = format!("/api/v1/locks/{}/release", lock.id);
    let body = |revision: u64, jid: &str| json!({"revision": revision, "jid": jid}).to_string();
    for stale in [
        body(lock.revision + 1, lock.jid.as_str()),
        body(lock.revision, "other"),
    ] {
        assert_eq!(
            web.post(&path, &stale).await.status,
            StatusCode::CONFLICT,
            "{stale}"
        );
    }
    let right = body(lock.revision, lock.jid.as_str());
    assert_eq!(web.post(&path, &right).await.status, StatusCode::OK);
    assert_eq!(web.post(&path, &right).await.status, StatusCode::CONFLICT);
    let gone = web.get(&format!("/api/v1/locks/{}", lock.id)).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    for bad in ["x", "%ff", "00", &"0".repeat(33), &"A".repeat(32)] {
        let status = web.get(&format!("/locks/{bad}")).await.status;
        assert!(status.is_client_error(), "{bad}: {status}");
    }
}

#[tokio::test]
async fn a_dead_job_stays_while_another_one_holds_its_lock() {
    let web = Web::open().await;
    let (key, holder) = dead_beside_another(&web).await;
    for action in ["requeue", "reschedule"] {
        let path = format!("/api/v1/sets/dead/jobs/{key}/{action}");
        let answer = web.post(&path, r#"{"in":60}"#).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(
            (&problem["holder"], &problem["applied"]),
            (&json!(holder.as_str()), &json!("no"))
        );
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains(holder.as_str())
        );
    }
    let job = web.get(&format!("/dead/{key}")).await.body;
    assert!(job.contains(&format!("href=\"/jobs/{holder}\"")), "{job}");
    let form = format!("job={}", input(&job, "job"));
    let answer = web.post("/dead/actions/requeue", &form).await;
    assert_eq!(answer.location, "/dead?done=requeue&n=0&gone=0&held=1");
    let notice = web.get(&answer.location).await.body;
    assert!(notice.contains("1 job stays dead"), "{notice}");
    assert_eq!(web.len(&Source::Set(JobSet::Dead)).await, 1);

    // Once the lock is free, it runs.
    let dead = web.admin.dead_set().list(&Query::new()).await.unwrap();
    let held = web
        .admin
        .lock(dead.entries[0].lock().unwrap())
        .await
        .unwrap();
    assert!(web.admin.release_lock(&held.unwrap()).await.unwrap());
    let path = format!("/api/v1/sets/dead/jobs/{key}/requeue");
    assert_eq!(web.post(&path, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn locks_are_read_by_pages() {
    let web = Web::open().await;
    let job = |number: u128| LockedJob {
        lock: LockRef {
            id: LockId::from_bits(number),
            jid: Jid::from(format!("j{number}")),
            queue: "default".parse().unwrap(),
        },
        job: format!(r#"{{"class":"A","jid":"j{number}","args":[]}}"#).into(),
        at: None,
        class: "A".to_owned(),
        lasts: None,
        on_conflict: Conflict::Skip,
    };
    let jobs: Vec<LockedJob> = (0..130).map(job).collect();
    web.storage.enqueue_locked(&jobs).await;
    let first = web.json("/api/v1/locks?limit=1000").await;
    assert_eq!(
        (
            first["locks"].as_array().unwrap().len(),
            &first["next"],
            &first["total"]
        ),
        (100, &json!("100"), &json!(130))
    );
    let last = web.json("/api/v1/locks?limit=100&at=100").await;
    assert_eq!(
        (last["locks"].as_array().unwrap().len(), &last["next"]),
        (30, &json!(null))
    );
    for (path, next) in [
        ("/locks", Some(25)),
        ("/locks?from=125", None),
        ("/locks?from=999", None),
    ] {
        let page = web.get(path).await.body;
        let link = next.map(|next| format!("href=\"/locks?from={next}\""));
        assert_eq!(page.contains("rel=\"next\""), link.is_some(), "{path}");
        assert!(link.is_none_or(|link| page.contains(&link)), "{page}");
    }
    for path in ["/locks?from=x", "/api/v1/locks?at=-1"] {
        assert_eq!(
            web.get(path).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
}
