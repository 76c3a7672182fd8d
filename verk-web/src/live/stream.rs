//! Figures as server-sent events: `GET /live`.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::WatchStream;

use crate::{context::Context, failure::Failure};

/// After this long a stream ends, and the browser opens another: a program that shuts down waits
/// for its open streams.
const LASTS: Duration = Duration::from_secs(60);

pub(crate) async fn stream(
    context: Context,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let app = context.app;
    let Some(viewer) = app.poller.watch() else {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many browsers look at live figures: reload the page instead.",
        ));
    };
    let figures = WatchStream::from_changes(viewer.figures.clone());
    let events = figures.map(|snapshot| {
        Ok(Event::default()
            .event("figures")
            .json_data(&snapshot.figures)
            .unwrap_or_default())
    });
    let end = app.admin.clock().sleep(LASTS);
    let events = events.take_until(end);
    // The viewer lives as long as the stream.
    let events = stream::unfold((Box::pin(events), viewer), async |(mut events, viewer)| {
        events.next().await.map(|event| (event, (events, viewer)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}
