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
    /// A cell is down: it refuses everything.
    CellDown,
    /// A cell restarts: it is another server afterwards.
    CellRestarts,
    /// A cell has no room for new jobs.
    CellFull,
    /// A node gets no reply from one cell.
    CellCut,
    /// The replies of one cell come late to a node.
    CellFrozen,
    /// A node's heartbeats do not arrive in one cell.
    CellHeartbeatsLost,
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
    const ALL: [Self; 12] = [
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

    /// Those that strike one of several cells.
    const OF_CELLS: [Self; 6] = [
        Self::CellDown,
        Self::CellRestarts,
        Self::CellFull,
        Self::CellCut,
        Self::CellFrozen,
        Self::CellHeartbeatsLost,
    ];

    /// Those that strike where there are so many cells.
    pub(crate) fn of(cells: usize) -> Vec<Self> {
        let all = Self::ALL.into_iter();
        let of_cells = Self::OF_CELLS.into_iter().filter(|_| cells > 1);
        all.chain(of_cells).collect()
    }
}
