//! What a browser sees instead of a page.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};

use crate::{assets, failure::Failure, url::Base};

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    base: &'a Base,
    version: u64,
    title: &'a str,
    detail: &'a str,
    status: u16,
}

/// The failure as a page of its own: the figures of the frame may be what cannot be read.
pub(crate) fn show(failure: &Failure, base: &Base) -> Response {
    let page = Problem {
        base,
        version: assets::VERSION,
        title: failure.title(),
        detail: &failure.detail,
        status: failure.status.as_u16(),
    };
    match page.render() {
        Ok(html) => Html(html).into_response(),
        Err(_) => failure.detail.clone().into_response(),
    }
}
