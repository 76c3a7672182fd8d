//! Steps that once showed a fault: they run before the random ones.

use super::step::{Action, Payload, Pick, Shape, Spot, Step, To, Trouble};

/// The faults, and the steps that show them.
pub(super) fn found() -> Vec<(&'static str, Vec<Step>)> {
    let broken_list = Spot::Inprogress { node: 0, queue: 0 };
    vec![
        (
            "a fetch from a paused queue registered that queue",
            vec![
                well(Action::SetPaused {
                    queue: 1,
                    paused: true,
                }),
                well(Action::Dequeue {
                    node: 0,
                    queue: 1,
                    max_jobs: 1,
                    max_bytes: 1,
                    prefetched: 0,
                }),
            ],
        ),
        (
            "a fetch that failed registered its queue",
            vec![broken(
                Action::Dequeue {
                    node: 0,
                    queue: 1,
                    max_jobs: 1,
                    max_bytes: 1,
                    prefetched: 0,
                },
                Spot::Queue(1),
            )],
        ),
        (
            "the broken list of a living node was looked at",
            vec![broken(
                Action::Restore {
                    node: 0,
                    queue: 0,
                    jobs: vec![(Pick::There(0), To::NOWHERE)],
                },
                broken_list,
            )],
        ),
        (
            "a queue with something else in its place was not named",
            vec![broken(
                Action::Enqueue {
                    queue: 1,
                    jobs: vec![Payload::New(Shape::Short)],
                },
                Spot::Queue(1),
            )],
        ),
        (
            "a node with a broken list could not say whether it holds a job",
            vec![broken(Action::Deregister { node: 0 }, broken_list)],
        ),
        (
            "a call that takes nothing looked at the queue",
            vec![broken(
                Action::Exchange {
                    node: 0,
                    queue: 0,
                    jobs: Vec::new(),
                    max_jobs: 0,
                    prefetched: 0,
                },
                Spot::Queue(0),
            )],
        ),
    ]
}

fn well(action: Action) -> Step {
    Step {
        action,
        trouble: None,
    }
}

fn broken(action: Action, spot: Spot) -> Step {
    Step {
        action,
        trouble: Some(Trouble::Broken(spot)),
    }
}
