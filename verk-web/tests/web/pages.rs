//! What each page shows.

use axum::http::StatusCode;
use verk_core::{
    names::NodeId,
    storage::{Counts, Executions, JobSet, Minute, StatsReport, StatsStore},
};

use crate::support::{Web, failed, time};

#[tokio::test]
async fn an_empty_storage_says_what_will_be_here() {
    let web = Web::open().await;
    for (path, text) in [
        ("/", "No queue had a job yet"),
        ("/queues", "No queue had a job yet"),
        ("/scheduled", "No job in the scheduled set"),
        ("/retries", "Jobs come here when they fail"),
        ("/dead", "Jobs come here when they fail"),
        ("/queues/mailers", "No job in queue <bdi>mailers</bdi>"),
        ("/running", "No job runs"),
        ("/processes", "No process reports itself"),
        ("/nodes", "No node is registered"),
        ("/metrics", "No metrics"),
        ("/tasks", "No task"),
    ] {
        let answer = web.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body.contains(text), "{path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_queue_shows_its_jobs_the_next_first() {
    let web = Web::open().await;
    for number in 0..30 {
        let job = format!(
            r#"{{"class":"Welcome","jid":"j{number}","queue":"mailers","args":[{number}]}}"#
        );
        web.push("mailers", job).await;
    }
    let first = web.get("/queues/mailers").await.body;
    assert!(first.contains("/queues/mailers/jobs/0-j0") && first.contains("[24]"));
    assert!(!first.contains("[25]"));
    let next = first
        .split("rel=\"next\"")
        .next()
        .unwrap()
        .rsplit("href=\"")
        .next()
        .unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    let second = web.get(&next).await.body;
    assert!(second.contains("[29]") && !second.contains("[24]"));

    let job = web.get("/queues/mailers/jobs/7-j7").await;
    assert_eq!(job.status, StatusCode::OK);
    assert!(job.body.contains("<h1>Welcome</h1>") && job.body.contains(">waiting</span>"));
    assert_eq!(
        web.get("/queues/mailers/jobs/7-other").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_failed_job_shows_its_error_and_when_it_runs_again() {
    let web = Web::open().await;
    web.add(
        JobSet::Retry,
        4_000_000_000,
        failed("r1", "Charge", "no answer"),
    )
    .await;
    let list = web.get("/retries").await.body;
    assert!(list.contains("Io: no answer") && list.contains("/retries/4000000000-r1"));
    let job = web.get("/retries/4000000000-r1").await.body;
    for text in [
        "Io: no answer",
        ">retries <time",
        "failed first",
        "next try",
        "&#34;ada&#34;",
    ] {
        assert!(job.contains(text), "{text}: {job}");
    }
}

#[tokio::test]
async fn a_filter_finds_jobs_by_what_they_are() {
    let web = Web::open().await;
    for (jid, class, error) in [
        ("d1", "Charge", "timeout"),
        ("d2", "Charge", "declined"),
        ("d3", "Resize", "timeout"),
    ] {
        web.add(JobSet::Dead, 1_700_000_000, failed(jid, class, error))
            .await;
    }
    for (query, found) in [
        ("class=Charge", &["d1", "d2"][..]),
        ("error=timeout", &["d1", "d3"]),
        ("class=Charge&error=timeout", &["d1"]),
        ("queue=other", &[]),
        ("text=ada", &["d1", "d2", "d3"]),
        (
            "since=2023-11-14T22:13:20&until=2023-11-14T22:13:20",
            &["d1", "d2", "d3"],
        ),
        ("since=2023-11-14T22:13:21", &[]),
    ] {
        let list = web.get(&format!("/dead?{query}")).await.body;
        for jid in ["d1", "d2", "d3"] {
            assert_eq!(
                list.contains(&format!("-{jid}\"")),
                found.contains(&jid),
                "{query}: {jid}"
            );
        }
    }
    assert_eq!(
        web.get("/dead?since=yesterday").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        web.get("/dead?at=nonsense").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn arguments_are_hidden_unless_the_program_shows_them() {
    let secret = r#"{"class":"A","jid":"h1","queue":"q","args":["hunter2"]}"#;
    let hidden = Web::with(|dashboard| dashboard).await;
    let redacted =
        Web::with(|dashboard| dashboard.redact(|job| format!("[{}]", job.args().len()))).await;
    for web in [&hidden, &redacted] {
        web.push("q", secret).await;
        web.add(JobSet::Dead, 1, secret).await;
        for path in [
            "/queues/q",
            "/queues/q/jobs/0-h1",
            "/dead",
            "/dead/1-h1",
            // Nobody can guess them by a search.
            "/dead?text=hunter2",
            "/api/v1/queues/q/jobs",
            "/api/v1/sets/dead/jobs/1-h1",
        ] {
            let body = web.get(path).await.body.replace("value=\"hunter2\"", "");
            assert!(!body.contains("hunter2"), "{path}: {body}");
        }
    }
    assert!(
        hidden
            .get("/queues/q/jobs/0-h1")
            .await
            .body
            .contains("Hidden")
    );
    assert!(
        redacted
            .get("/queues/q/jobs/0-h1")
            .await
            .body
            .contains("11")
    );
}

#[tokio::test]
async fn the_addresses_of_sidekiq_web_lead_to_these_pages() {
    let web = Web::open().await;
    for (from, to) in [
        ("/busy", "/running"),
        ("/morgue", "/dead"),
        ("/morgue/1700000000.5-j1", "/dead/1700000000.5-j1"),
    ] {
        let answer = web.get(from).await;
        assert_eq!(
            (answer.status, answer.location),
            (StatusCode::PERMANENT_REDIRECT, to.to_owned())
        );
    }
}

#[tokio::test]
async fn links_have_the_path_where_it_is_nested() {
    let web = Web::open().await;
    web.push("a/b", r#"{"class":"A","jid":"n1","queue":"a/b","args":[]}"#)
        .await;
    let nested = axum::Router::new().nest("/ops/verk", web.router.clone());
    let web = Web {
        router: nested,
        ..web
    };
    let body = web.get("/ops/verk/queues").await.body;
    assert!(
        body.contains("href=\"/ops/verk/queues/a%2Fb\"") && !body.contains("href=\"/queues"),
        "{body}"
    );
    let queue = web.get("/ops/verk/queues/a%2Fb").await;
    assert!(
        queue.body.contains("/ops/verk/queues/a%2Fb/jobs/0-n1"),
        "{}",
        queue.body
    );
    assert!(queue.body.contains("href=\"/ops/verk\""), "{}", queue.body);
    assert_eq!(web.get("/ops/verk").await.status, StatusCode::OK);
    let moved = web.get("/ops/verk/busy").await;
    assert_eq!(moved.location, "/ops/verk/running");
}

#[tokio::test]
async fn several_storages_have_a_switch() {
    let (eu, us) = (Web::open().await, Web::open().await);
    us.push("only-us", "{}").await;
    let both = Web::with(|dashboard| dashboard.title("eu").and("us", us.admin.clone())).await;
    let first = both.get("/").await.location;
    assert_eq!(first, "/i/eu");
    assert_eq!(both.get(&first).await.status, StatusCode::OK);
    let page = both.get("/i/us/queues").await.body;
    assert!(
        page.contains("only-us") && page.contains("href=\"/i/eu\""),
        "{page}"
    );
    assert!(!both.get("/i/eu/queues").await.body.contains("only-us"));
    drop(eu);
}

#[tokio::test]
async fn storages_with_the_same_name_have_their_own_addresses() {
    let web = Web::open().await;
    let all = Web::with(|dashboard| {
        let dashboard = dashboard.title("é").and("ü", web.admin.clone());
        dashboard.and("ü", web.admin.clone()).and("", web.admin)
    });
    let page = all.await.get("/i/-1").await.body;
    for path in ["/i/-", "/i/-1", "/i/-2", "/i/3"] {
        assert!(page.contains(&format!("href=\"{path}\"")), "{path}: {page}");
    }
}

#[tokio::test]
async fn the_overview_shows_the_runs_of_the_last_hour_and_the_latest_failures() {
    let web = Web::open().await;
    let empty = web.get("/").await.body;
    assert!(empty.contains("No metrics in the last hour"), "{empty}");
    assert!(!empty.contains("Class and error"), "{empty}");

    let runs = |succeeded, failed| Executions {
        counts: Counts { succeeded, failed },
        ..Executions::default()
    };
    // Of two classes in one minute, and long ago.
    let classes = [
        ("A".to_owned(), runs(3, 1)),
        ("B".to_owned(), runs(1_000, 0)),
    ];
    let (now, old) = (Minute::of(web.admin.now()), Minute::of(time(1_700_000_000)));
    let report = StatsReport {
        executions: [(now, classes.clone().into()), (old, classes.into())].into(),
        ..StatsReport::default()
    };
    let node = NodeId::from("n");
    web.storage.record_stats(&node, 1, &report).await.unwrap();
    for number in 0..7 {
        let job = failed(&format!("d{number}"), "Charge", &format!("error {number}"));
        web.add(JobSet::Dead, 1_700_000_000 + number, job).await;
    }
    web.add(JobSet::Retry, 4_000_000_000, failed("r1", "Resize", "slow"))
        .await;
    // The first dashboard keeps what it has read; another one reads all.
    let page = Web::of(&web.storage).await.get("/").await.body;
    for text in [
        "at most 1\u{202f}004 in a minute",
        "1\u{202f}004, 1 failed",
        "href=\"/dead/1700000006-d6\"",
        "href=\"/dead/1700000002-d2\"",
        "Io: error 6",
        "All 7 jobs",
        "href=\"/retries/4000000000-r1\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(
        !page.contains("-d1\"") && !page.contains("All 1 job"),
        "{page}"
    );
    // It has the numbers for those who do not see the chart.
    let row = "<td class=\"n\">1\u{202f}004</td><td class=\"n\">1</td></tr>";
    assert_eq!(page.matches(row).count(), 1, "{page}");
}
