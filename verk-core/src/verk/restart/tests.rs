use std::{iter, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::*;
use crate::{health::Reason, time::clock::by_hand::ClockByHand};

/// A part that panics in each of its first runs, and ends in the next one.
struct Part {
    panics: u32,
    runs: Arc<Mutex<u32>>,
    recovered: u32,
}

impl Part {
    async fn run(&mut self) {
        let runs = {
            let mut runs = self.runs.lock();
            *runs += 1;
            *runs
        };
        assert_eq!(self.recovered, runs - 1, "it recovers before each run");
        assert!(runs > self.panics, "run {runs} panics on purpose");
    }
}

/// Runs a part that panics so often, and breaks at the panic of this number. Returns how often it
/// ran, and the pauses in between.
async fn kept_running(monitor: &Monitor, panics: u32, breaks_at: u32) -> (u32, Vec<Duration>) {
    let clock = ClockByHand::new();
    let runs = Arc::default();
    let part = Part {
        panics,
        runs: Arc::clone(&runs),
        recovered: 0,
    };
    let restarts = Restarts {
        monitor,
        clock: &*clock,
    };
    let kept = restarts.keep_running(
        "part",
        part,
        |part| Box::pin(part.run()),
        |part| {
            part.recovered += 1;
            if part.recovered == breaks_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    let mut pauses = Vec::new();
    tokio::select! {
        biased;
        () = kept => {}
        () = async {
            loop {
                pauses.push(clock.pass_sleep().await);
            }
        } => {}
    }
    let runs = *runs.lock();
    (runs, pauses)
}

#[tokio::test]
async fn a_part_that_panics_runs_again_until_it_ends() {
    let monitor = Monitor::default();
    let (runs, pauses) = kept_running(&monitor, 3, u32::MAX).await;
    assert_eq!(runs, 4);
    // Each pause is up to half shorter than these, by chance.
    let longest = iter::successors(Some(Duration::from_millis(100)), |pause| Some(*pause * 2));
    assert_eq!(pauses.len(), 3);
    for (pause, longest) in pauses.into_iter().zip(longest) {
        assert!((longest / 2..=longest).contains(&pause), "{pause:?}");
    }
}

#[tokio::test]
async fn a_part_that_ends_does_not_run_again() {
    let (runs, pauses) = kept_running(&Monitor::default(), 0, u32::MAX).await;
    assert_eq!((runs, pauses.len()), (1, 0));
}

#[tokio::test]
async fn a_part_that_breaks_does_not_run_again() {
    let (runs, pauses) = kept_running(&Monitor::default(), u32::MAX, 2).await;
    assert_eq!((runs, pauses.len()), (2, 1));
}

#[tokio::test]
async fn a_part_that_keeps_panicking_is_seen_in_the_health() {
    let monitor = Monitor::default();
    let now = ClockByHand::new().instant();
    for (panics, reasons) in [
        (4, vec![]),
        (
            1,
            vec![Reason::Panicking {
                part: "part".to_owned(),
            }],
        ),
    ] {
        kept_running(&monitor, panics, u32::MAX).await;
        assert_eq!(monitor.of_parts(now), reasons);
    }
}
