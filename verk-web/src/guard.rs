//! The one check before every handler, and the one place that shows a [`Failure`].

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use verk_core::error::Applied;

use crate::{
    access::{Decision, Role, comes_from_this_page},
    app::App,
    failure::Failure,
    pages::problem,
    url::Base,
};

/// Scripts, styles and pictures come from this page alone, and no other page may embed it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Which role a route needs.
pub(crate) type Needs = (App, Role);

/// Lets the request of a visitor with the role pass, and one that changes something only if it
/// comes from this page.
pub(crate) async fn check(
    State((app, needed)): State<Needs>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_api = parts.uri.path().starts_with("/api/");
    let base = app.base(&parts);
    let decided = app.access.decide(&parts, app.admin.clock().instant()).await;
    let failure = match decided {
        Decision::Known { visitor, ambient } => {
            if visitor.role < needed {
                Failure::new(
                    StatusCode::FORBIDDEN,
                    format!(
                        "This needs the role {needed}, and you have {}.",
                        visitor.role
                    ),
                )
            } else if !parts.method.is_safe() && !comes_from_this_page(&parts.headers, ambient) {
                Failure::new(
                    StatusCode::FORBIDDEN,
                    "The request does not come from this page: your browser named another origin, \
                     or none. A program sends its token as Bearer.",
                )
            } else {
                parts.extensions.insert(visitor);
                let response = next.run(Request::from_parts(parts, body)).await;
                return finish(response, is_api, &base);
            }
        }
        Decision::Unknown => {
            let refused = Failure::new(
                StatusCode::UNAUTHORIZED,
                "This page needs a name and a password, or a token.",
            );
            let mut response = finish(refused.into_response(), is_api, &base);
            if let Some(challenge) = app.access.challenge() {
                let challenge = HeaderValue::from_static(challenge);
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, challenge);
            }
            return response;
        }
        Decision::TooMany => Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many passwords were wrong. Wait a minute.",
        ),
    };
    finish(failure.into_response(), is_api, &base)
}

/// Shows the failure of a response, if it has one, and adds the headers of every response.
fn finish(mut response: Response, is_api: bool, base: &Base) -> Response {
    let failure = response.extensions_mut().remove::<Failure>();
    if let Some(failure) = failure.or_else(|| Failure::of_status(response.status())) {
        let body = if is_api {
            let mut body = Json(failure.problem()).into_response();
            let kind = HeaderValue::from_static("application/problem+json");
            body.headers_mut().insert(header::CONTENT_TYPE, kind);
            body
        } else {
            problem::show(&failure, base)
        };
        response = body;
        *response.status_mut() = failure.status;
        if failure.applied == Some(Applied::Unknown) {
            let after = HeaderValue::from_static("5");
            response.headers_mut().insert(header::RETRY_AFTER, after);
        }
    }
    add_headers(response.headers_mut());
    response
}

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        let value = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
}

/// The answer of every address that is none of the routes.
pub(crate) async fn nothing_here(_: Request<Body>) -> Failure {
    Failure::not_found("There is no page at this address.")
}
