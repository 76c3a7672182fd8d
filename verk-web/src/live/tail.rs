//! What happens in the fleet, for all who listen: one [`Tail`](verk_core::manage::Tail) is read,
//! and only while somebody does.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use verk_core::manage::{Admin, TailEvent};

use crate::{payloads::Payloads, values::TailValue};

/// The time between two steps.
const EVERY: Duration = Duration::from_secs(1);

/// How long it reads on when the last listener left, so that one who comes back misses nothing.
const GRACE: Duration = Duration::from_secs(30);

/// How many events are kept.
const KEPT: usize = 1_000;

/// How many may listen.
const MAX_LISTENERS: usize = 100;

/// The events of one storage.
#[derive(Debug)]
pub(crate) struct Events {
    admin: Admin,
    payloads: Payloads,
    state: Mutex<State>,
    /// The number of the next event.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest last, without gaps.
    kept: VecDeque<Arc<Named>>,
    /// The number of the next event.
    next: u64,
    /// When the reading began, in microseconds: events of another reading have other ids.
    epoch: u64,
    counts: Option<Arc<Named>>,
    listeners: usize,
    /// When the last listener left.
    left: Option<Instant>,
    reading: bool,
}

/// The id of an event: the reading that found it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    epoch: u64,
    number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, number) = text.split_once('.').ok_or(())?;
        let parse = |text: &str| text.parse().map_err(|_| ());
        Ok(Self {
            epoch: parse(epoch)?,
            number: parse(number)?,
        })
    }
}

/// An event as it is sent.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) id: EventId,
    pub(crate) name: &'static str,
    pub(crate) json: String,
}

impl Events {
    pub(crate) fn new(admin: Admin, payloads: Payloads) -> Self {
        Self {
            admin,
            payloads,
            state: Mutex::default(),
            newest: watch::Sender::default(),
        }
    }

    /// Listens from now on, or from after the event `after`; `None` if too many listen.
    pub(crate) fn listen(self: &Arc<Self>, after: Option<EventId>) -> Option<Listener> {
        let mut state = self.state.lock();
        if state.listeners == MAX_LISTENERS {
            return None;
        }
        state.listeners += 1;
        if !state.reading {
            state.reading = true;
            state.counts = None;
            state.next = 0;
            let now = self
                .admin
                .now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            state.epoch = u64::try_from(now.as_micros())
                .unwrap_or(0)
                .max(state.epoch + 1);
            tokio::spawn(Arc::clone(self).run());
        }
        let (next, missed) = match after {
            Some(after) if after.epoch == state.epoch && after.number < state.next => {
                (after.number + 1, false)
            }
            // What another process found, or another reading, and what came after it, is lost.
            Some(_) => (state.next, true),
            None => (state.next, false),
        };
        Some(Listener {
            events: Arc::clone(self),
            newest: self.newest.subscribe(),
            next,
            missed,
            greeted: false,
        })
    }

    async fn run(self: Arc<Self>) {
        let mut tail = self.admin.tail();
        while self.is_wanted() {
            // An error is shown by every other address; the next step tries again.
            if let Ok(events) = tail.step().await {
                self.publish(&events);
            }
            self.admin.clock().sleep(EVERY).await;
        }
    }

    fn is_wanted(&self) -> bool {
        let mut state = self.state.lock();
        let now = self.admin.clock().instant();
        let lately = |left: Instant| now.saturating_duration_since(left) < GRACE;
        state.reading = state.listeners > 0 || state.left.is_some_and(lately);
        if !state.reading {
            state.kept.clear();
        }
        state.reading
    }

    fn publish(&self, events: &[TailEvent]) {
        let at = self.admin.now();
        let mut state = self.state.lock();
        for event in events {
            let value = TailValue::new(event, at, &self.payloads);
            let named = Arc::new(Named {
                id: EventId {
                    epoch: state.epoch,
                    number: state.next,
                },
                name: value.event(),
                json: serde_json::to_string(&value).unwrap_or_default(),
            });
            state.next += 1;
            if let TailEvent::Counts(_) = event {
                state.counts = Some(Arc::clone(&named));
            }
            if state.kept.len() == KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back(named);
        }
        self.newest.send_replace(state.next);
    }
}

/// Who listens.
#[derive(Debug)]
pub(crate) struct Listener {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    next: u64,
    /// Whether events before that are lost.
    missed: bool,
    /// Whether it got the counts that every listener begins with.
    greeted: bool,
}

/// What a listener gets.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Arc<Named>),
    /// The counts of the fleet, as they were last read.
    Counts(Arc<Named>),
    /// Events are kept no more: so many, if that is known.
    Missed(Option<u64>),
}

impl Listener {
    /// Waits for the next event. The first is the counts of the fleet: what happens after it is
    /// heard.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(heard) = self.take() {
                return Some(heard);
            }
            self.newest.changed().await.ok()?;
        }
    }

    fn take(&mut self) -> Option<Heard> {
        let state = self.events.state.lock();
        let counts = state.counts.as_ref()?;
        if !self.greeted {
            self.greeted = true;
            // Not twice, if the counts are the next event anyway.
            if counts.id.number < self.next {
                return Some(Heard::Counts(Arc::clone(counts)));
            }
        }
        if self.missed {
            self.missed = false;
            return Some(Heard::Missed(None));
        }
        let oldest = state.kept.front();
        let oldest = oldest.map_or(state.next, |event| event.id.number);
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Some(Heard::Missed(Some(missed)));
        }
        let at = usize::try_from(self.next - oldest).ok()?;
        let event = state.kept.get(at)?;
        self.next += 1;
        Some(Heard::Event(Arc::clone(event)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut state = self.events.state.lock();
        state.listeners -= 1;
        state.left = Some(self.events.admin.clock().instant());
    }
}
