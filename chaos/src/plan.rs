//! What breaks when: [`Plan`].

use std::{fmt, time::Duration};

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{fault::Fault, store::Place};

/// One fault of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, from the start of the run.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// Which worker it concerns, if it concerns one.
    pub worker: usize,
    /// How long it lasts, if it does not last as long as such a fault does by itself.
    pub length: Option<Duration>,
    /// A further random number, for any use.
    pub random: u64,
}

/// The faults of a run, in lanes. In a lane one comes after the other. The lanes run at the
/// same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The lanes.
    pub lanes: Vec<Vec<Step>>,
}

/// A line for each step, in the order of time.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps: Vec<_> = self.lanes.iter().flatten().collect();
        steps.sort_by_key(|step| step.at);
        for step in steps {
            write!(f, "{:7.3} s  {}", step.at.as_secs_f64(), step.fault)?;
            if step.fault.concerns_a_worker() {
                write!(f, " of worker {}", step.worker)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The faults of processes, of Redis, and of connections and payloads.
const LANES: [&[Fault]; 3] = [
    &[
        Fault::KillWorker,
        Fault::DeployWorker,
        Fault::FreezeWorker,
        Fault::ClockJump,
        Fault::LogDies,
        Fault::SubscriberPanics,
        Fault::Poison,
    ],
    &[
        Fault::RestartRedis,
        Fault::KillRedis,
        Fault::StallRedis,
        Fault::OutOfMemory,
        Fault::DiskFull,
        Fault::SlowScript,
    ],
    &[
        Fault::ScriptFlush,
        Fault::ClientKill,
        Fault::Delay,
        Fault::Partition,
        Fault::CutAfterSettle,
        Fault::CutAfterFetch,
        Fault::CutMidReply,
        Fault::CutAfterEnqueue,
        Fault::Malformed,
        Fault::DuplicatePayload,
        Fault::DeletedPastVerk,
        Fault::HugePayload,
    ],
];

/// As [`LANES`], on a cluster.
const LANES_ON_A_CLUSTER: [&[Fault]; 2] = [
    &[
        Fault::KillWorker,
        Fault::DeployWorker,
        Fault::FreezeWorker,
        Fault::ClockJump,
    ],
    &[
        Fault::MoveSlot,
        Fault::FailOver,
        Fault::KillPrimary,
        Fault::MoveSlot,
        Fault::ScriptFlush,
        Fault::ClientKill,
    ],
];

fn lanes(place: Place) -> Vec<Vec<Fault>> {
    let mut lanes: Vec<_> = match place {
        Place::Server => LANES.iter().map(|lane| lane.to_vec()).collect(),
        Place::Cluster { .. } => LANES_ON_A_CLUSTER
            .iter()
            .map(|lane| lane.to_vec())
            .collect(),
    };
    if let (Place::Cluster { cells: 2.., .. }, Some(of_processes)) = (place, lanes.first_mut()) {
        of_processes.push(Fault::MoveQueue);
    }
    if let (1.., Some(of_servers)) = (place.backlog(), lanes.last_mut()) {
        of_servers.push(Fault::MoveBacklog);
    }
    lanes
}

impl Plan {
    /// The faults of a plan that follows from a seed, on a cluster or on one server.
    #[must_use]
    pub fn faults(place: Place) -> Vec<Fault> {
        lanes(place).concat()
    }

    /// The plan that follows from a seed. Each fault is in it at least once: like cards, they are
    /// dealt from one deck for each lane.
    #[must_use]
    pub fn from_seed(seed: u64, length: Duration, workers: usize, place: Place) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lanes = lanes(place)
            .iter()
            .map(|faults| {
                // Two decks for each 20 seconds, so that everything happens at least once, and more
                // than once in a longer run.
                let decks = length.as_secs().div_ceil(20).max(1);
                let mut deck = Vec::new();
                for _ in 0..decks {
                    let mut cards = faults.clone();
                    cards.shuffle(&mut rng);
                    deck.extend(cards);
                }
                let pause = length / u32::try_from(deck.len()).unwrap_or(u32::MAX);
                (0..)
                    .zip(deck)
                    .map(|(place, fault)| Step {
                        at: pause * place + pause.mul_f64(rng.random_range(0.0..0.8)),
                        fault,
                        worker: rng.random_range(0..workers),
                        length: None,
                        random: rng.random(),
                    })
                    .collect()
            })
            .collect();
        Self { lanes }
    }

    /// One fault so often for each worker, at random times.
    #[must_use]
    pub fn for_each_worker(
        seed: u64,
        length: Duration,
        workers: usize,
        fault: Fault,
        times: usize,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let lanes = (0..workers)
            .map(|worker| {
                let mut steps: Vec<Step> = (0..times)
                    .map(|_| Step {
                        at: length.mul_f64(rng.random()),
                        fault,
                        worker,
                        length: None,
                        random: rng.random(),
                    })
                    .collect();
                steps.sort_by_key(|step| step.at);
                steps
            })
            .collect();
        Self { lanes }
    }

    /// One fault, of the first worker if it concerns one.
    #[must_use]
    pub fn one(at: Duration, fault: Fault, length: Option<Duration>) -> Self {
        let step = Step {
            at,
            fault,
            worker: 0,
            length,
            random: 0,
        };
        Self {
            lanes: vec![vec![step]],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan_and_everything_is_in_it() {
        let length = Duration::from_secs(45);
        let plan = Plan::from_seed(7, length, 3, Place::Server);
        assert_eq!(plan, Plan::from_seed(7, length, 3, Place::Server));
        assert_ne!(plan, Plan::from_seed(8, length, 3, Place::Server));
        let steps = plan.lanes.iter().flatten().count();
        assert_eq!(plan.to_string().lines().count(), steps);
        let place = Place::Cluster {
            cells: 16,
            backlog: 1,
        };
        let on_cluster = Plan::from_seed(7, length, 3, place);
        for fault in Fault::ALL {
            let mut all = [&plan, &on_cluster]
                .into_iter()
                .flat_map(|it| &it.lanes)
                .flatten();
            assert!(all.any(|step| step.fault == *fault), "{fault}");
        }
        for lane in plan.lanes {
            assert!(lane.is_sorted_by_key(|step| step.at));
            assert!(lane.iter().all(|step| step.at < length && step.worker < 3));
        }
    }
}
