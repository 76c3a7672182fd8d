//! What a queue does next. Pure: a [`View`] of the queue decides.
//!
//! A turn takes the steps that are due, in the order of [`Step::TURN`]. Each step changes what the
//! later steps see, so whether a step is due is decided just before it.

use crate::runner::{lanes::Activity, stop::Phase};

/// Everything about the queue that decides what it does next.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) phase: Phase,
    /// Whether jobs may start: the queue is neither paused nor about to end.
    pub(super) is_open: bool,
    /// Whether the list must be read before anything else is fetched or settled.
    pub(super) must_reconcile: bool,
    /// Whether the storage is left alone for a while, because it failed or said that the queue is
    /// paused.
    pub(super) holds_off: bool,
    /// Whether the node is certainly alive, or is lost. In the first case the jobs are its own, in
    /// the second they belong to other nodes.
    pub(super) knows_whose_it_is: bool,
    pub(super) first: Activity,
    pub(super) second: Activity,
    /// Whether a batch without a fetch is on its way.
    pub(super) settles_alone: bool,
    /// Whether there are fetched jobs without a permit.
    pub(super) has_prefetched: bool,
    /// Whether runs have started that are not in a task yet.
    pub(super) has_started: bool,
    /// Whether outcomes wait to be sent.
    pub(super) has_pending: bool,
    /// Whether outcomes are stored and not published yet.
    pub(super) has_stored: bool,
    /// Whether jobs end so fast that two exchanges should be on their way at once.
    pub(super) is_short: bool,
    /// Whether a row of short runs is on its way.
    pub(super) in_a_row: bool,
    /// Whether the last wait brought one job, of a class whose runs end within a trip.
    pub(super) has_one_short: bool,
}

/// A step of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open the first lane.
    Open,
    /// Read the list of what the node holds.
    ReadList,
    /// Fetch jobs, and settle in the same trip what is ready.
    Fetch,
    /// Start fetched jobs, or hand them back.
    Begin,
    /// Publish and count what the last reply stored.
    TellStored,
    /// Open the second lane, or send an exchange on it while the first is on its way.
    FetchBeside,
    /// Send a batch without a fetch.
    SettleAlone,
}

impl Step {
    /// The steps of a turn. The fetch comes first, so that the storage works on the next batch
    /// while the jobs of the last one begin.
    pub(super) const TURN: [Self; 7] = [
        Self::Open,
        Self::ReadList,
        Self::Fetch,
        Self::Begin,
        Self::TellStored,
        Self::FetchBeside,
        Self::SettleAlone,
    ];

    /// Whether the step is to be taken now. The step may still do nothing, if there is no permit or
    /// no batch.
    pub(super) fn is_due(self, view: &View) -> bool {
        let may_ask = !view.holds_off;
        match self {
            Self::Open => {
                view.first == Activity::Closed && may_ask && (view.must_reconcile || view.is_open)
            }
            // A job that is found in the list may start, so the node must know that it is its own.
            // No settlement may change the list meanwhile.
            Self::ReadList => {
                view.first == Activity::Idle
                    && may_ask
                    && view.must_reconcile
                    && view.knows_whose_it_is
                    && !view.settles_alone
            }
            // One short job ends sooner than the fetch is sent, which then settles it.
            Self::Fetch => {
                view.first == Activity::Idle
                    && may_ask
                    && !view.must_reconcile
                    && !(view.has_one_short && (view.has_prefetched || view.in_a_row))
            }
            Self::Begin => view.has_prefetched || view.has_started,
            Self::TellStored => view.has_stored,
            // The jobs without a permit are enough for the time of one trip, and those of a row end
            // at once.
            Self::FetchBeside => {
                view.first == Activity::Exchanging
                    && !view.second.may_bring_jobs()
                    && may_ask
                    && !view.must_reconcile
                    && view.is_short
                    && !view.has_prefetched
                    && !view.in_a_row
            }
            // What can be settled together with a fetch waits for that fetch.
            Self::SettleAlone => {
                view.has_pending
                    && !view.settles_alone
                    && !view.must_reconcile
                    && !matches!(view.first, Activity::Exchanging | Activity::Answered)
            }
        }
    }
}

/// Whether runs that end are left alone until the reply is here. When as many exchanges are on
/// their way as there should be, nothing can be sent before that, unless jobs wait for permits.
pub(super) fn waits_for_reply(view: &View) -> bool {
    view.phase == Phase::Running
        && view.first == Activity::Exchanging
        && (view.second.may_bring_jobs() || !view.is_short)
        && !view.has_prefetched
}

/// Whether the queue ends soon, even if jobs are left: the process ends, or the node id ends and
/// only a read of the list is still due, which other nodes do too.
pub(super) fn gives_up(
    phase: Phase,
    node_ends: bool,
    holds_nothing: bool,
    first: Activity,
) -> bool {
    phase == Phase::Leaving || (node_ends && holds_nothing && !first.may_bring_jobs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An open queue with a connection and nothing to do but to fetch.
    const IDLE: View = View {
        phase: Phase::Running,
        is_open: true,
        must_reconcile: false,
        holds_off: false,
        knows_whose_it_is: true,
        first: Activity::Idle,
        second: Activity::Closed,
        settles_alone: false,
        has_prefetched: false,
        has_started: false,
        has_pending: false,
        has_stored: false,
        is_short: false,
        in_a_row: false,
        has_one_short: false,
    };

    fn due(view: &View) -> Vec<Step> {
        let due = |step: &Step| step.is_due(view);
        Step::TURN.into_iter().filter(due).collect()
    }

    #[test]
    fn a_queue_opens_its_connection_when_it_needs_one() {
        let closed = View {
            first: Activity::Closed,
            ..IDLE
        };
        assert_eq!(due(&closed), [Step::Open]);
        let paused = View {
            is_open: false,
            ..closed
        };
        assert_eq!(due(&paused), []);
        let unsure = View {
            must_reconcile: true,
            ..paused
        };
        assert_eq!(due(&unsure), [Step::Open]);
        let failed = View {
            holds_off: true,
            ..unsure
        };
        assert_eq!(due(&failed), []);
    }

    #[test]
    fn an_idle_connection_fetches() {
        assert_eq!(due(&IDLE), [Step::Fetch]);
        let failed = View {
            holds_off: true,
            ..IDLE
        };
        assert_eq!(due(&failed), []);
        for busy in [
            Activity::Opening,
            Activity::Fetching,
            Activity::Exchanging,
            Activity::Answered,
            Activity::Reading,
        ] {
            let view = View {
                first: busy,
                ..IDLE
            };
            assert_eq!(due(&view), [], "{busy:?}");
        }
    }

    #[test]
    fn after_a_lost_reply_the_list_is_read_before_anything_else() {
        let unsure = View {
            must_reconcile: true,
            has_pending: true,
            ..IDLE
        };
        assert_eq!(due(&unsure), [Step::ReadList]);
        for waits in [
            View {
                settles_alone: true,
                ..unsure
            },
            View {
                knows_whose_it_is: false,
                ..unsure
            },
            View {
                holds_off: true,
                ..unsure
            },
            View {
                first: Activity::Fetching,
                ..unsure
            },
            View {
                first: Activity::Exchanging,
                ..unsure
            },
        ] {
            assert_eq!(due(&waits), [], "{waits:?}");
        }
    }

    #[test]
    fn outcomes_go_alone_when_no_fetch_takes_them_along() {
        let ended = View {
            first: Activity::Fetching,
            has_pending: true,
            ..IDLE
        };
        assert_eq!(due(&ended), [Step::SettleAlone]);
        for first in [Activity::Exchanging, Activity::Answered] {
            assert_eq!(due(&View { first, ..ended }), [], "{first:?}");
        }
        let one_at_a_time = View {
            settles_alone: true,
            ..ended
        };
        assert_eq!(due(&one_at_a_time), []);
    }

    #[test]
    fn a_second_exchange_goes_beside_the_first_while_jobs_are_short() {
        let short = View {
            first: Activity::Exchanging,
            is_short: true,
            ..IDLE
        };
        for second in [Activity::Closed, Activity::Idle, Activity::Opening] {
            assert_eq!(due(&View { second, ..short }), [Step::FetchBeside]);
        }
        for enough in [
            View {
                second: Activity::Exchanging,
                ..short
            },
            View {
                second: Activity::Answered,
                ..short
            },
            View {
                in_a_row: true,
                ..short
            },
            View {
                is_short: false,
                ..short
            },
            View {
                first: Activity::Fetching,
                ..short
            },
            View {
                must_reconcile: true,
                ..short
            },
            View {
                holds_off: true,
                ..short
            },
        ] {
            assert_eq!(due(&enough), [], "{enough:?}");
        }
    }

    #[test]
    fn a_short_job_that_ended_a_wait_runs_before_the_next_fetch() {
        let arrived = View {
            has_one_short: true,
            has_prefetched: true,
            ..IDLE
        };
        assert_eq!(due(&arrived), [Step::Begin]);
        let runs = View {
            has_prefetched: false,
            in_a_row: true,
            ..arrived
        };
        assert_eq!(due(&runs), []);
        let ended = View {
            in_a_row: false,
            has_pending: true,
            ..runs
        };
        assert_eq!(due(&ended)[0], Step::Fetch);
    }

    #[test]
    fn jobs_begin_while_the_storage_works_on_the_next_batch() {
        let view = View {
            has_prefetched: true,
            has_stored: true,
            ..IDLE
        };
        assert_eq!(due(&view), [Step::Fetch, Step::Begin, Step::TellStored]);
        let started = View {
            has_started: true,
            first: Activity::Fetching,
            ..IDLE
        };
        assert_eq!(due(&started), [Step::Begin]);
    }

    #[test]
    fn a_busy_queue_waits_for_its_reply() {
        let busy = View {
            first: Activity::Exchanging,
            ..IDLE
        };
        assert!(waits_for_reply(&busy));
        assert!(waits_for_reply(&View {
            second: Activity::Exchanging,
            is_short: true,
            ..busy
        }));
        for looks in [
            View {
                is_short: true,
                ..busy
            },
            View {
                has_prefetched: true,
                ..busy
            },
            View {
                phase: Phase::Draining,
                ..busy
            },
            View {
                first: Activity::Fetching,
                ..busy
            },
        ] {
            assert!(!waits_for_reply(&looks), "{looks:?}");
        }
    }

    #[test]
    fn a_queue_gives_up_when_others_can_do_the_rest() {
        assert!(gives_up(Phase::Leaving, true, false, Activity::Fetching));
        assert!(gives_up(Phase::Draining, true, true, Activity::Reading));
        assert!(gives_up(Phase::Cancelled, true, true, Activity::Closed));
        // The node stays alive, so no other node restores its list.
        assert!(!gives_up(Phase::Draining, false, true, Activity::Reading));
        assert!(!gives_up(Phase::Draining, true, false, Activity::Idle));
        assert!(!gives_up(Phase::Draining, true, true, Activity::Fetching));
        assert!(!gives_up(Phase::Running, false, true, Activity::Idle));
    }
}
