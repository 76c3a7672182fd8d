//! The decision, from what was read: pure.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use super::{Explanation, JobPlace, NodeStatus, Pause, Process, Reason};
use crate::{
    job::{Job, first_chars},
    names::{NodeId, QueueName},
    storage::JobSet,
};

/// Beyond so many jobs, a position in a queue is not exact.
const EXACT_POSITIONS: u64 = 10_000;

/// The most characters of an error message.
const MAX_MESSAGE: usize = 1_000;

/// A job where it was found.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) job: Job,
    pub(super) spot: Spot,
}

/// Where a job was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Spot {
    /// With so many jobs before it.
    Queue {
        queue: QueueName,
        index: u64,
    },
    Set {
        set: JobSet,
        at: SystemTime,
    },
    Held {
        node: NodeId,
        queue: QueueName,
        /// Whether the node has not started it.
        prefetched: bool,
    },
    /// A process reports it, and no node holds it.
    Reported {
        process: String,
        queue: Option<QueueName>,
        since: Option<SystemTime>,
    },
}

/// What else was read.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) now: SystemTime,
    pub(super) pauses: Vec<Pause>,
    pub(super) runners: Vec<Runner>,
    /// The node that holds the job, if one does.
    pub(super) holder: Option<Holder>,
}

/// A live process that runs queues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runner {
    pub(super) queues: Vec<QueueName>,
    /// The classes that it has a worker for; `None` if that is not known.
    pub(super) classes: Option<HashSet<String>>,
    /// Whether it fetches no more jobs.
    pub(super) quiet: bool,
}

/// The node that holds a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Holder {
    pub(super) alive: bool,
    pub(super) process: Option<String>,
    /// When its process last reported itself.
    pub(super) reported: Option<SystemTime>,
    /// When the run of the job began.
    pub(super) since: Option<SystemTime>,
}

impl Runner {
    /// The live nodes, and the processes of Ruby.
    pub(crate) fn all(nodes: &[NodeStatus], processes: &[Process]) -> Vec<Self> {
        let of_nodes = nodes.iter().filter(|node| node.alive).map(|node| {
            let info = node.info.as_ref();
            let process = info.and_then(|info| {
                let is_its = |process: &&Process| process.identity == info.process;
                processes.iter().find(is_its)
            });
            let all_known = info.filter(|info| info.class_count == info.classes.len());
            Self {
                queues: node.queues.iter().map(|queue| queue.name.clone()).collect(),
                classes: all_known.map(|info| info.classes.iter().cloned().collect()),
                quiet: process.is_some_and(|process| process.quiet),
            }
        });
        // A process of verk lives as long as its node does.
        let others = processes.iter().filter(|process| !process.is_of_verk());
        let of_processes = others.map(|process| Self {
            queues: (process.queues.iter())
                .map(|queue| queue.name.clone())
                .collect(),
            classes: None,
            quiet: process.quiet,
        });
        of_nodes.chain(of_processes).collect()
    }

    pub(crate) fn runs(&self, queue: &QueueName) -> bool {
        self.queues.contains(queue)
    }

    pub(crate) fn may_have(&self, class: &str) -> bool {
        let classes = self.classes.as_ref();
        classes.is_none_or(|classes| classes.contains(class))
    }
}

/// All reasons, the most decisive first.
pub(super) fn explain(sighting: &Sighting, facts: &Facts) -> Explanation {
    let Sighting { job, spot } = sighting;
    let class = job.class();
    let (place, reasons) = match spot {
        Spot::Queue { queue, index } => {
            let mut reasons = of_queue(queue, class, facts);
            reasons.push(Reason::Behind {
                queue: queue.clone(),
                jobs: (*index).min(EXACT_POSITIONS),
                exact: *index <= EXACT_POSITIONS,
            });
            (JobPlace::Queue(queue.clone()), reasons)
        }
        Spot::Set {
            set: JobSet::Dead,
            at,
        } => (JobPlace::Set(JobSet::Dead), vec![dead(job, *at)]),
        Spot::Set { set, at } => {
            let mut reasons = waits(job, *set, *at, facts);
            if let Some(queue) = job.queue() {
                reasons.extend(of_queue(queue, class, facts));
            }
            (JobPlace::Set(*set), reasons)
        }
        Spot::Held {
            node,
            queue,
            prefetched,
        } => {
            let place = JobPlace::Node {
                node: node.clone(),
                queue: queue.clone(),
            };
            (place, vec![held(node, *prefetched, facts)])
        }
        Spot::Reported {
            process,
            queue,
            since,
        } => {
            let running = Reason::Running {
                node: None,
                process: Some(process.clone()),
                since: *since,
            };
            let place = JobPlace::Process {
                process: process.clone(),
                queue: queue.clone(),
            };
            (place, vec![running])
        }
    };
    Explanation {
        jid: job.jid().clone(),
        class: Some(class.to_owned()),
        place,
        reasons,
    }
}

/// Why no job of this class in this queue runs.
fn of_queue(queue: &QueueName, class: &str, facts: &Facts) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(pause) = facts.pauses.iter().find(|pause| pause.queue == *queue) {
        reasons.push(Reason::Paused(pause.clone()));
    }
    let queue = queue.clone();
    let runners = || facts.runners.iter().filter(|runner| runner.runs(&queue));
    let mut fetching = runners().filter(|runner| !runner.quiet).peekable();
    let reason = if runners().next().is_none() {
        Some(Reason::NoProcess {
            queue: queue.clone(),
        })
    } else if fetching.peek().is_none() {
        Some(Reason::AllQuiet {
            queue: queue.clone(),
        })
    } else if !fetching.any(|runner| runner.may_have(class)) {
        Some(Reason::NoWorker {
            queue: queue.clone(),
            class: class.to_owned(),
        })
    } else {
        None
    };
    reasons.extend(reason);
    reasons
}

/// Why a member of `schedule` or `retry` is not in its queue.
fn waits(job: &Job, set: JobSet, at: SystemTime, facts: &Facts) -> Vec<Reason> {
    let due_in = match at.duration_since(facts.now) {
        Ok(due_in) if !due_in.is_zero() => due_in,
        _ => {
            let nobody = facts.runners.is_empty().then_some(Reason::NobodyMoves);
            let overdue = Reason::Overdue {
                at,
                due_since: facts.now.duration_since(at).unwrap_or_default(),
            };
            return nobody.into_iter().chain([overdue]).collect();
        }
    };
    let (error_class, error_message) = error(job);
    vec![match set {
        JobSet::Retry => Reason::Retry {
            number: job.failures().max(1),
            at,
            due_in,
            error_class,
            error_message,
        },
        JobSet::Schedule | JobSet::Dead => Reason::Due { at, due_in },
    }]
}

fn dead(job: &Job, at: SystemTime) -> Reason {
    let (error_class, error_message) = error(job);
    Reason::Dead {
        at,
        failures: job.failures(),
        error_class,
        error_message,
    }
}

fn held(node: &NodeId, prefetched: bool, facts: &Facts) -> Reason {
    let node = node.clone();
    let holder = facts.holder.clone().unwrap_or_default();
    if !holder.alive {
        let silent_for = holder.reported.map(|reported| {
            let silence = facts.now.duration_since(reported);
            // The clocks may differ.
            silence.unwrap_or(Duration::ZERO)
        });
        return Reason::NodeSilent { node, silent_for };
    }
    if prefetched {
        return Reason::Prefetched { node };
    }
    Reason::Running {
        node: Some(node),
        process: holder.process,
        since: holder.since,
    }
}

fn error(job: &Job) -> (Option<String>, Option<String>) {
    let cut = |text: &str| first_chars(text, MAX_MESSAGE).to_owned();
    (
        job.error_class().map(|class| cut(&class)),
        job.error_message().map(|message| cut(&message)),
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_953_600 + second)
    }

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).unwrap()
    }

    fn job(more: &str) -> Job {
        let payload =
            format!(r#"{{"class":"Charge","jid":"j1","queue":"billing","args":["4111"]{more}}}"#);
        Job::decode(Bytes::from(payload)).unwrap()
    }

    const FAILED: &str = r#","failed_at":1795953000.5,"retry_count":2,"error_class":"BankClosed","error_message":"closed\non Sunday""#;

    /// A process that runs `billing`, and has these classes.
    fn runner(classes: Option<&[&str]>) -> Runner {
        Runner {
            queues: vec![queue("mailers"), queue("billing")],
            classes: classes
                .map(|classes| classes.iter().map(|class| (*class).to_owned()).collect()),
            quiet: false,
        }
    }

    fn facts(runners: Vec<Runner>) -> Facts {
        Facts {
            now: at(100),
            pauses: Vec::new(),
            runners,
            holder: None,
        }
    }

    fn healthy() -> Facts {
        facts(vec![runner(Some(&["Charge"]))])
    }

    fn pause(name: &str) -> Pause {
        Pause {
            queue: queue(name),
            since: Some(at(0)),
            by: Some("ada".into()),
            reason: Some("the bank is closed".into()),
        }
    }

    fn in_queue(index: u64) -> Spot {
        Spot::Queue {
            queue: queue("billing"),
            index,
        }
    }

    fn in_set(set: JobSet, second: u64) -> Spot {
        Spot::Set {
            set,
            at: at(second),
        }
    }

    fn on_node(prefetched: bool) -> Spot {
        Spot::Held {
            node: NodeId::from("web.1.0123456789ab"),
            queue: queue("billing"),
            prefetched,
        }
    }

    fn why(more: &str, spot: Spot, facts: &Facts) -> String {
        let job = job(more);
        explain(&Sighting { job, spot }, facts).to_string()
    }

    #[test]
    fn a_job_in_a_queue_waits_for_these_reasons() {
        let quiet = Runner {
            quiet: true,
            ..runner(None)
        };
        let elsewhere = Runner {
            queues: vec![queue("mailers")],
            ..runner(None)
        };
        let others = || runner(Some(&["Welcome"]));
        for (facts, index, expected) in [
            (healthy(), 0, "it is the next job of its queue"),
            (healthy(), 1, "1 job is before it"),
            (healthy(), 10_000, "10000 jobs are before it"),
            (healthy(), 10_001, "at least 10000 jobs are before it"),
            (
                facts(vec![]),
                0,
                "no live process runs queue billing; it is the next job of its queue",
            ),
            (
                facts(vec![elsewhere.clone()]),
                2,
                "no live process runs queue billing; 2 jobs are before it",
            ),
            (
                facts(vec![quiet.clone(), elsewhere]),
                0,
                "every process that runs queue billing is quiet or stops; it is the next job of its queue",
            ),
            (
                facts(vec![others()]),
                0,
                "no process that runs queue billing has a worker for Charge; it is the next job of its queue",
            ),
            (
                facts(vec![others(), quiet]),
                0,
                "no process that runs queue billing has a worker for Charge; it is the next job of its queue",
            ),
            (
                // Nobody knows the classes of Ruby.
                facts(vec![others(), runner(None)]),
                0,
                "it is the next job of its queue",
            ),
        ] {
            let expected = format!("Charge j1 waits in queue billing: {expected}");
            assert_eq!(why("", in_queue(index), &facts), expected);
        }
    }

    #[test]
    fn a_pause_comes_before_all_other_reasons_of_a_queue() {
        let mut paused = facts(vec![]);
        paused.pauses = vec![pause("mailers"), pause("billing")];
        assert_eq!(
            why("", in_queue(399), &paused),
            "Charge j1 waits in queue billing: the queue is paused on all nodes since \
             2026-11-29T12:00:00Z by ada: the bank is closed; no live process runs queue billing; \
             399 jobs are before it"
        );
        paused.pauses[1] = Pause {
            since: None,
            by: None,
            reason: None,
            ..pause("billing")
        };
        paused.runners = healthy().runners;
        assert_eq!(
            why("", in_queue(0), &paused),
            "Charge j1 waits in queue billing: the queue is paused on all nodes; it is the next \
             job of its queue"
        );
    }

    #[test]
    fn a_job_in_a_set_waits_for_its_time() {
        let schedule = |second| in_set(JobSet::Schedule, second);
        let retry = |second| in_set(JobSet::Retry, second);
        for (more, spot, facts, expected) in [
            (
                "",
                schedule(140),
                healthy(),
                "waits in the schedule set: it is due in 40s",
            ),
            (
                "",
                schedule(90),
                healthy(),
                "waits in the schedule set: it was due 10s ago, and is not in its queue yet",
            ),
            (
                "",
                schedule(100),
                facts(vec![]),
                "waits in the schedule set: no live process moves due jobs; it was due 0s ago, and \
                 is not in its queue yet; no live process runs queue billing",
            ),
            (
                FAILED,
                retry(140),
                healthy(),
                "waits in the retry set: retry 3 is due in 40s, after BankClosed: closed\\non Sunday",
            ),
            (
                "",
                retry(140),
                healthy(),
                "waits in the retry set: retry 1 is due in 40s",
            ),
            (
                FAILED,
                in_set(JobSet::Dead, 40),
                facts(vec![]),
                "is in the dead set: it died 2026-11-29T12:00:40Z after 3 failures: BankClosed: closed\\non Sunday",
            ),
            (
                "",
                in_set(JobSet::Dead, 40),
                healthy(),
                "is in the dead set: it died 2026-11-29T12:00:40Z",
            ),
        ] {
            assert_eq!(why(more, spot, &facts), format!("Charge j1 {expected}"));
        }
    }

    #[test]
    fn what_stops_its_queue_comes_after_the_time_that_a_job_waits_for() {
        let mut paused = healthy();
        paused.pauses = vec![pause("billing")];
        let job = job(FAILED);
        let spot = in_set(JobSet::Retry, 140);
        let reasons = explain(&Sighting { job, spot }, &paused).reasons;
        let [Reason::Retry { number: 3, .. }, Reason::Paused(_)] = &reasons[..] else {
            panic!("{reasons:?}");
        };
    }

    #[test]
    fn a_job_that_a_node_holds_runs_or_runs_next_or_comes_back() {
        let holder = |alive, reported| Facts {
            holder: Some(Holder {
                alive,
                process: Some("web:1:0123456789ab".into()),
                reported,
                since: Some(at(60)),
            }),
            ..healthy()
        };
        let alive = holder(true, Some(at(95)));
        for (prefetched, facts, expected) in [
            (
                false,
                &alive,
                "it runs there since 2026-11-29T12:01:00Z, in process web:1:0123456789ab",
            ),
            (
                true,
                &alive,
                "the node has fetched it, and starts it when another job ends",
            ),
            (
                false,
                &holder(false, Some(at(52))),
                "the node was silent for 48s: other nodes put its jobs back once it stays away",
            ),
            (
                true,
                &holder(false, None),
                "the node has no heartbeat: other nodes put its jobs back once it stays away",
            ),
            (
                false,
                &holder(false, Some(at(300))),
                "the node was silent for 0s: other nodes put its jobs back once it stays away",
            ),
            (
                false,
                &healthy(),
                "the node has no heartbeat: other nodes put its jobs back once it stays away",
            ),
        ] {
            let expected = format!("Charge j1 is held by node web.1.0123456789ab: {expected}");
            assert_eq!(why("", on_node(prefetched), facts), expected);
        }
    }

    #[test]
    fn a_job_that_ruby_runs_is_reported_by_its_process() {
        let spot = |since| Spot::Reported {
            process: "vm:1:0f".into(),
            queue: Some(queue("billing")),
            since,
        };
        let shown = "Charge j1 runs in process vm:1:0f";
        assert_eq!(
            why("", spot(Some(at(60))), &healthy()),
            format!("{shown}: it runs there since 2026-11-29T12:01:00Z, in process vm:1:0f")
        );
        assert_eq!(
            why("", spot(None), &healthy()),
            format!("{shown}: it runs there, in process vm:1:0f")
        );
    }

    #[test]
    fn no_argument_is_shown_and_no_line_is_broken() {
        for spot in [in_queue(0), in_set(JobSet::Retry, 140), on_node(false)] {
            let long = format!(
                r#","failed_at":1,"error_message":"{}""#,
                "x\\n".repeat(5_000)
            );
            let shown = why(&long, spot, &healthy());
            assert!(!shown.contains("4111") && !shown.contains('\n'), "{shown}");
            assert!(shown.chars().count() < 1_000, "{shown}");
        }
    }
}
