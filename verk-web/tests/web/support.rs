//! A dashboard in a test, and how to ask it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use bytes::Bytes;
use serde_json::Value;
use tower::ServiceExt;
use verk_core::{
    Verk,
    manage::Admin,
    storage::{
        DeadLimits, Due, DueSet, JobSet, JobStore, Move, MoveTarget, Settled, Source, WaitingStore,
    },
};
use verk_testing::MemoryStorage;
use verk_web::{Access, Dashboard};

/// A dashboard whose visitor may do all.
pub(crate) struct Web {
    pub(crate) storage: MemoryStorage,
    pub(crate) admin: Admin,
    pub(crate) router: Router,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) body: String,
}

impl Web {
    /// Shows the arguments of jobs.
    pub(crate) async fn open() -> Self {
        Self::with(|dashboard| dashboard.show_args()).await
    }

    /// Another dashboard of a storage, which has read nothing yet.
    pub(crate) async fn of(storage: &MemoryStorage) -> Self {
        Self::show(storage.clone(), |dashboard| dashboard.show_args()).await
    }

    pub(crate) async fn with(set: impl FnOnce(Dashboard) -> Dashboard) -> Self {
        Self::show(MemoryStorage::default(), set).await
    }

    async fn show(storage: MemoryStorage, set: impl FnOnce(Dashboard) -> Dashboard) -> Self {
        let verk = Verk::builder()
            .storage(storage.clone())
            .build()
            .await
            .unwrap();
        let admin = verk.admin();
        let router = set(Dashboard::new(admin.clone(), Access::open())).router();
        Self {
            storage,
            admin,
            router,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", &[]).await
    }

    /// Sends a form of this page.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, form, &[]).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("sec-fetch-site", "same-origin");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let location = response.headers().get(header::LOCATION);
        let location = location.map_or_else(String::new, |to| to.to_str().unwrap().to_owned());
        let body = to_bytes(response.into_body(), 16 << 20).await.unwrap();
        Answer {
            status,
            location,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Puts bytes into a queue, as any program may.
    pub(crate) async fn push(&self, queue: &str, payload: impl Into<Bytes>) {
        self.storage
            .enqueue(&queue.parse().unwrap(), &[payload.into()])
            .await
            .unwrap();
    }

    /// Puts bytes into a set.
    pub(crate) async fn add(&self, set: JobSet, at: u64, payload: impl Into<Bytes>) {
        let (from, held) = (Source::Queue("source".parse().unwrap()), payload.into());
        self.push("source", held.clone()).await;
        let job = Due {
            at: time(at),
            job: held.clone(),
        };
        let to = match set {
            JobSet::Schedule => MoveTarget::Set {
                set: DueSet::Schedule,
                job,
            },
            JobSet::Retry => MoveTarget::Set {
                set: DueSet::Retry,
                job,
            },
            JobSet::Dead => MoveTarget::Dead {
                job,
                limits: DeadLimits {
                    max_jobs: 1_000_000,
                    timeout: Duration::from_secs(1 << 40),
                },
            },
        };
        let moved = self
            .storage
            .move_jobs(&from, &[Move::new(held, to)], None)
            .await;
        assert!(matches!(moved[..], [Settled::Done]), "{moved:?}");
        self.storage.clear(&from).await.unwrap();
    }

    pub(crate) async fn len(&self, source: &Source) -> usize {
        self.storage.len(source).await.unwrap()
    }
}

pub(crate) fn time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A payload that failed.
pub(crate) fn failed(jid: &str, class: &str, error: &str) -> String {
    format!(
        r#"{{"class":"{class}","jid":"{jid}","queue":"default","args":["ada"],"created_at":1700000000.0,"enqueued_at":1700000000.5,"failed_at":1700000001.0,"retry_count":2,"retried_at":1700000100.0,"error_class":"Io","error_message":"{error}","retry":true}}"#
    )
}

/// The value of `name` in the first input of a page with that name.
pub(crate) fn input(html: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let from = html
        .find(&start)
        .unwrap_or_else(|| panic!("no {name} in {html}"))
        + start.len();
    let end = html[from..].find('"').unwrap();
    html[from..from + end].replace("&#38;", "&")
}
