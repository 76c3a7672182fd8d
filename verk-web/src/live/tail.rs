//! What happens in the fleet, for all who listen: one [`Tail`](verk_core::manage::Tail) is read,
//! and only while somebody does.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
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
    counts: Option<Arc<Named>>,
    listeners: usize,
    /// When the last listener left.
    left: Option<Instant>,
    reading: bool,
}

/// An event as it is sent.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) number: u64,
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

    /// Listens from now on, or from after the event with the number `after`; `None` if too many
    /// listen.
    pub(crate) fn listen(self: &Arc<Self>, after: Option<u64>) -> Option<Listener> {
        let mut state = self.state.lock();
        if state.listeners == MAX_LISTENERS {
            return None;
        }
        state.listeners += 1;
        if !state.reading {
            state.reading = true;
            state.counts = None;
            tokio::spawn(Arc::clone(self).run());
        }
        // A number of an earlier process may be beyond those of this one.
        let known = after.map(|after| after.saturating_add(1));
        let next = known
            .filter(|next| *next <= state.next)
            .unwrap_or(state.next);
        Some(Listener {
            events: Arc::clone(self),
            newest: self.newest.subscribe(),
            next,
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
                number: state.next,
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
    /// Whether it got the counts that every listener begins with.
    greeted: bool,
}

/// What a listener gets.
#[derive(Debug)]
pub(crate) enum Heard {
    Event(Arc<Named>),
    /// So many events are kept no more.
    Missed(u64),
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
            if counts.number < self.next {
                return Some(Heard::Event(Arc::clone(counts)));
            }
        }
        let oldest = state.kept.front().map_or(state.next, |event| event.number);
        if self.next < oldest {
            let missed = oldest - self.next;
            self.next = oldest;
            return Some(Heard::Missed(missed));
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
