//! The services that every part of a node uses: [`Services`], and those of them that a client uses
//! too: [`Essentials`].

use std::{
    ops::Deref,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use crate::{
    cells::Cells,
    config::Config,
    events::{
        EventSender,
        event::{Event, EventKind},
        tally::Tallies,
    },
    health::{link::Link, monitor::Monitor},
    names::QueueName,
    storage::{Beat, Storage},
    test_seam::TestParts,
    time::{alarm::ScheduleWake, clock::Clock, server_time::ServerTime},
};

/// The services that a client uses, and every part of a node.
///
/// A client may outlive its Verk, so they keep nothing of a node alive, above all not its stream of
/// events.
#[derive(Debug)]
pub(crate) struct Essentials {
    /// The [view](Cells::view) of all cells for a client; for a part of a node its one cell.
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) cells: Cells,
    /// Of each cell.
    wakes: Vec<ScheduleWake>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Arc<Config>,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) server_time: Arc<ServerTime>,
    /// How the last enqueue went.
    pub(crate) enqueues: Arc<Link>,
}

impl Essentials {
    /// Those of a program.
    pub(crate) fn new(cells: Cells, clock: Arc<dyn Clock>, config: Config) -> Self {
        let wakes = (0..cells.count()).map(|_| ScheduleWake::new(config.poll_interval));
        Self {
            storage: cells.view(),
            wakes: wakes.collect(),
            cells,
            server_time: Arc::new(ServerTime::new(Arc::clone(&clock))),
            clock,
            config: Arc::new(config),
            tallies: Arc::default(),
            enqueues: Arc::default(),
        }
    }

    /// Those of a program in one of its cells. A cell has a time of its own, and what wakes its
    /// schedule manager. The only cell of a program has the same as the program.
    pub(crate) fn of_cell(self: &Arc<Self>, cell: usize) -> Arc<Self> {
        if self.cells.count() == 1 {
            return Arc::clone(self);
        }
        let storage = Arc::clone(&self.cells.storages()[cell]);
        Arc::new(Self {
            cells: Cells::new(Arc::clone(&storage)),
            storage,
            wakes: vec![self.wakes[cell].clone()],
            clock: Arc::clone(&self.clock),
            config: Arc::clone(&self.config),
            tallies: Arc::clone(&self.tallies),
            // Clients follow the time of the first cell.
            server_time: match cell {
                0 => Arc::clone(&self.server_time),
                _ => Arc::new(ServerTime::new(Arc::clone(&self.clock))),
            },
            enqueues: Arc::clone(&self.enqueues),
        })
    }

    /// Reports that a job of `queue` was stored at `now` that is due at `at`.
    pub(crate) fn due_at(&self, queue: &QueueName, at: SystemTime, now: SystemTime) {
        if self.cells.is_spread(queue) {
            return self.due_somewhere(at, now);
        }
        self.wakes[self.cells.of(queue)].due_at(at, now);
    }

    /// As [`Self::due_at`], for something that may lie in any cell.
    pub(crate) fn due_somewhere(&self, at: SystemTime, now: SystemTime) {
        for wake in &self.wakes {
            wake.due_at(at, now);
        }
    }

    /// What wakes the schedule manager of a cell.
    pub(crate) fn wake(&self) -> &ScheduleWake {
        &self.wakes[0]
    }

    /// The time of day of the storage, as far as this program knows it. It decides when jobs are
    /// due.
    pub(crate) fn now(&self) -> SystemTime {
        self.at(self.clock.instant())
    }

    /// As [`Self::now`], for a moment that the clock has just returned.
    pub(crate) fn at(&self, instant: Instant) -> SystemTime {
        self.server_time.at(instant)
    }
}

/// The services that every part of a node uses: the [`Essentials`], and what a node has for itself.
/// They know none of the parts.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) essentials: Arc<Essentials>,
    pub(crate) events: EventSender,
    /// Notified when a fetch finds its queue paused for all nodes, and this node does not know it
    /// yet.
    pub(crate) found_paused: Notify,
    pub(crate) last_beat: LastBeat,
    pub(crate) monitor: Monitor,
    /// Present in a test: see [`VerkBuilder::for_test`](crate::VerkBuilder::for_test).
    pub(crate) test: Option<Arc<TestParts>>,
}

/// The last heartbeat of this process that the storage acknowledged. Its answer says what several
/// parts would otherwise ask for, each by itself.
#[derive(Debug, Default)]
pub(crate) struct LastBeat(watch::Sender<Option<SentBeat>>);

/// A heartbeat that was acknowledged.
#[derive(Debug)]
pub(crate) struct SentBeat {
    pub(crate) sent_at: Instant,
    pub(crate) beat: Beat,
}

impl LastBeat {
    pub(crate) fn set(&self, sent_at: Instant, beat: Beat) {
        self.0.send_replace(Some(SentBeat { sent_at, beat }));
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<SentBeat>> {
        self.0.subscribe()
    }

    /// Whether there was a heartbeat since `since` of which this is true.
    pub(crate) fn is(&self, since: Instant, what: impl FnOnce(&Beat) -> bool) -> bool {
        let last = self.0.borrow();
        (last.as_ref()).is_some_and(|last| last.sent_at >= since && what(&last.beat))
    }
}

impl Services {
    /// Publishes what concerns no queue and no job.
    pub(crate) fn publish(&self, what: EventKind) {
        self.events.send(Event {
            at: self.now(),
            queue: None,
            job: None,
            what,
        });
    }
}

impl Deref for Services {
    type Target = Essentials;

    fn deref(&self) -> &Essentials {
        &self.essentials
    }
}
