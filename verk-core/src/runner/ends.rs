//! The ends of runs, on their way from the tasks that run jobs to the manager: [`Ends`].

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::runner::ended_run::{RunEnd, Times};

/// A run has ended.
#[derive(Debug)]
pub(crate) struct EndMessage {
    /// Its place among the running jobs.
    pub(crate) place: usize,
    pub(crate) times: Times,
    pub(crate) end: RunEnd,
}

/// The ends that the manager has not taken. The permits bound them: each running job sends one.
#[derive(Debug, Default)]
pub(crate) struct Ends(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    ended: VecDeque<EndMessage>,
    /// Whether a row of short runs is on its way. The manager takes all of its ends at once, and
    /// so is woken by the end of the row only.
    in_a_row: bool,
    manager: Option<Waker>,
}

impl Ends {
    pub(crate) fn send(&self, end: EndMessage) {
        let mut state = self.0.lock();
        state.ended.push_back(end);
        let manager = if state.in_a_row {
            None
        } else {
            state.manager.take()
        };
        drop(state);
        if let Some(manager) = manager {
            manager.wake();
        }
    }

    pub(crate) fn begin_row(&self) {
        self.0.lock().in_a_row = true;
    }

    /// The row is done, or is blocked by one of its runs.
    pub(crate) fn end_row(&self) {
        let mut state = self.0.lock();
        state.in_a_row = false;
        let manager = state.manager.take();
        drop(state);
        if let Some(manager) = manager {
            manager.wake();
        }
    }

    /// Whether a row of short runs is on its way.
    pub(crate) fn in_a_row(&self) -> bool {
        self.0.lock().in_a_row
    }

    /// Moves all ends into `taken`, which must be empty, oldest first.
    pub(crate) fn take(&self, taken: &mut VecDeque<EndMessage>) {
        std::mem::swap(&mut self.0.lock().ended, taken);
    }

    /// As [`Self::take`], when there are ends and no row is on its way.
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        taken: &mut VecDeque<EndMessage>,
    ) -> Poll<()> {
        let mut state = self.0.lock();
        if state.in_a_row || state.ended.is_empty() {
            state.manager = Some(cx.waker().clone());
            return Poll::Pending;
        }
        std::mem::swap(&mut state.ended, taken);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::Wake,
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;

    /// Counts how often the manager is woken.
    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn so_far(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn end(place: usize) -> EndMessage {
        EndMessage {
            place,
            times: Times {
                started_at: UNIX_EPOCH,
                ended_at: UNIX_EPOCH,
                took: Duration::ZERO,
            },
            end: RunEnd::Cancelled,
        }
    }

    #[test]
    fn the_manager_is_woken_by_the_first_end_after_it_has_looked() {
        let (ends, wakes) = (Ends::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let (mut cx, mut taken) = (Context::from_waker(&waker), VecDeque::new());
        assert!(ends.poll_take(&mut cx, &mut taken).is_pending());
        ends.send(end(1));
        ends.send(end(2));
        assert_eq!(wakes.so_far(), 1);
        assert!(ends.poll_take(&mut cx, &mut taken).is_ready());
        let places: Vec<_> = taken.iter().map(|end| end.place).collect();
        assert_eq!(places, [1, 2]);
    }

    #[test]
    fn a_row_wakes_the_manager_once_when_it_ends() {
        let (ends, wakes) = (Ends::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let (mut cx, mut taken) = (Context::from_waker(&waker), VecDeque::new());
        // It waited before the row began, and again after that.
        assert!(ends.poll_take(&mut cx, &mut taken).is_pending());
        ends.begin_row();
        ends.send(end(1));
        assert!(ends.poll_take(&mut cx, &mut taken).is_pending());
        ends.send(end(2));
        assert_eq!((wakes.so_far(), ends.in_a_row()), (0, true));
        ends.end_row();
        assert_eq!((wakes.so_far(), ends.in_a_row()), (1, false));
        assert!(ends.poll_take(&mut cx, &mut taken).is_ready());
        assert_eq!(taken.len(), 2);
    }

    #[test]
    fn the_ends_of_a_row_can_be_taken_before_it_is_done() {
        let (ends, mut taken) = (Ends::default(), VecDeque::new());
        ends.begin_row();
        ends.send(end(1));
        ends.take(&mut taken);
        assert_eq!(taken.len(), 1);
    }
}
