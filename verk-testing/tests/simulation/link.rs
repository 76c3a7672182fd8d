//! The link between one process and one cell: the result of each call.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;
use verk_core::{StorageError, names::NodeId, storage::Inprogress, time::Clock};

use crate::{ledger::Ledger, trouble::Trouble};

/// Of a thousand calls, how many are refused, do not arrive, lose their reply, are late.
const TROUBLED_CALLS: [(Trouble, u32); 4] = [
    (Trouble::CallRefused, 2),
    (Trouble::CallLost, 2),
    (Trouble::ReplyLost, 2),
    (Trouble::Delay, 30),
];

/// The link of one process to one cell. The process has one to each.
#[derive(Debug)]
pub(crate) struct Link {
    clock: Arc<dyn Clock>,
    ledger: Arc<Ledger>,
    process: Arc<Process>,
    /// The number of the cell.
    cell: usize,
    /// Whether every call is late: longer than most jobs take.
    far: bool,
    /// How many exchanges are on their way, for each list. A node that was lost may still wait for
    /// its own while the next one of the process works.
    exchanges: Mutex<HashMap<Inprogress, usize>>,
    state: Mutex<State>,
}

/// What all links of a process share.
#[derive(Debug, Default)]
pub(crate) struct Process {
    /// The process has ended: nothing of it reaches any storage any more.
    dead: AtomicBool,
    /// It dies in its next call that changes a job.
    dies_in_call: AtomicBool,
}

/// An exchange on its way.
pub(crate) struct Exchange<'a> {
    link: &'a Link,
    list: Inprogress,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.link.exchanges().get_mut(&self.list) {
            *count -= 1;
        }
    }
}

#[derive(Debug)]
struct State {
    random: ChaCha8Rng,
    /// Whether single calls fail.
    unreliable: bool,
    frozen_until: Instant,
    cut_until: Instant,
    heartbeats_lost_until: Instant,
    /// Whether anything happened to it for which its jobs may be given to others.
    troubled: bool,
    /// Its registrations.
    nodes: Vec<NodeId>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Lost,
    ReplyLost,
    DeadAfter,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    #[error("the process has ended")]
    Dead,
    #[error("refused")]
    Refused,
    #[error("no reply")]
    NoReply,
}

impl Link {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        ledger: Arc<Ledger>,
        (process, cell): (Arc<Process>, usize),
        far: bool,
        seed: u64,
    ) -> Arc<Self> {
        let now = clock.instant();
        let state = State {
            random: ChaCha8Rng::seed_from_u64(seed),
            unreliable: true,
            frozen_until: now,
            cut_until: now,
            heartbeats_lost_until: now,
            troubled: false,
            nodes: Vec::new(),
        };
        Arc::new(Self {
            clock,
            ledger,
            process,
            cell,
            far,
            exchanges: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn cell(&self) -> usize {
        self.cell
    }

    /// An exchange of a list begins.
    pub(crate) fn exchange(&self, list: &Inprogress) -> Exchange<'_> {
        let mut exchanges = self.exchanges();
        let count = exchanges.entry(list.clone()).or_default();
        *count += 1;
        self.ledger.exchanges_at_once(*count);
        let list = list.clone();
        Exchange { link: self, list }
    }

    fn exchanges(&self) -> MutexGuard<'_, HashMap<Inprogress, usize>> {
        self.exchanges.lock().expect("nobody panics with it")
    }

    /// Whether heartbeats are lost now.
    pub(crate) fn loses_heartbeats(&self) -> bool {
        self.clock.instant() < self.state().heartbeats_lost_until
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.process.dead.load(Ordering::Relaxed)
    }

    /// Ends the process.
    pub(crate) fn kill(&self) {
        self.trouble();
        self.process.dead.store(true, Ordering::Relaxed);
    }

    pub(crate) fn kill_in_call(&self) {
        self.trouble();
        self.process.dies_in_call.store(true, Ordering::Relaxed);
    }

    pub(crate) fn freeze(&self, time: Duration) {
        let until = self.clock.instant() + time;
        self.in_trouble(|state| state.frozen_until = until);
    }

    pub(crate) fn cut(&self, time: Duration) {
        let until = self.clock.instant() + time;
        self.in_trouble(|state| state.cut_until = until);
    }

    pub(crate) fn lose_heartbeats(&self, time: Duration) {
        let until = self.clock.instant() + time;
        self.in_trouble(|state| state.heartbeats_lost_until = until);
    }

    /// From now on its jobs may be given to others.
    pub(crate) fn trouble(&self) {
        self.in_trouble(|_| ());
    }

    fn in_trouble(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        state.troubled = true;
        self.ledger.in_trouble(&state.nodes);
        change(&mut state);
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.state().unreliable = false;
    }

    pub(crate) fn registered(&self, node: &NodeId) {
        let mut state = self.state();
        state.nodes.push(node.clone());
        if state.troubled {
            self.ledger.in_trouble(&state.nodes);
        }
    }

    /// Waits while the process stands still.
    pub(crate) async fn thaw(&self) {
        loop {
            let until = self.state().frozen_until;
            if until <= self.clock.instant() {
                return;
            }
            self.clock.sleep_until(until).await;
        }
    }

    /// What becomes of a call that begins now. An error says that it is refused.
    pub(crate) async fn fate(&self, op: &'static str) -> Result<Fate, StorageError> {
        self.thaw().await;
        let now = self.clock.instant();
        let delay = {
            let mut state = self.state();
            if self.is_dead() {
                return Err(StorageError::not_applied(op, LinkError::Dead));
            }
            if now < state.cut_until {
                return Ok(Fate::Lost);
            }
            let dies = self.process.dies_in_call.load(Ordering::Relaxed);
            if dies && matches!(op, "dequeue" | "settle" | "restore" | "promote") {
                let done = state.random.random_bool(0.5);
                self.process.dead.store(!done, Ordering::Relaxed);
                return Ok(if done { Fate::DeadAfter } else { Fate::Lost });
            }
            if !state.unreliable {
                return Ok(Fate::Done);
            }
            let mut dice = state.random.random_range(0..1_000);
            let trouble = TROUBLED_CALLS.into_iter().find(|(_, share)| {
                let hit = dice < *share;
                dice = dice.saturating_sub(*share);
                hit
            });
            if let Some((trouble, _)) = trouble {
                self.ledger.struck(trouble);
            }
            match trouble {
                Some((Trouble::CallRefused, _)) => {
                    return Err(StorageError::not_applied(op, LinkError::Refused));
                }
                Some((Trouble::CallLost, _)) => return Ok(Fate::Lost),
                Some((Trouble::ReplyLost, _)) => return Ok(Fate::ReplyLost),
                Some(_) => Duration::from_millis(state.random.random_range(1..200)),
                None if self.far => Duration::from_millis(state.random.random_range(200..400)),
                None => return Ok(Fate::Done),
            }
        };
        self.clock.sleep(delay).await;
        if self.is_dead() {
            return Err(StorageError::not_applied(op, LinkError::Dead));
        }
        Ok(Fate::Done)
    }
}
