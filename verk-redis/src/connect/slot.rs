//! The slot of all keys, and how long a request is repeated that no server has taken: [`Slot`],
//! [`Repeats`].

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use bb8_redis::redis::RedisError;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use verk_core::time::{Clock, SystemClock};

use crate::{
    connect::{fleet::Fleet, pool::Connector},
    error::{Failure, redirect::Redirect},
};

/// The slot of all keys.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u16,
    /// The cells that share connections, and which of them this is.
    cell: Option<(Arc<Fleet>, usize)>,
    /// When it was first seen that the slot is being moved.
    moving_since: Mutex<Option<Instant>>,
}

impl Slot {
    pub(crate) fn new(number: u16) -> Self {
        Self {
            number,
            cell: None,
            moving_since: Mutex::default(),
        }
    }

    /// The slot of a cell that shares its connections.
    pub(crate) fn of_cell(number: u16, fleet: Arc<Fleet>, cell: usize) -> Self {
        Self {
            cell: Some((fleet, cell)),
            ..Self::new(number)
        }
    }

    /// The cells that share connections, and which of them this is.
    pub(crate) fn cell(&self) -> Option<(&Arc<Fleet>, usize)> {
        self.cell.as_ref().map(|(fleet, cell)| (fleet, *cell))
    }

    /// A server said that it does not have the slot.
    pub(crate) fn is_elsewhere(&self) {
        if let Some((fleet, cell)) = &self.cell {
            fleet.forget(*cell);
        }
    }

    /// A script ran, so all of its keys are at one server.
    pub(crate) fn ran_script(&self) {
        *self.moving_since.lock() = None;
    }

    /// What an answer says of the slot, for operators; `None` if it says nothing.
    pub(crate) fn explain(&self, error: &RedisError) -> Option<String> {
        let code = error.code().unwrap_or_default();
        match Redirect::of(error)? {
            Redirect::Elsewhere => Some(format!(
                "{self}: {code}, so another server of the cluster has it, or will have it"
            )),
            Redirect::Ask(_) | Redirect::TryAgain => {
                let now = SystemClock.instant();
                let since = *self.moving_since.lock().get_or_insert(now);
                let seconds = now.saturating_duration_since(since).as_secs();
                Some(format!(
                    "{self}: {code} for {seconds} s, until its migration has ended"
                ))
            }
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cell {
            Some((_, cell)) => write!(f, "cell {cell} (slot {})", self.number),
            None => write!(f, "slot {}", self.number),
        }
    }
}

/// Lets a request be sent again that no server of a cluster has taken.
pub(crate) struct Repeats<'a> {
    connector: &'a Connector,
    until: Option<Instant>,
    pause: Duration,
}

impl<'a> Repeats<'a> {
    pub(crate) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            until: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits until the request may be sent again. Returns `false` at once if it may have been
    /// applied, if a server refused it for another reason, and when time has run out.
    pub(crate) async fn after(&mut self, failure: &Failure) -> bool {
        if self.connector.slot().is_none() || failure.redirect().is_none() {
            return false;
        }
        let clock: &dyn Clock = &SystemClock;
        let now = clock.instant();
        let until = *(self.until).get_or_insert(now + self.connector.connect_timeout());
        if now >= until {
            return false;
        }
        clock.sleep(self.pause.min(until - now)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// As [`after`](Self::after), until `interrupt`.
    pub(crate) async fn before(
        &mut self,
        interrupt: &CancellationToken,
        failure: &Failure,
    ) -> bool {
        tokio::select! {
            biased;
            () = interrupt.cancelled() => false,
            again = self.after(failure) => again,
        }
    }
}

/// A migration of a small slot takes a few hundred milliseconds, and may end at any time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// One that is stuck must not cost the server much.
const LONGEST_PAUSE: Duration = Duration::from_millis(80);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::answered;

    #[test]
    fn a_migration_is_shown_with_its_slot() {
        let slot = Slot::new(3808);
        let shown = slot.explain(&answered("TRYAGAIN Multiple keys")).unwrap();
        assert!(shown.starts_with("slot 3808: TRYAGAIN for 0 s"), "{shown}");
        let minute = Duration::from_secs(60);
        *slot.moving_since.lock() = SystemClock.instant().checked_sub(minute);
        let shown = slot.explain(&answered("ASK 3808 host:1")).unwrap();
        assert!(shown.starts_with("slot 3808: ASK for 6"), "{shown}");
        slot.ran_script();
        let shown = slot.explain(&answered("TRYAGAIN Multiple keys")).unwrap();
        assert!(shown.starts_with("slot 3808: TRYAGAIN for 0 s"), "{shown}");
        assert_eq!(slot.explain(&answered("OOM no room")), None);
    }
}
