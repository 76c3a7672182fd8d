use std::collections::BTreeSet;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use tower::ServiceExt;
use verk_core::{Verk, manage::Admin};
use verk_testing::MemoryStorage;

use super::*;
use crate::{Access, Dashboard, Visitor};

async fn admin() -> Admin {
    let verk = Verk::builder()
        .storage(MemoryStorage::default())
        .build()
        .await
        .unwrap();
    verk.admin()
}

/// A dashboard whose visitors say their role in a header.
async fn dashboard() -> Router {
    let access = Access::by(|request| {
        let role = match request.headers.get("x-role")?.to_str().ok()? {
            "view" => Role::View,
            "operate" => Role::Operate,
            "admin" => Role::Admin,
            _ => return None,
        };
        Some(Visitor::new(role))
    });
    Dashboard::new(admin().await, access).router()
}

fn request(route: &Route, role: Option<&str>, headers: &[(&str, &str)]) -> Request<Body> {
    let mut path = String::new();
    // Whatever stands for a parameter: nothing has that name.
    for part in route.path.split('/').skip(1) {
        path += if part.starts_with('{') { "/x" } else { "/" };
        if !part.starts_with('{') {
            path += part;
        }
    }
    let mut request = Request::builder().method(&route.method).uri(path);
    if let Some(role) = role {
        request = request.header("x-role", role);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

const SAME_ORIGIN: &[(&str, &str)] = &[("sec-fetch-site", "same-origin")];

#[tokio::test]
async fn every_route_needs_its_role() {
    let dashboard = dashboard().await;
    let routes = all();
    assert!(routes.len() > 20);
    for route in routes {
        let (name, needed) = (format!("{} {}", route.method, route.path), route.role);
        let status = async |role| {
            let request = request(&route, role, SAME_ORIGIN);
            dashboard.clone().oneshot(request).await.unwrap().status()
        };
        assert_eq!(status(None).await, StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(status(Some("?")).await, StatusCode::UNAUTHORIZED, "{name}");
        for (role, text) in [
            (Role::View, "view"),
            (Role::Operate, "operate"),
            (Role::Admin, "admin"),
        ] {
            let status = status(Some(text)).await;
            assert_eq!(
                status == StatusCode::FORBIDDEN,
                role < needed,
                "{name} as {text}: {status}"
            );
            assert!(status.as_u16() < 500, "{name} as {text}: {status}");
        }
    }
}

#[tokio::test]
async fn every_change_comes_from_the_page_itself() {
    let dashboard = dashboard().await;
    let mut changes = 0;
    for route in all() {
        if route.method.is_safe() {
            assert_eq!(route.role, Role::View, "{}", route.path);
            continue;
        }
        changes += 1;
        assert!(route.role > Role::View, "{}", route.path);
        for headers in [
            &[][..],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("origin", "https://evil.example"), ("host", "verk.example")],
            &[("origin", "null"), ("host", "verk.example")],
        ] {
            let request = request(&route, Some("admin"), headers);
            let response = dashboard.clone().oneshot(request).await.unwrap();
            assert_eq!(
                response.status(),
                StatusCode::FORBIDDEN,
                "{} {headers:?}",
                route.path
            );
        }
    }
    assert!(changes > 10);
}

#[tokio::test]
async fn every_answer_forbids_what_others_would_put_into_it() {
    let dashboard = dashboard().await;
    let mut requests: Vec<Request<Body>> = Vec::new();
    for route in all() {
        requests.push(request(&route, Some("admin"), SAME_ORIGIN));
        requests.push(request(&route, None, &[]));
    }
    requests.push(
        Request::get("/nothing")
            .header("x-role", "view")
            .body(Body::empty())
            .unwrap(),
    );
    for request in requests {
        let uri = request.uri().clone();
        let response = dashboard.clone().oneshot(request).await.unwrap();
        let headers = response.headers();
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"),
            "{uri}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{uri}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{uri}");
        assert!(headers.contains_key(header::CACHE_CONTROL), "{uri}");
    }
}

#[tokio::test]
async fn no_page_has_a_script_or_a_style_of_its_own() {
    let dashboard = dashboard().await;
    for route in all() {
        let is_stream = ["/live", "/api/v1/events"].contains(&&*route.path);
        if !route.method.is_safe() || is_stream || route.path.starts_with("/assets") {
            continue;
        }
        let response = dashboard
            .clone()
            .oneshot(request(&route, Some("admin"), &[]))
            .await
            .unwrap();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let html = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script src=\"/assets/").count()
        );
        assert!(
            !html.contains(" style=") && !html.contains(" onclick="),
            "{}",
            route.path
        );
    }
}

#[tokio::test]
async fn an_address_has_one_route() {
    let routes = all();
    let addresses: BTreeSet<(String, String)> = routes
        .iter()
        .map(|route| (route.method.to_string(), route.path.clone()))
        .collect();
    assert_eq!(addresses.len(), routes.len());
}

#[tokio::test]
async fn unknown_addresses_are_behind_the_guard_too() {
    let dashboard = dashboard().await;
    let status = async |role: Option<&str>| {
        let mut request = Request::get("/nothing/here");
        if let Some(role) = role {
            request = request.header("x-role", role);
        }
        let request = request.body(Body::empty()).unwrap();
        dashboard.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(Some("view")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_axum_refuses_is_a_problem_too() {
    let dashboard = dashboard().await;
    for (method, uri, status) in [
        ("GET", "/queues/%ff", StatusCode::BAD_REQUEST),
        ("GET", "/api/v1/queues/%ff", StatusCode::BAD_REQUEST),
        ("PUT", "/queues", StatusCode::METHOD_NOT_ALLOWED),
        ("DELETE", "/api/v1/queues", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/queues/q/pause", StatusCode::PAYLOAD_TOO_LARGE),
        (
            "POST",
            "/api/v1/queues/q/pause",
            StatusCode::PAYLOAD_TOO_LARGE,
        ),
    ] {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("sec-fetch-site", "same-origin");
        let body = vec![b'a'; (2 << 20) + 1];
        let request = request.header("x-role", "admin").body(Body::from(body));
        let response = dashboard.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{method} {uri}");
        let kind = match uri.starts_with("/api/") {
            true => "application/problem+json",
            false => "text/html; charset=utf-8",
        };
        assert_eq!(response.headers()[header::CONTENT_TYPE], kind, "{uri}");
        assert!(
            response
                .headers()
                .contains_key(header::CONTENT_SECURITY_POLICY)
        );
        let is_refused = status == StatusCode::METHOD_NOT_ALLOWED;
        assert_eq!(response.headers().contains_key(header::ALLOW), is_refused);
    }
}
