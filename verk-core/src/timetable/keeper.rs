//! What the schedule manager of a node does for the timetable: [`Keeper`].

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::{StorageError, StorageErrorKind},
    services::Services,
    timetable::{
        declared::{Declared, declare, tell_disagreement},
        orphans,
        ticks::{self, Reported},
    },
};

/// How often a node looks whether it is in charge of its entries by now, and the holder of the
/// lease whether somebody declares those of others.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How soon a declaration that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Declares the entries of the program, takes runs, and looks for orphans.
#[derive(Debug)]
pub(crate) struct Keeper {
    declared: Arc<Declared>,
    /// How many moves of queues were known when the entries of this cell were found.
    moves: u64,
    /// The entries that are not stored as they are declared here, and when that is tried next.
    missing: Vec<String>,
    declare_at: Instant,
    /// Those that others declare differently, as far as that was reported.
    disagreed: HashSet<String>,
    reported: Reported,
    orphans_at: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(declared: Arc<Declared>, now: Instant) -> Self {
        Self {
            missing: declared.names_here(),
            moves: declared.moves(),
            declared,
            declare_at: now,
            disagreed: HashSet::new(),
            reported: Reported::default(),
            orphans_at: None,
        }
    }

    /// Stores what is declared, if that is to be done.
    pub(crate) async fn declare(&mut self, services: &Services) {
        let now = services.clock.instant();
        if self.moves != self.declared.moves() {
            self.moves = self.declared.moves();
            self.missing = self.declared.names_here();
            self.declare_at = now;
        }
        if self.missing.is_empty() || now < self.declare_at {
            return;
        }
        match declare(services, &self.declared, &self.missing).await {
            Ok(disagreed) => {
                for name in &disagreed {
                    if self.disagreed.insert(name.clone()) {
                        tell_disagreement(services, name);
                    }
                }
                self.missing = disagreed;
                self.declare_at = now + LOOK_EVERY;
            }
            Err(error) => {
                // A queue that moves is no trouble of the schedule manager.
                if error.kind() != StorageErrorKind::Moved {
                    services.monitor.schedule.failed(&error, now);
                }
                self.declare_at = now + TRY_AGAIN;
            }
        }
    }

    /// When a declaration is to be tried again, if there is one.
    pub(crate) fn declares_in(&self, now: Instant) -> Option<Duration> {
        let is_missing = !self.missing.is_empty();
        is_missing.then(|| self.declare_at.saturating_duration_since(now))
    }

    /// Takes the runs that are due. Returns when the next is due.
    pub(crate) async fn take(
        &self,
        services: &Services,
        until: SystemTime,
        stop: &CancellationToken,
    ) -> Result<Option<SystemTime>, StorageError> {
        ticks::take(services, &self.reported, until, stop).await
    }

    /// Looks for entries that no live node declares, now and then. For the holder of the lease,
    /// while there are entries.
    pub(crate) async fn look_for_orphans(&mut self, services: &Services) {
        let now = services.clock.instant();
        // Not at once: at a deploy, the first node may look before the others are registered.
        let at = *self.orphans_at.get_or_insert(now + LOOK_EVERY);
        if now < at {
            return;
        }
        self.orphans_at = Some(now + LOOK_EVERY);
        if let Err(error) = orphans::look(services).await {
            services.monitor.schedule.failed(&error, now);
        }
    }
}
