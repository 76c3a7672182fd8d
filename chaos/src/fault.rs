//! What can break: [`Fault`].

/// An enum whose variants are words.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Something that breaks.
    pub enum Fault {
        /// A worker process is killed (-9) and started again.
        KillWorker = "kill_worker",
        /// A worker process gets TERM, with little time, and is started again.
        DeployWorker = "deploy_worker",
        /// A worker process stands still (SIGSTOP) until long after it was declared dead.
        FreezeWorker = "freeze_worker",
        /// The clock of a worker process jumps by hours, there and back.
        ClockJump = "clock_jump",
        /// A worker process runs a job that ends it.
        Poison = "poison",
        /// The reader of a worker's log ends, so no line can be written until the process ends.
        LogDies = "log_dies",
        /// The log subscriber of a worker panics at every second call, for a time to live.
        SubscriberPanics = "subscriber_panics",
        /// Redis is shut down, and started again.
        RestartRedis = "restart_redis",
        /// Redis is killed (-9), and started again.
        KillRedis = "kill_redis",
        /// Redis stands still (SIGSTOP) for a time to live, with its connections open.
        StallRedis = "stall_redis",
        /// Redis refuses writes because its memory is full, for longer than three times to live.
        OutOfMemory = "out_of_memory",
        /// Redis cannot write its file any further, in the middle of a write or not, and ends.
        DiskFull = "disk_full",
        /// A script of another program keeps Redis busy, until it answers `BUSY`.
        SlowScript = "slow_script",
        /// The slot of all keys moves to another primary of the cluster, and stays in between for
        /// longer than a time to live.
        MoveSlot = "move_slot",
        /// The slot with the backlog moves to another primary and back. Each time its list moves
        /// first, and the slot stays in between for longer than a time to live.
        MoveBacklog = "move_backlog",
        /// The first queue moves to another cell.
        MoveQueue = "move_queue",
        /// A replica of the cluster takes over on request.
        FailOver = "fail_over",
        /// The primary of the cluster is killed (-9), and started again when its replica has taken
        /// over.
        KillPrimary = "kill_primary",
        /// Redis forgets its scripts.
        ScriptFlush = "script_flush",
        /// Redis ends every connection.
        ClientKill = "client_kill",
        /// Commands of a worker reach Redis late.
        Delay = "delay",
        /// The connections of a worker are cut, and for a while it gets no new ones.
        Partition = "partition",
        /// The reply to a settlement is lost: the connection is cut after Redis ran the command.
        CutAfterSettle = "cut_after_settle",
        /// The reply to a fetch is lost.
        CutAfterFetch = "cut_after_fetch",
        /// A reply is cut in its middle.
        CutMidReply = "cut_mid_reply",
        /// The reply to an enqueue is lost.
        CutAfterEnqueue = "cut_after_enqueue",
        /// A payload that is no job is put into a queue and into `schedule`, and a job that no
        /// program can run into a queue.
        Malformed = "malformed",
        /// A payload is put into a queue twice.
        DuplicatePayload = "duplicate_payload",
        /// A program that knows no locks deletes a unique job.
        DeletedPastVerk = "deleted_past_verk",
        /// A payload as large as a client may send, or three times as large.
        HugePayload = "huge_payload",
    }
}

impl Fault {
    /// Whether it concerns one worker process, and not all.
    #[must_use]
    pub fn concerns_a_worker(self) -> bool {
        matches!(
            self,
            Self::KillWorker
                | Self::DeployWorker
                | Self::FreezeWorker
                | Self::ClockJump
                | Self::LogDies
                | Self::SubscriberPanics
                | Self::Delay
                | Self::Partition
                | Self::CutAfterSettle
                | Self::CutAfterFetch
                | Self::CutMidReply
        )
    }

    /// Whether a run that was not settled when the fault struck may be followed by a second one,
    /// although its process lives.
    #[must_use]
    pub fn may_run_twice(self) -> bool {
        match self {
            // The process stood still for so long that it was declared dead, or could not send a
            // heartbeat.
            Self::FreezeWorker | Self::Partition => true,
            // The answer to its outcome was lost, or its registration.
            Self::RestartRedis
            | Self::KillRedis
            | Self::StallRedis
            | Self::DiskFull
            | Self::ClientKill
            | Self::KillPrimary
            | Self::CutAfterSettle
            | Self::CutAfterFetch
            | Self::CutMidReply => true,
            // A process that ends explains the second starts of what it had begun.
            Self::KillWorker | Self::DeployWorker | Self::Poison => false,
            // What is logged has no effect on jobs.
            Self::LogDies | Self::SubscriberPanics => false,
            // Time, and what waits for an answer that comes.
            Self::ClockJump | Self::Delay | Self::SlowScript | Self::ScriptFlush => false,
            // A server that refuses a request has not run it, and heartbeats reach the keys.
            Self::MoveSlot | Self::MoveBacklog | Self::FailOver => false,
            // A job that moves runs in one of its cells.
            Self::MoveQueue => false,
            // A full server refuses jobs, and nothing else.
            Self::OutOfMemory => false,
            // Producers send nothing twice.
            Self::CutAfterEnqueue
            | Self::Malformed
            | Self::DuplicatePayload
            | Self::DeletedPastVerk
            | Self::HugePayload => false,
        }
    }
}
