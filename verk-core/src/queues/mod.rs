//! The queues of this node: what is wanted of them, and which managers run for them. In one place, so that no two managers
//! ever work on one `inprogress` list.

pub(crate) mod blocked;
pub(crate) mod pauses;
pub(crate) mod running;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use slab::Slab;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    error::StorageError,
    health::{Reason, failing},
    job::Job,
    log,
    names::{Jid, NodeId, QueueName},
    queues::running::Running,
    storage::Inprogress,
    time::clock::unix_seconds,
};

/// A queue of this node: see [`Verk::queues`](crate::Verk::queues).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Its name.
    pub name: QueueName,
    /// How many of its jobs may run at once.
    pub concurrency: usize,
    /// How many do.
    pub running: usize,
    /// What the node does with it.
    pub status: Status,
    /// Whether it is paused for all nodes: then it runs once [`resume_queue_everywhere`](crate::Verk::resume_queue_everywhere)
    /// was called, and it is not paused on this node as well.
    pub paused_everywhere: bool,
}

/// What a node does with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// Jobs run.
    Running,
    /// No job runs; the next one will.
    Idle,
    /// It is paused, and jobs that began before still run.
    Pausing,
    /// It is paused, and no job runs.
    Paused,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
        })
    }
}

/// A job that runs on this node: see [`Verk::running_jobs`](crate::Verk::running_jobs).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunningJob {
    /// Its class.
    pub class: String,
    /// Its id.
    pub jid: Jid,
    /// The queue that it was fetched from.
    pub queue: QueueName,
    /// When the run began.
    pub started_at: SystemTime,
}

/// A job that runs, as the managers know it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) job: Arc<Job>,
    pub(crate) queue: QueueName,
    pub(crate) started_at: SystemTime,
}

/// What is wanted of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) concurrency: usize,
    /// Whether it is paused, here or for all nodes.
    pub(crate) paused: bool,
    /// How often it was paused or resumed, here or for all nodes. Each time is told, even if the manager sees only the last.
    pub(crate) changes: u64,
}

impl Wanted {
    fn new(concurrency: usize) -> Self {
        Self {
            concurrency,
            paused: false,
            changes: 0,
        }
    }
}

/// The queues of one Verk.
#[derive(Debug)]
pub(crate) struct Queues(watch::Sender<State>);

/// What is wanted, and what is there. Whoever subscribes is woken by a change of what is wanted.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// By queue, with the pauses of this node only.
    wanted: BTreeMap<QueueName, Wanted>,
    /// The queues that are paused for all nodes, this node's and others.
    paused_everywhere: BTreeSet<QueueName>,
    managers: Vec<Arc<Seat>>,
    /// Whether nothing is fetched any more, whatever is wanted of each queue.
    quiet: bool,
}

/// The place of one manager. While it is taken, no other manager works on the same list.
#[derive(Debug)]
pub(crate) struct Seat {
    inprogress: Inprogress,
    /// Cancelled when the queue is removed.
    removed: CancellationToken,
    /// Cancelled when the manager has ended.
    ended: CancellationToken,
    board: Mutex<Board>,
}

/// What a manager shows of itself, and the jobs that it runs.
#[derive(Debug, Default)]
struct Board {
    /// The jobs that run, each in the place that its start told.
    running: Slab<Running>,
    paused: bool,
    /// How the last fetch went; `None` before the first connection.
    connected: Option<Result<(), String>>,
}

impl Queues {
    pub(crate) fn new(queues: &BTreeMap<QueueName, usize>) -> Self {
        let wanted = queues
            .iter()
            .map(|(name, concurrency)| (name.clone(), Wanted::new(*concurrency)))
            .collect();
        Self(watch::Sender::new(State {
            wanted,
            ..State::default()
        }))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    pub(crate) fn names(&self) -> Vec<QueueName> {
        self.0.borrow().wanted.keys().cloned().collect()
    }

    /// Wants a queue, if it is not wanted yet.
    pub(crate) fn add(&self, name: QueueName, concurrency: usize) {
        self.0.send_if_modified(|state| {
            let before = state.wanted.len();
            let wanted = &mut state.wanted;
            wanted.entry(name).or_insert(Wanted::new(concurrency));
            wanted.len() > before
        });
    }

    /// Wants a queue no more, and tells its managers to end. Returns what is cancelled as each of them has ended, or `None`
    /// when the node knows of no such queue.
    pub(crate) fn remove(&self, name: &QueueName) -> Option<Vec<CancellationToken>> {
        let mut ends = Vec::new();
        let known = self.0.send_if_modified(|state| {
            for manager in state.managers_of(name) {
                manager.removed.cancel();
                ends.push(manager.ended.clone());
            }
            state.wanted.remove(name).is_some()
        });
        (known || !ends.is_empty()).then_some(ends)
    }

    /// Pauses or resumes a queue on this node. Returns whether that changes anything, or `None` when the queue is not wanted.
    pub(crate) fn set_paused(&self, name: &QueueName, paused: bool) -> Option<bool> {
        self.change(name, |wanted| {
            let changed = wanted.paused != paused;
            wanted.paused = paused;
            wanted.changes += u64::from(changed);
        })
    }

    /// Pauses all queues, those that are added later too, until the process ends. Returns whether that changes anything.
    pub(crate) fn quiet(&self) -> bool {
        self.0.send_if_modified(|state| {
            let changed = !std::mem::replace(&mut state.quiet, true);
            for wanted in state.wanted.values_mut() {
                wanted.changes += u64::from(changed);
            }
            changed
        })
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.0.borrow().quiet
    }

    pub(crate) async fn until_quiet(&self) {
        // An error says that the sender is gone; it is `self`.
        let _ = self.subscribe().wait_for(|state| state.quiet).await;
    }

    /// Takes over which queues are paused for all nodes.
    pub(crate) fn set_paused_everywhere(&self, paused: BTreeSet<QueueName>) {
        self.0.send_if_modified(|state| {
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

    /// Returns whether that changes anything, or `None` when the queue is not wanted.
    pub(crate) fn set_concurrency(&self, name: &QueueName, concurrency: usize) -> Option<bool> {
        self.change(name, |wanted| wanted.concurrency = concurrency)
    }

    fn change(&self, name: &QueueName, change: impl FnOnce(&mut Wanted)) -> Option<bool> {
        let mut changed = None;
        self.0.send_if_modified(|state| {
            changed = state.wanted.get_mut(name).map(|wanted| {
                let before = *wanted;
                change(wanted);
                *wanted != before
            });
            changed == Some(true)
        });
        changed
    }

    /// Takes a seat for each queue that is wanted and that no manager of this node id works on.
    pub(crate) fn take_seats(self: &Arc<Self>, node: &NodeId) -> Vec<Taken> {
        let mut seats = Vec::new();
        self.0.send_if_modified(|state| {
            for queue in state.free(node) {
                let seat = Arc::new(Seat {
                    inprogress: Inprogress {
                        queue,
                        node: node.clone(),
                    },
                    removed: CancellationToken::new(),
                    ended: CancellationToken::new(),
                    board: Mutex::default(),
                });
                state.managers.push(Arc::clone(&seat));
                seats.push(Taken {
                    seat,
                    queues: Arc::clone(self),
                });
            }
            // Nothing changed of what is wanted.
            false
        });
        seats
    }

    pub(crate) fn statuses(&self) -> Vec<QueueStatus> {
        let state = self.0.borrow();
        let status = |(name, wanted): (&QueueName, &Wanted)| {
            let (mut running, mut quiet) = (0, true);
            for manager in state.managers_of(name) {
                let board = manager.board();
                running += board.running.len();
                quiet &= board.paused;
            }
            QueueStatus {
                name: name.clone(),
                concurrency: wanted.concurrency,
                running,
                status: status(state.is_paused(name, wanted), running, quiet),
                paused_everywhere: state.paused_everywhere.contains(name),
            }
        };
        state.wanted.iter().map(status).collect()
    }

    /// Why queues that are wanted do not run.
    pub(crate) fn reasons(&self) -> Vec<Reason> {
        let state = self.0.borrow();
        let is_open = |(name, wanted): &(&QueueName, &Wanted)| !state.is_paused(name, wanted);
        if !state.wanted.is_empty() && !state.wanted.iter().any(|queue| is_open(&queue)) {
            return vec![Reason::Quiet];
        }
        let mut reasons = Vec::new();
        for (name, _) in state.wanted.iter().filter(is_open) {
            // The last one is that of the node id that fetches.
            let manager = state.managers_of(name).last();
            match manager.and_then(|manager| manager.board().connected.clone()) {
                None => reasons.push(Reason::Connecting {
                    queue: name.clone(),
                }),
                Some(Err(error)) => reasons.push(failing(&format!("queue {name}"), error)),
                Some(Ok(())) => {}
            }
        }
        reasons
    }

    pub(crate) fn running_jobs(&self) -> Vec<RunningJob> {
        let public = |Run {
                          job,
                          queue,
                          started_at,
                      }: Run| RunningJob {
            class: job.class().to_owned(),
            jid: job.jid().clone(),
            queue,
            started_at,
        };
        self.runs().into_iter().map(public).collect()
    }

    /// Logs what runs now, as Sidekiq logs its threads.
    pub(crate) fn log_running_jobs(&self) {
        let runs = self.runs();
        log::info!(count = runs.len(), "running jobs");
        for Run {
            job,
            queue,
            started_at,
        } in runs
        {
            let started_at = unix_seconds(started_at);
            log::info!(class = job.class(), jid = %job.jid(), %queue, started_at, "runs");
        }
    }

    /// What keeps its thread since the last look, and was not found by an earlier one.
    pub(crate) fn blocked(&self) -> Vec<Run> {
        let state = self.0.borrow();
        let managers = state.managers.iter();
        managers.flat_map(|manager| manager.blocked()).collect()
    }

    /// What runs now, the oldest run first.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let state = self.0.borrow();
        let mut runs = Vec::new();
        for manager in &state.managers {
            runs.extend(manager.running(|running| manager.run(running)));
        }
        runs.sort_by_key(|run| run.started_at);
        runs
    }
}

impl State {
    pub(crate) fn wanted(&self, queue: &QueueName) -> Option<Wanted> {
        let wanted = *self.wanted.get(queue)?;
        Some(Wanted {
            paused: self.is_paused(queue, &wanted),
            ..wanted
        })
    }

    /// Whether nothing is to be fetched from a queue, for whatever reason.
    fn is_paused(&self, queue: &QueueName, wanted: &Wanted) -> bool {
        wanted.paused || self.quiet || self.paused_everywhere.contains(queue)
    }

    fn managers_of(&self, queue: &QueueName) -> impl Iterator<Item = &Arc<Seat>> {
        self.managers
            .iter()
            .filter(move |manager| manager.inprogress.queue == *queue)
    }

    /// The queues that are wanted and that no manager of this node id works on.
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

impl Seat {
    pub(crate) fn inprogress(&self) -> &Inprogress {
        &self.inprogress
    }

    /// Waits until the queue is removed.
    pub(crate) async fn removed(&self) {
        self.removed.cancelled().await;
    }

    /// A job starts. Returns the place that it has until it is finished.
    pub(crate) fn started(&self, running: Running) -> usize {
        self.board().running.insert(running)
    }

    pub(crate) fn finished(&self, place: usize) -> Option<Running> {
        self.board().running.try_remove(place)
    }

    /// How many jobs run.
    pub(crate) fn count(&self) -> usize {
        self.board().running.len()
    }

    /// Something of each job that runs, in the order in which they started.
    pub(crate) fn running<T>(&self, of: impl Fn(&Running) -> T) -> Vec<T> {
        let board = self.board();
        let mut running: Vec<&Running> = board.running.iter().map(|(_, running)| running).collect();
        running.sort_by_key(|running| running.number);
        running.into_iter().map(of).collect()
    }

    fn run(&self, running: &Running) -> Run {
        Run {
            job: Arc::clone(running.job()),
            queue: self.inprogress.queue.clone(),
            started_at: running.started_at,
        }
    }

    fn blocked(&self) -> Vec<Run> {
        let mut board = self.board();
        let all = board.running.iter_mut();
        let blocked =
            all.filter_map(|(_, running)| running.keeps_its_thread().then_some(&*running));
        blocked.map(|running| self.run(running)).collect()
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.board().paused = paused;
    }

    /// The storage answered.
    pub(crate) fn set_connected(&self) {
        self.board().connected = Some(Ok(()));
    }

    /// The storage did not answer, or refused.
    pub(crate) fn set_failing(&self, error: &StorageError) {
        self.board().connected = Some(Err(error.to_string()));
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat that is given back when this is dropped: its manager has ended.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) seat: Arc<Seat>,
    queues: Arc<Queues>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.queues.0.send_if_modified(|state| {
            state
                .managers
                .retain(|manager| !Arc::ptr_eq(manager, &self.seat));
            false
        });
        self.seat.ended.cancel();
    }
}

fn status(paused: bool, running: usize, quiet: bool) -> Status {
    match (paused, running) {
        (false, 0) => Status::Idle,
        (false, _) => Status::Running,
        (true, 0) if quiet => Status::Paused,
        (true, _) => Status::Pausing,
    }
}

/// What the events last told of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Running,
    Pausing,
    Paused,
}

/// What is told next of a queue, if anything. `last` goes with the count of changes at that time.
///
/// After each change all is told anew: who pauses waits for `QueuePaused`, and not in vain if the queue was paused,
/// resumed and paused before its manager looked.
pub(crate) fn tell(
    last: Option<(u64, Told)>,
    changes: u64,
    open: bool,
    done: bool,
) -> Option<Told> {
    let last = last.and_then(|(of, told)| (of == changes).then_some(told));
    match (open, last) {
        (true, Some(Told::Running)) => None,
        (true, _) => Some(Told::Running),
        (false, None | Some(Told::Running)) => Some(Told::Pausing),
        (false, Some(Told::Pausing)) if done => Some(Told::Paused),
        (false, Some(Told::Pausing | Told::Paused)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut taken = queues.take_seats(&node);
        assert_eq!(taken.len(), 2);
        assert_eq!(queues.take_seats(&node).len(), 0);

        let ends = queues.remove(&name("a")).unwrap();
        queues.add(name("a"), 7);
        assert_eq!(queues.take_seats(&node).len(), 0, "the old one drains");
        assert!(!ends[0].is_cancelled());
        assert_eq!(taken[0].seat.inprogress().queue, name("a"));
        drop(taken.remove(0));
        assert!(ends[0].is_cancelled());
        let again = queues.take_seats(&node);
        assert_eq!(again[0].seat.inprogress().queue, name("a"));
    }

    #[test]
    fn another_node_id_is_another_list() {
        let queues = queues();
        let first = queues.take_seats(&node());
        assert_eq!(queues.take_seats(&node()).len(), first.len());
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let queues = queues();
        assert_eq!(queues.set_paused(&name("c"), true), None);
        assert_eq!(queues.set_concurrency(&name("c"), 1), None);
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
        queues.add(name("c"), 1);
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
            let wanted = queues.0.borrow().wanted(&name(queue)).unwrap();
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
        queues.add(name("new"), 1);
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
        assert_eq!(status(false, 0, false), Status::Idle);
        assert_eq!(status(false, 1, false), Status::Running);
        assert_eq!(status(true, 1, false), Status::Pausing);
        assert_eq!(
            status(true, 0, false),
            Status::Pausing,
            "a fetch is in flight"
        );
        assert_eq!(status(true, 0, true), Status::Paused);
    }

    #[test]
    fn each_change_is_told() {
        use Told::{Paused, Pausing, Running};
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
            assert_eq!(tell(last, changes, open, done), next, "{last:?} {changes}");
        }
    }
}
