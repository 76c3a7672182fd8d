//! Server-sent events: figures for the pages, at `GET /live`, and what happens in the fleet, at
//! `GET /api/v1/events`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, StatusCode},
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt, stream};
use tokio_stream::wrappers::WatchStream;

use super::{
    poller::Snapshot,
    tail::{Heard, Named},
};
use crate::{context::Context, failure::Failure};

/// After this long a stream ends, and the browser opens another: a program that shuts down waits
/// for its open streams.
const LASTS: Duration = Duration::from_secs(60);

pub(crate) async fn figures(
    context: Context,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let app = context.app;
    let Some(viewer) = app.poller.watch() else {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many browsers look at live figures: reload the page instead.",
        ));
    };
    let snapshots = WatchStream::from_changes(viewer.figures.clone());
    // With hundreds of queues, all figures are some hundred KiB: an event has what has changed.
    let first = Arc::<Snapshot>::default();
    let events = snapshots.scan(first, |before, snapshot| {
        let changed = snapshot.figures.since(&before.figures);
        *before = snapshot;
        let event = Event::default().event("figures").json_data(&changed);
        std::future::ready(Some(Ok(event.unwrap_or_default())))
    });
    let end = app.admin.clock().sleep(LASTS);
    let events = events.take_until(end);
    // The viewer lives as long as the stream.
    let events = stream::unfold((Box::pin(events), viewer), async |(mut events, viewer)| {
        events.next().await.map(|event| (event, (events, viewer)))
    });
    Ok(sse(events))
}

/// `Last-Event-ID`: the event after which to continue.
pub(crate) async fn events(
    context: Context,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let app = context.app;
    let after = headers.get("last-event-id");
    let after = after.and_then(|id| id.to_str().ok()?.parse().ok());
    let Some(listener) = app.events.listen(after) else {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many programs listen: try again later.",
        ));
    };
    let events = stream::unfold(listener, async |mut listener| {
        let named = |event: &Named| Event::default().event(event.name).data(&event.json);
        let event = match listener.next().await? {
            Heard::Event(event) => named(&event).id(event.id.to_string()),
            // Without an id: who comes back continues after the last event.
            Heard::Counts(counts) => named(&counts),
            Heard::Missed(missed) => {
                let events = missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string());
                Event::default()
                    .event("missed")
                    .data(format!(r#"{{"event":"missed","events":{events}}}"#))
            }
        };
        Some((Ok(event), listener))
    });
    let end = app.admin.clock().sleep(LASTS);
    Ok(sse(events.take_until(end)))
}

fn sse<S>(events: S) -> Sse<impl Stream<Item = Result<Event, Infallible>>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
