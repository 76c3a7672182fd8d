use futures_util::FutureExt;

use super::*;

/// The stop of a process, and of one queue of its node.
fn stop() -> Stop {
    let process = Ends {
        drain: CancellationToken::new(),
        cancel: CancellationToken::new(),
    };
    let node = Ends {
        drain: process.drain.child_token(),
        cancel: process.cancel,
    };
    Stop {
        queue: node.of_part(),
        node,
    }
}

/// What `stop` says, after it was seen that this differs from `before`.
fn next(stop: &Stop, before: (Phase, bool)) -> (Phase, bool) {
    assert!(stop.advance(before.0, before.1).now_or_never().is_some());
    let now = (stop.phase(), stop.node_ends());
    assert!(stop.advance(now.0, now.1).now_or_never().is_none());
    now
}

#[test]
fn a_node_that_ends_takes_its_queue_along() {
    let stop = stop();
    let mut seen = (stop.phase(), stop.node_ends());
    assert_eq!(seen, (Phase::Running, false));
    assert!(stop.advance(seen.0, seen.1).now_or_never().is_none());
    stop.node.drain.cancel();
    seen = next(&stop, seen);
    assert_eq!(seen, (Phase::Draining, true));
    stop.node.cancel.cancel();
    assert_eq!(next(&stop, seen), (Phase::Leaving, true));
}

#[test]
fn a_queue_that_is_removed_ends_alone() {
    let stop = stop();
    stop.queue.drain.cancel();
    let mut seen = next(&stop, (Phase::Running, false));
    assert_eq!(seen, (Phase::Draining, false));
    stop.queue.cancel.cancel();
    seen = next(&stop, seen);
    assert_eq!(seen, (Phase::Cancelled, false));
    stop.node.drain.cancel();
    seen = next(&stop, seen);
    assert_eq!(seen, (Phase::Cancelled, true));
    stop.node.cancel.cancel();
    assert_eq!(next(&stop, seen), (Phase::Leaving, true));
}

#[test]
fn phases_follow_each_other() {
    assert!(Phase::Running < Phase::Draining);
    assert!(Phase::Draining < Phase::Cancelled);
    assert!(Phase::Cancelled < Phase::Leaving);
}
