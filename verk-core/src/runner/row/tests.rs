use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::time::clock::by_hand::ClockByHand;

/// What a run does when it is polled first.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It ends after this time.
    Ends(Duration),
    Waits,
}

/// The runs that were polled, and those that have ended, by their place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    polled: Vec<usize>,
    ended: Vec<usize>,
}

/// Runs these in a row, and then each that got a task of its own. Returns what was seen of the row,
/// and in the end.
fn in_a_row(runs: &[Then]) -> (Seen, Seen) {
    let (clock, seen) = (ClockByHand::new(), Arc::new(Mutex::new(Seen::default())));
    let run = |(place, then): (usize, &Then)| -> StartedRun {
        let (clock, seen, then) = (Arc::clone(&clock), Arc::clone(&seen), *then);
        Box::pin(async move {
            seen.lock().polled.push(place);
            match then {
                Then::Ends(time) => clock.pass(time),
                Then::Waits => tokio::task::yield_now().await,
            }
            seen.lock().ended.push(place);
            clock.instant()
        })
    };
    let started = runs.iter().enumerate().map(run).collect();
    let tasks = Mutex::new(Vec::new());
    run_in_a_row(started, &*clock, |run| tasks.lock().push(run));
    let row = std::mem::take(&mut *seen.lock());
    for task in tasks.into_inner() {
        assert!(task.now_or_never().is_some());
    }
    let tasks = std::mem::take(&mut *seen.lock());
    (row, tasks)
}

const SHORT: Then = Then::Ends(Duration::from_micros(1));

#[test]
fn a_run_that_waits_continues_in_a_task_of_its_own() {
    let (row, tasks) = in_a_row(&[SHORT, Then::Waits, SHORT]);
    assert_eq!(row.polled, [0, 1, 2]);
    assert_eq!(row.ended, [0, 2]);
    assert_eq!((tasks.polled, tasks.ended), (vec![], vec![1]));
}

#[test]
fn runs_that_are_left_when_the_time_is_up_get_tasks_of_their_own() {
    let (row, tasks) = in_a_row(&[SHORT, Then::Ends(IN_A_ROW), SHORT, SHORT]);
    assert_eq!((row.polled, row.ended), (vec![0, 1], vec![0, 1]));
    assert_eq!((tasks.polled, tasks.ended), (vec![2, 3], vec![2, 3]));
}

#[test]
fn short_runs_end_in_the_row() {
    let (row, tasks) = in_a_row(&[SHORT; 100]);
    assert_eq!(row.ended, Vec::from_iter(0..100));
    assert_eq!(tasks, Seen::default());
}
