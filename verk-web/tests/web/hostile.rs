//! Payloads, names and addresses from somebody who means harm.

use axum::http::StatusCode;
use verk_core::storage::JobSet;

use crate::support::Web;

const MARKUP: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

/// The addresses of all lists and of all jobs that they link to.
async fn addresses(web: &Web) -> Vec<String> {
    let mut all: Vec<String> = [
        "/",
        "/queues",
        "/scheduled",
        "/retries",
        "/dead",
        "/running",
        "/processes",
        "/nodes",
        "/metrics",
        "/doctor",
        "/redis",
        "/tasks",
        "/locks",
        "/audit",
    ]
    .map(str::to_owned)
    .to_vec();
    let lists = ["/queues", "/scheduled", "/retries", "/dead"];
    for list in lists {
        let body = web.get(list).await.body;
        for link in body.split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap().replace("&#38;", "&");
            if link.starts_with(&format!("{list}/")) {
                if list == "/queues" {
                    let queue = web.get(&link).await.body;
                    let jobs = queue
                        .split("href=\"")
                        .skip(1)
                        .map(|job| job.split('"').next().unwrap());
                    all.extend(jobs.filter(|job| job.contains("/jobs/")).map(str::to_owned));
                }
                all.push(link);
            }
        }
    }
    all
}

/// Every page answers, and nothing of a payload is markup in it.
async fn check(web: &Web, at_least: usize) {
    let addresses = addresses(web).await;
    assert!(addresses.len() >= at_least, "{addresses:?}");
    for address in addresses {
        let answer = web.get(&address).await;
        assert!(
            answer.status == StatusCode::OK || answer.status == StatusCode::NOT_FOUND,
            "{address}: {}",
            answer.status
        );
        assert!(!answer.body.contains("<script>"), "{address}");
        assert!(!answer.body.contains("<img"), "{address}");
        assert!(!answer.body.contains("onerror=alert(1)>"), "{address}");
    }
}

#[tokio::test]
async fn markup_in_any_field_is_text() {
    let web = Web::open().await;
    let text = serde_json::to_string(MARKUP).unwrap();
    let job = format!(
        r#"{{"class":{text},"jid":{text},"queue":{text},"args":[{text}],"tags":[{text}],"error_class":{text},"error_message":{text},"error_backtrace":[{text}],"failed_at":1,"retry_count":1,"retry_queue":{text},"traceparent":{text}}}"#
    );
    web.push(MARKUP, job.clone()).await;
    for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
        web.add(set, 1_700_000_000, job.clone()).await;
    }
    web.admin.pause_queue_everywhere(MARKUP).await.unwrap();
    check(&web, 17).await;
    for query in [
        "class", "queue", "error", "text", "since", "at", "order", "done", "n", "days", "jid",
        "name", "range",
    ] {
        let value: String = form_urlencoded::byte_serialize(MARKUP.as_bytes()).collect();
        for path in ["/", "/dead", "/queues", "/metrics", "/running"] {
            let answer = web.get(&format!("{path}?{query}={value}")).await;
            assert!(answer.status.as_u16() < 500, "{path} {query}");
            assert!(
                !answer.body.contains("<script>") && !answer.body.contains("<img"),
                "{path} {query}"
            );
        }
    }
}

#[tokio::test]
async fn payloads_that_are_no_jobs_are_shown() {
    let web = Web::open().await;
    let deep = format!(
        r#"{{"class":"Deep","jid":"deep","queue":"q","args":{}{}}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let payloads: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"\0".to_vec(),
        b"\xff\xfe{".to_vec(),
        b"[1,2]".to_vec(),
        b"null".to_vec(),
        MARKUP.into(),
        deep.into(),
        vec![b'{'; 1 << 20],
        format!(
            r#"{{"class":"{0}","jid":"rtl","queue":"q","args":["{0}"]}}"#,
            "\u{202e}evil\u{0}".escape_default()
        )
        .into(),
        format!(
            r#"{{"class":"Long","jid":"{0}","queue":"{0}","args":["{0}"]}}"#,
            "x".repeat(200_000)
        )
        .into(),
        r#"{"class":"\u202eevil\u0000","jid":"a/b?c#d%2F..","queue":"q","args":["\u202e"]}"#.into(),
        r#"{"class":1,"jid":[],"queue":{},"args":"x"}"#.into(),
    ];
    for (at, payload) in payloads.into_iter().enumerate() {
        web.push("q", payload.clone()).await;
        for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
            web.add(set, 1_700_000_000 + at as u64, payload.clone())
                .await;
        }
    }
    check(&web, 14).await;
}

#[tokio::test]
async fn a_name_with_any_sign_has_a_page() {
    let web = Web::open().await;
    let names = [
        "a/b",
        "a%2Fb",
        "a b",
        "a?b#c",
        "..",
        ".",
        "ünïcode",
        "a\"b'c<d>",
        "-",
        "a&b=c",
        "{x}",
        "*",
    ];
    for (at, name) in names.iter().enumerate() {
        web.push(
            name,
            format!(r#"{{"class":"A","jid":"jid{at}","queue":"q","args":[]}}"#),
        )
        .await;
    }
    let list = web.get("/queues").await.body;
    let links: Vec<String> = list
        .split("<a href=\"/queues/")
        .skip(1)
        .map(|link| link.split('"').next().unwrap().to_owned())
        .collect();
    assert_eq!(links.len(), names.len(), "{links:?}");
    for link in links {
        let page = web.get(&format!("/queues/{link}")).await;
        assert_eq!(page.status, StatusCode::OK, "{link}");
        assert!(page.body.contains("0-jid"), "{link}");
    }
}

#[tokio::test]
async fn any_address_is_answered() {
    let web = Web::open().await;
    for path in [
        "/queues/%ff",
        "/queues/%00",
        "/dead/x",
        "/dead/NaN-x",
        "/dead/1e999-x",
        "/dead/-",
        "/tasks/x",
        "/tasks/99999999999999999999",
        "/processes/%22",
        "/metrics/%ff",
        "/metrics/a?range=x",
        "/queues/q/jobs/x",
        "/queues/q/jobs/18446744073709551615-x",
        "/?days=0",
        "/?days=-1",
        "/?days=99999999999",
        "/running?at=%00",
        "/api/v1/history?days=99999999999",
        "/api/v1/sets/x/jobs",
        "/api/v1/metrics?minutes=99999999999",
        "/assets/..%2f..%2fCargo.toml",
        "/dead?at=n1e308_18446744073709551615",
    ] {
        let answer = web.get(path).await;
        assert!(
            answer.status.as_u16() < 500,
            "{path}: {} {}",
            answer.status,
            answer.body
        );
    }
}
