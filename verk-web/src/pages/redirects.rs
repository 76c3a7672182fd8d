//! The addresses of Sidekiq Web, so that runbooks and bookmarks lead to the right page.

use axum::{
    extract::Path,
    response::{IntoResponse, Redirect, Response},
};

use crate::{context::Context, routes::Route, url};

/// `/queues/NAME`, `/retries/SCORE-JID` and `/scheduled/SCORE-JID` are addresses here too.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/busy", async |context: Context| to(&context, "/running")),
        Route::get("/morgue", async |context: Context| to(&context, "/dead")),
        Route::get(
            "/morgue/{key}",
            async |Path(key): Path<String>, context: Context| {
                to(&context, &format!("/dead/{}", url::part(&key)))
            },
        ),
    ]
}

fn to(context: &Context, path: &str) -> Response {
    Redirect::permanent(&format!("{}{path}", context.base)).into_response()
}
