//! The jobs of a run, and what all of them have: [`Kind`].

use serde::{Deserialize, Serialize};

use crate::fault::words;

/// The queue of every run.
pub(crate) const QUEUE: &str = "default";

/// The queues of a run on several cells.
pub(crate) const QUEUES: [&str; 6] = [QUEUE, "a", "b", "c", "d", "e"];

/// A key that verk does not know.
pub(crate) const KEPT_KEY: &str = "kept";

/// The value of that key in every job. Code that reads it as numbers and writes it again changes
/// it.
pub(crate) const KEPT: &str = r#"{"n": 123456789012345678901234567890,"f":1.50,"s":"\u00e9\/"}"#;

words! {
    /// What a job does. Its name is its first argument.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Kind {
        /// Ends at once.
        Quick = "quick",
        /// Takes a fiftieth of a second.
        Short = "short",
        /// Takes a fifth of a second.
        Slow = "slow",
        /// Fails once, then ends well.
        FailsOnce = "fails_once",
        /// Fails, and asks for no retry: it ends in the dead set.
        Dies = "dies",
        /// Has a megabyte, or more than any client of ours would send.
        Huge = "huge",
        /// Is stored for later.
        Scheduled = "scheduled",
        /// Takes a fifth of a second. Only one of its key is stored at a time.
        Unique = "unique",
        /// Fails once, then ends well. Only one of its key is stored at a time.
        UniqueFails = "unique_fails",
        /// Waits in a paused queue until the faults are over. Ends at once.
        Backlog = "backlog",
        /// Was enqueued by an entry of the timetable.
        Tick = "tick",
        /// Ends its process: it ends in the dead set.
        Poison = "poison",
        /// Is in the queue twice, with the same bytes.
        Twice = "twice",
        /// Is no job: it ends in the dead set, byte for byte.
        Malformed = "malformed",
        /// Is a job that no program can run: it fails, and ends in the dead set.
        Misfit = "misfit",
    }
}

/// The entry of the timetable of every run.
pub(crate) const ENTRY: &str = "beat";

impl Kind {
    /// Whether only one job of its key is stored at a time.
    #[must_use]
    pub fn is_unique(self) -> bool {
        matches!(self, Self::Unique | Self::UniqueFails)
    }

    /// How many attempts it takes to end well.
    pub(crate) fn attempts(self) -> u32 {
        match self {
            Self::FailsOnce | Self::UniqueFails => 2,
            _ => 1,
        }
    }

    /// Whether the job has to end in the dead set.
    #[must_use]
    pub fn ends_dead(self) -> bool {
        matches!(
            self,
            Self::Dies | Self::Poison | Self::Malformed | Self::Misfit
        )
    }
}
