//! What goes wrong, by its name in the books.

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// A node dies, and another starts.
    Kill,
    /// It dies in the middle of its next call, before or after the storage did it.
    KillInCall,
    /// A node is shut down, and another starts.
    Deploy,
    /// A node stands still, as after SIGSTOP, and continues.
    Freeze,
    /// A node gets no reply from the storage.
    Partition,
    /// A node's heartbeats do not arrive, and all else does.
    HeartbeatsLost,
    /// The storage refuses everything.
    Refuse,
    /// The storage has no room for new jobs.
    Full,
    /// A queue is paused for all nodes.
    PauseEverywhere,
    /// A queue is paused on one node.
    Pause,
    /// The clock of one node is set.
    ClockOfNode,
    /// The clocks of all are set.
    Clocks,
    /// One call is refused.
    CallRefused,
    /// One call does not arrive, and nobody knows.
    CallLost,
    /// One call is done, and its reply does not arrive.
    ReplyLost,
    /// One call takes its time.
    Delay,
}

impl Trouble {
    /// Those that strike a node or all of them, one after the other.
    pub(crate) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillInCall,
        Self::Deploy,
        Self::Freeze,
        Self::Partition,
        Self::HeartbeatsLost,
        Self::Refuse,
        Self::Full,
        Self::PauseEverywhere,
        Self::Pause,
        Self::ClockOfNode,
        Self::Clocks,
    ];
}
