//! Subscribers to events: [`Events`], and how each event reaches them.

pub(crate) mod event;
pub(crate) mod tally;

pub use self::event::{AfterFailure, Event, EventKind};

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

use crate::{guard, names::QueueName};

/// How many events a subscriber may lag behind before it misses some.
const CAPACITY: usize = 4096;

/// Gets each event after all subscribers: the test that a node runs in.
pub(crate) type Witness = dyn Fn(&Event) + Send + Sync;

/// Publishes events to the subscribers. Without subscribers, it costs almost nothing.
#[derive(Clone)]
pub(crate) struct EventSender {
    sender: broadcast::Sender<Event>,
    test: Option<Arc<Witness>>,
}

impl EventSender {
    pub(crate) fn new(test: Option<Arc<Witness>>) -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            test,
        }
    }

    pub(crate) fn send(&self, event: Event) {
        if let Some(test) = &self.test {
            self.publish(event.clone());
            test(&event);
        } else {
            self.publish(event);
        }
    }

    fn publish(&self, event: Event) {
        // The wakers of subscribers are foreign code. An error means that there is no subscriber.
        guard::call(|| self.sender.send(event).is_ok());
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events {
            stream: BroadcastStream::new(self.sender.subscribe()),
            selector: Selector::default(),
        }
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").finish_non_exhaustive()
    }
}

/// The events of a Verk after the subscription, as a [`Stream`]: all of them, or selected ones.
///
/// A subscriber that falls behind by more than 4096 events, counting those that it did not select,
/// gets the number of events that it missed. It never slows a worker.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # use verk_core::Verk;
/// # use verk_testing::MemoryStorage;
/// use verk_core::{Event, EventKind};
///
/// # let verk = Verk::builder().storage(MemoryStorage::default()).queue("mailers", 1).build().await?;
/// let mut events = verk.events().only(|what| matches!(what, EventKind::QueueRunning)).queue("mailers");
/// verk.start()?;
/// let event = events.recv().await.expect("the Verk lives")?;
/// assert!(matches!(event.what, EventKind::QueueRunning));
/// # verk.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Events {
    stream: BroadcastStream<Event>,
    selector: Selector,
}

/// Says whether a subscriber wants what happened.
type Select = dyn Fn(&EventKind) -> bool + Send + Sync;

/// Which events a subscriber gets: those that match every selector.
#[derive(Default)]
struct Selector {
    kinds: Vec<Box<Select>>,
    queues: Vec<String>,
    classes: Vec<String>,
}

/// The subscriber was too slow, and missed this many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missed {0} events")]
pub struct Lagged(pub u64);

impl Events {
    /// Selects events for which `wanted` is true. A second call adds more.
    ///
    /// ```
    /// # use verk_core::{events::Events, EventKind};
    /// # fn of(events: Events) -> Events {
    /// events.only(|what| matches!(what, EventKind::JobFailed { .. } | EventKind::JobMalformed { .. }))
    /// # }
    /// ```
    pub fn only(mut self, wanted: impl Fn(&EventKind) -> bool + Send + Sync + 'static) -> Self {
        self.selector.kinds.push(Box::new(wanted));
        self
    }

    /// Selects events of this queue. A second call adds another queue. Events that concern no queue
    /// are left out.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.selector.queues.push(name.into());
        self
    }

    /// Selects events of jobs of this class. A second call adds another class. Events that concern
    /// no job are left out.
    pub fn class(mut self, class: impl Into<String>) -> Self {
        self.selector.classes.push(class.into());
        self
    }

    /// Waits for the next event; `None` after the Verk has ended.
    ///
    /// # Errors
    ///
    /// [`Lagged`] when events were missed; the next call continues with the oldest one that is
    /// kept.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn recv(&mut self) -> Option<Result<Event, Lagged>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(event)) if !self.selector.selects(&event) => continue,
                Some(Ok(event)) => Some(Ok(event)),
                Some(Err(BroadcastStreamRecvError::Lagged(missed))) => Some(Err(Lagged(missed))),
                None => None,
            });
        }
    }
}

impl Selector {
    fn selects(&self, event: &Event) -> bool {
        let any = |selected: &[String], of: Option<&str>| {
            selected.is_empty() || of.is_some_and(|of| selected.iter().any(|one| one == of))
        };
        (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted(&event.what)))
            && any(&self.queues, event.queue.as_ref().map(QueueName::as_str))
            && any(&self.classes, event.job.as_ref().map(|job| job.class()))
    }
}

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector")
            .field("queues", &self.queues)
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::job::Job;

    fn event(class: Option<&str>, queue: &str, what: EventKind) -> Event {
        let queue: crate::QueueName = queue.parse().unwrap();
        let job = class.map(|class| Job::new(class, queue.clone(), "[]".to_owned()).unwrap());
        Event {
            at: UNIX_EPOCH,
            queue: Some(queue),
            job: job.map(Arc::new),
            what,
        }
    }

    fn started(class: &str, queue: &str) -> Event {
        event(Some(class), queue, EventKind::JobStarted)
    }

    fn finished(class: &str, queue: &str) -> Event {
        let what = EventKind::JobFinished {
            started_at: UNIX_EPOCH,
            took: Duration::ZERO,
        };
        event(Some(class), queue, what)
    }

    fn running(queue: &str) -> Event {
        event(None, queue, EventKind::QueueRunning)
    }

    /// The events so far, as kind, queue and class.
    fn told(mut events: Events) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            let event = event.unwrap();
            let class = event.job.as_ref().map_or("", |job| job.class());
            let kind = format!("{:?}", event.what);
            let kind = kind.split(' ').next().unwrap();
            told.push(format!("{kind} {} {class}", event.queue.unwrap()));
        }
        told
    }

    #[test]
    fn selectors_compose() {
        let sender = EventSender::new(None);
        let all = sender.subscribe();
        let of_queue = sender.subscribe().queue("a");
        let of_queues = sender
            .subscribe()
            .queue("a")
            .queue("b")
            .only(|what| matches!(what, EventKind::QueueRunning));
        let of_class = sender.subscribe().class("Mail");
        let narrow = sender
            .subscribe()
            .only(|what| {
                matches!(
                    what,
                    EventKind::JobFinished { .. } | EventKind::JobFailed { .. }
                )
            })
            .queue("b")
            .class("Mail");
        for queue in ["a", "b"] {
            sender.send(running(queue));
            sender.send(started("Mail", queue));
            sender.send(finished("Mail", queue));
            sender.send(finished("Bill", queue));
        }
        assert_eq!(told(all).len(), 8);
        assert_eq!(
            told(of_queue),
            [
                "QueueRunning a ",
                "JobStarted a Mail",
                "JobFinished a Mail",
                "JobFinished a Bill"
            ]
        );
        assert_eq!(told(of_queues), ["QueueRunning a ", "QueueRunning b "]);
        assert_eq!(told(of_class).len(), 4);
        assert_eq!(told(narrow), ["JobFinished b Mail"]);
    }

    #[test]
    fn who_lags_is_told_how_much_it_missed_and_holds_up_nobody() {
        let sender = EventSender::new(None);
        let mut slow = sender
            .subscribe()
            .only(|what| matches!(what, EventKind::JobFinished { .. }));
        for _ in 0..CAPACITY + 10 {
            sender.send(running("a"));
        }
        sender.send(finished("Mail", "a"));
        assert_eq!(
            slow.next().now_or_never().flatten().unwrap().unwrap_err(),
            Lagged(11)
        );
        let next = slow.next().now_or_never().flatten().unwrap().unwrap();
        assert!(matches!(next.what, EventKind::JobFinished { .. }));
        assert!(slow.next().now_or_never().is_none(), "it waits");
        drop(sender);
        assert!(slow.next().now_or_never().unwrap().is_none(), "the end");
    }
}
