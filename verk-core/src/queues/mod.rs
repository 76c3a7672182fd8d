//! The queues of this node: their settings, and the managers that run for them. They are in one
//! place, so that no two managers ever work on one `inprogress` list.

pub(crate) mod all;
pub(crate) mod blocked;
pub(crate) mod handle;
pub(crate) mod pauses;
pub(crate) mod row;
pub(crate) mod run;
pub(crate) mod shares;
pub(crate) mod status;
pub(crate) mod strays;

pub use self::status::{QueueStatus, RunningJob, Status};

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    health::{Reason, failing},
    names::{NodeId, QueueName},
    queues::{
        handle::{ManagerGuard, ManagerHandle},
        row::Rows,
        status::{QueueFigures, RunSnapshot},
    },
    storage::Inprogress,
};

/// How a queue is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueSettings {
    pub(crate) concurrency: usize,
    /// Whether it is paused, here or for all nodes.
    pub(crate) paused: bool,
    /// How often it was paused or resumed, here or for all nodes. Each time is published, even if
    /// the manager sees only the last.
    pub(crate) changes: u64,
}

impl QueueSettings {
    fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            paused: false,
            changes: 0,
        }
    }
}

/// The queues of one Verk that lie in one cell.
#[derive(Debug)]
pub(crate) struct Queues {
    state: watch::Sender<State>,
    rows: Arc<Rows>,
}

/// The queues to run, and their managers. A change of the queues to run wakes subscribers.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By queue, with only the pauses of this node.
    wanted: BTreeMap<QueueName, QueueSettings>,
    /// The queues that are paused for all nodes, this node's and others.
    paused_everywhere: BTreeSet<QueueName>,
    managers: Vec<Arc<ManagerHandle>>,
    /// Whether nothing is fetched any more, whatever the settings of each queue are.
    quiet: bool,
}

impl Queues {
    pub(crate) fn new(queues: &BTreeMap<QueueName, usize>) -> Self {
        let wanted = queues
            .iter()
            .map(|(name, concurrency)| (name.clone(), QueueSettings::new(*concurrency)))
            .collect();
        Self {
            state: watch::Sender::new(State {
                wanted,
                ..State::default()
            }),
            rows: Arc::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn names(&self) -> Vec<QueueName> {
        self.state.borrow().wanted.keys().cloned().collect()
    }

    /// Removes a queue, and stops its managers. Returns tokens that are cancelled when each of them
    /// has ended, or `None` if the node does not know the queue.
    pub(crate) fn remove(&self, name: &QueueName) -> Option<Vec<CancellationToken>> {
        let mut ends = Vec::new();
        let known = self.state.send_if_modified(|state| {
            for manager in state.managers_of(name) {
                manager.removed.cancel();
                ends.push(manager.ended.clone());
            }
            state.wanted.remove(name).is_some()
        });
        (known || !ends.is_empty()).then_some(ends)
    }

    /// Pauses or resumes a queue on this node. Returns whether that changes anything, or `None` if
    /// the node does not run the queue.
    pub(crate) fn set_paused(&self, name: &QueueName, paused: bool) -> Option<bool> {
        let mut changed = None;
        self.state.send_if_modified(|state| {
            changed = state.wanted.get_mut(name).map(|wanted| {
                let changed = wanted.paused != paused;
                wanted.paused = paused;
                wanted.changes += u64::from(changed);
                changed
            });
            changed == Some(true)
        });
        changed
    }

    /// Pauses all queues, those that are added later too, until the process ends. Returns whether
    /// that changes anything.
    pub(crate) fn quiet(&self) -> bool {
        self.state.send_if_modified(|state| {
            let changed = !std::mem::replace(&mut state.quiet, true);
            for wanted in state.wanted.values_mut() {
                wanted.changes += u64::from(changed);
            }
            changed
        })
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.state.borrow().quiet
    }

    pub(crate) async fn until_quiet(&self) {
        // An error means that the sender was dropped; it is `self`.
        let _ = self.subscribe().wait_for(|state| state.quiet).await;
    }

    /// Sets which queues are paused for all nodes.
    pub(crate) fn set_paused_everywhere(&self, paused: BTreeSet<QueueName>) {
        self.state.send_if_modified(|state| {
            for changed in state.paused_everywhere.symmetric_difference(&paused) {
                if let Some(wanted) = state.wanted.get_mut(changed) {
                    wanted.changes += 1;
                }
            }
            let changed = state.paused_everywhere != paused;
            state.paused_everywhere = paused;
            changed
        });
    }

    /// Runs a queue that may run in other cells too: so many of its jobs at once here. `paused`
    /// counts if it was not run here before.
    pub(crate) fn set_share(&self, name: &QueueName, share: usize, paused: bool) {
        self.state.send_if_modified(|state| {
            let settings = state.wanted.entry(name.clone());
            let is_new = matches!(settings, Entry::Vacant(_));
            let settings = settings.or_insert(QueueSettings {
                paused,
                ..QueueSettings::new(share)
            });
            let changes = is_new || settings.concurrency != share;
            settings.concurrency = share;
            changes
        });
    }

    /// How many jobs of a queue run at most, also by a manager that has not seen the last change.
    pub(crate) fn in_use(&self, name: &QueueName) -> usize {
        let state = self.state.borrow();
        let most = |manager: &Arc<ManagerHandle>| {
            let shown = manager.state();
            shown.limit.max(shown.running.len())
        };
        let of_managers: usize = state.managers_of(name).map(most).sum();
        let wanted = state.wanted.get(name);
        of_managers.max(wanted.map_or(0, |wanted| wanted.concurrency))
    }

    pub(crate) fn has(&self, name: &QueueName) -> bool {
        self.state.borrow().wanted.contains_key(name)
    }

    pub(crate) fn is_paused_here(&self, name: &QueueName) -> bool {
        let state = self.state.borrow();
        state.wanted.get(name).is_some_and(|wanted| wanted.paused)
    }

    /// Registers a manager for each queue to run that no manager of this node id works on.
    pub(crate) fn register_managers(self: &Arc<Self>, node: &NodeId) -> Vec<ManagerGuard> {
        let mut guards = Vec::new();
        self.state.send_if_modified(|state| {
            for queue in state.free(node) {
                let handle = Arc::new(ManagerHandle {
                    inprogress: Inprogress {
                        queue,
                        node: node.clone(),
                    },
                    removed: CancellationToken::new(),
                    ended: CancellationToken::new(),
                    state: Mutex::default(),
                    rows: Arc::clone(&self.rows),
                });
                state.managers.push(Arc::clone(&handle));
                guards.push(ManagerGuard {
                    handle,
                    queues: Arc::clone(self),
                });
            }
            // Nothing changed of what is wanted.
            false
        });
        guards
    }

    pub(crate) fn figures(&self) -> BTreeMap<QueueName, QueueFigures> {
        let state = self.state.borrow();
        let figures = |(name, wanted): (&QueueName, &QueueSettings)| {
            let mut figures = QueueFigures {
                running: 0,
                is_paused: state.is_paused(name, wanted),
                is_done: true,
                paused_everywhere: state.paused_everywhere.contains(name),
            };
            for manager in state.managers_of(name) {
                let shown = manager.state();
                figures.running += shown.running.len();
                figures.is_done &= shown.paused;
            }
            (name.clone(), figures)
        };
        state.wanted.iter().map(figures).collect()
    }

    /// Why queues that should run do not.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let state = self.state.borrow();
        let is_open =
            |(name, wanted): &(&QueueName, &QueueSettings)| !state.is_paused(name, wanted);
        if !state.wanted.is_empty() && !state.wanted.iter().any(|queue| is_open(&queue)) {
            return vec![Reason::Quiet];
        }
        let mut reasons = Vec::new();
        for (name, _) in state.wanted.iter().filter(is_open) {
            // The last one is that of the node id that fetches.
            let manager = state.managers_of(name).last();
            match manager.and_then(|manager| manager.state().connected.clone()) {
                None => reasons.push(Reason::Connecting {
                    queue: name.clone(),
                }),
                Some(Err(error)) => reasons.push(failing(&format!("queue {name}"), error)),
                Some(Ok(())) => {}
            }
        }
        reasons
    }

    /// The runs that keep their thread since the last check, and were not reported earlier.
    pub(crate) fn blocked(&self) -> Vec<RunSnapshot> {
        let state = self.state.borrow();
        let managers = state.managers.iter();
        managers.flat_map(|manager| manager.blocked()).collect()
    }

    /// Parts the rows of short runs that one of their runs blocks since the last call.
    fn part_rows_blocked(&self) {
        let managers = self.state.borrow().managers.clone();
        for manager in managers {
            manager.part_row_blocked();
        }
    }

    /// What runs now.
    pub(crate) fn runs(&self) -> Vec<RunSnapshot> {
        let state = self.state.borrow();
        let mut runs = Vec::new();
        for manager in &state.managers {
            runs.extend(manager.running(|running| manager.snapshot(running)));
        }
        runs
    }
}

impl State {
    pub(crate) fn wanted(&self, queue: &QueueName) -> Option<QueueSettings> {
        let wanted = *self.wanted.get(queue)?;
        Some(QueueSettings {
            paused: self.is_paused(queue, &wanted),
            ..wanted
        })
    }

    /// Whether nothing is to be fetched from a queue, for any reason.
    fn is_paused(&self, queue: &QueueName, wanted: &QueueSettings) -> bool {
        wanted.paused || self.quiet || self.paused_everywhere.contains(queue)
    }

    fn managers_of(&self, queue: &QueueName) -> impl Iterator<Item = &Arc<ManagerHandle>> {
        self.managers
            .iter()
            .filter(move |manager| manager.inprogress.queue == *queue)
    }

    /// The queues to run that no manager of this node id works on.
    fn free(&self, node: &NodeId) -> Vec<QueueName> {
        let taken: BTreeSet<_> = self
            .managers
            .iter()
            .filter(|manager| manager.inprogress.node == *node)
            .map(|manager| &manager.inprogress.queue)
            .collect();
        let free = self.wanted.keys().filter(|queue| !taken.contains(queue));
        free.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::status::{QueueEvent, Status, next_event};

    fn name(name: &str) -> QueueName {
        QueueName::new(name).unwrap()
    }

    fn queues() -> Arc<Queues> {
        Arc::new(Queues::new(&BTreeMap::from([
            (name("a"), 1),
            (name("b"), 2),
        ])))
    }

    fn node() -> NodeId {
        NodeId::register("here").unwrap()
    }

    #[test]
    fn a_list_has_one_manager() {
        let (queues, node) = (queues(), node());
        let mut guards = queues.register_managers(&node);
        assert_eq!(guards.len(), 2);
        assert_eq!(queues.register_managers(&node).len(), 0);

        let ends = queues.remove(&name("a")).unwrap();
        queues.set_share(&name("a"), 7, false);
        assert_eq!(
            queues.register_managers(&node).len(),
            0,
            "the old one drains"
        );
        assert!(!ends[0].is_cancelled());
        assert_eq!(guards[0].handle.inprogress().queue, name("a"));
        drop(guards.remove(0));
        assert!(ends[0].is_cancelled());
        let again = queues.register_managers(&node);
        assert_eq!(again[0].handle.inprogress().queue, name("a"));
    }

    #[test]
    fn another_node_id_is_another_list() {
        let queues = queues();
        let first = queues.register_managers(&node());
        assert_eq!(queues.register_managers(&node()).len(), first.len());
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let queues = queues();
        assert_eq!(queues.set_paused(&name("c"), true), None);
        assert!(queues.remove(&name("c")).is_none());
        assert_eq!(queues.set_paused(&name("a"), true), Some(true));
        assert_eq!(queues.set_paused(&name("a"), true), Some(false));
    }

    #[test]
    fn quiet_pauses_all_and_stays() {
        let queues = queues();
        queues.set_paused(&name("a"), true);
        assert!(queues.quiet());
        assert!(!queues.quiet(), "it was before");
        queues.set_share(&name("c"), 1, false);
        queues.set_paused(&name("a"), false);
        let state = queues.subscribe();
        for (queue, changes) in [("a", 3), ("b", 1), ("c", 0)] {
            let wanted = state.borrow().wanted(&name(queue)).unwrap();
            assert_eq!((wanted.paused, wanted.changes), (true, changes), "{queue}");
        }
    }

    #[test]
    fn a_queue_is_open_when_neither_pause_holds() {
        let queues = queues();
        let wanted = |queue: &str| {
            let wanted = queues.state.borrow().wanted(&name(queue)).unwrap();
            (wanted.paused, wanted.changes)
        };
        let everywhere =
            |names: &[&str]| queues.set_paused_everywhere(names.iter().map(|n| name(n)).collect());
        everywhere(&["a", "new"]);
        assert_eq!((wanted("a"), wanted("b")), ((true, 1), (false, 0)));
        queues.set_paused(&name("a"), true);
        everywhere(&["new"]);
        assert_eq!(wanted("a"), (true, 3), "still paused here");
        queues.set_paused(&name("a"), false);
        assert_eq!(wanted("a"), (false, 4));
        queues.set_share(&name("new"), 1, false);
        assert!(wanted("new").0, "it was paused before it was added");

        let mut watching = queues.subscribe();
        everywhere(&["new"]);
        assert!(!watching.has_changed().unwrap());
        everywhere(&[]);
        assert!(watching.borrow_and_update().wanted(&name("new")).is_some());
        assert!(!wanted("new").0);
        everywhere(&["a", "b", "new"]);
        assert_eq!(queues.reasons(), [Reason::Quiet]);
        everywhere(&["a", "b"]);
        let connecting = Reason::Connecting { queue: name("new") };
        assert_eq!(queues.reasons(), [connecting]);
    }

    #[test]
    fn the_four_statuses() {
        let status = |is_paused, running, is_done| {
            let figures = QueueFigures {
                running,
                is_paused,
                is_done,
                paused_everywhere: false,
            };
            figures.status()
        };
        assert_eq!(status(false, 0, false), Status::Idle);
        assert_eq!(status(false, 1, false), Status::Running);
        assert_eq!(status(true, 1, false), Status::Pausing);
        let fetches = Status::Pausing;
        assert_eq!(status(true, 0, false), fetches, "a fetch is in flight");
        assert_eq!(status(true, 0, true), Status::Paused);
    }

    #[test]
    fn each_change_is_told() {
        use QueueEvent::{Paused, Pausing, Running};
        // last, changes, open, done, next
        let cases = [
            (None, 0, true, true, Some(Running)),
            (None, 0, false, true, Some(Pausing)),
            (Some((0, Running)), 0, true, false, None),
            (Some((0, Running)), 0, false, true, Some(Pausing)),
            (Some((1, Pausing)), 1, false, false, None),
            (Some((1, Pausing)), 1, false, true, Some(Paused)),
            (Some((1, Paused)), 1, false, true, None),
            (Some((1, Paused)), 2, true, true, Some(Running)),
            // Resumed and paused again before anybody looked.
            (Some((1, Paused)), 3, false, true, Some(Pausing)),
            (Some((0, Running)), 2, true, true, Some(Running)),
        ];
        for (last, changes, open, done, next) in cases {
            assert_eq!(
                next_event(last, changes, open, done),
                next,
                "{last:?} {changes}"
            );
        }
    }
}
