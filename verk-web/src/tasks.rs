//! Actions on many jobs, which take longer than a request: [`Tasks`].

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::watch;
use verk_core::{
    log,
    manage::{Action, Admin, AuditEntry, Filter, Jobs, Progress},
};

use crate::{pages::actions::Verb, place::Place};

/// How many ended tasks are remembered.
const KEPT: usize = 50;

/// The tasks of this process, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    all: Mutex<Vec<Arc<Task>>>,
    last: AtomicU64,
}

/// One action on all jobs of a place that match a filter.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) order: Order,
    pub(crate) started: SystemTime,
    progress: Mutex<Progress>,
    state: watch::Sender<TaskState>,
    stop: watch::Sender<bool>,
}

/// How far a task is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Running,
    /// It reached all jobs.
    Ended(SystemTime),
    /// A visitor stopped it: some jobs are changed.
    Stopped(SystemTime),
    /// The storage failed: some jobs are changed.
    Failed(SystemTime, String),
}

/// Another task works on the same jobs.
#[derive(Debug)]
pub(crate) struct Busy(pub(crate) Arc<Task>);

/// What a task does.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) place: Place,
    pub(crate) verb: Verb,
    pub(crate) action: Action,
    pub(crate) filter: Filter,
    /// The filter for people; empty for all jobs.
    pub(crate) phrase: String,
    pub(crate) by: Option<String>,
    /// How many jobs the place had when it began.
    pub(crate) total: u64,
}

impl Tasks {
    /// Starts a task, unless one works on the same place.
    pub(crate) fn start(&self, admin: &Admin, jobs: Jobs, order: Order) -> Result<Arc<Task>, Busy> {
        let task = Arc::new(Task {
            id: self.last.fetch_add(1, Ordering::Relaxed) + 1,
            order,
            started: admin.now(),
            progress: Mutex::default(),
            state: watch::Sender::new(TaskState::Running),
            stop: watch::Sender::new(false),
        });
        {
            let mut all = self.all.lock();
            let same =
                |other: &&Arc<Task>| other.order.place == task.order.place && other.is_running();
            if let Some(other) = all.iter().find(same) {
                return Err(Busy(Arc::clone(other)));
            }
            all.insert(0, Arc::clone(&task));
            let mut ended = 0;
            all.retain(|task| {
                ended += usize::from(!task.is_running());
                task.is_running() || ended <= KEPT
            });
        }
        tokio::spawn(run(admin.clone(), Arc::clone(&task), jobs));
        Ok(task)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Task>> {
        self.all.lock().clone()
    }

    pub(crate) fn find(&self, id: u64) -> Option<Arc<Task>> {
        self.all.lock().iter().find(|task| task.id == id).cloned()
    }
}

async fn run(admin: Admin, task: Arc<Task>, jobs: Jobs) {
    let order = &task.order;
    let reported = Arc::clone(&task);
    let stop = task.stop.subscribe();
    let selection = jobs
        .select()
        .matching(order.filter.clone())
        .progress(move |progress| *reported.progress.lock() = progress)
        .until(move || *stop.borrow());
    let ended = selection.act(order.action).await;
    let now = admin.now();
    let mut entry = AuditEntry::new(format!("{} ended", order.verb.name()))
        .on(order.place.phrase())
        .filter(task.filter_phrase())
        .count(task.progress().done as u64);
    if let Some(by) = &order.by {
        entry = entry.by(by);
    }
    if let Err(error) = admin.record_action(entry).await {
        log::warn!(%error, "the end of a task could not be recorded");
    }
    task.state.send_replace(match ended {
        Ok(_) if *task.stop.borrow() => TaskState::Stopped(now),
        Ok(_) => TaskState::Ended(now),
        Err(error) => TaskState::Failed(now, error.to_string()),
    });
}

impl Task {
    pub(crate) fn state(&self) -> TaskState {
        self.state.borrow().clone()
    }

    /// The filter for people, also if there is none.
    pub(crate) fn filter_phrase(&self) -> &str {
        match self.order.phrase.as_str() {
            "" => "all jobs",
            phrase => phrase,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        *self.state.borrow() == TaskState::Running
    }

    pub(crate) fn progress(&self) -> Progress {
        *self.progress.lock()
    }

    /// Asks it to stop after the step that it is at.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end, but not for long.
    pub(crate) async fn ends_within(&self, admin: &Admin, patience: Duration) -> bool {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| *state != TaskState::Running);
        admin.clock().timeout(patience, ended).await.is_some()
    }

    /// When it ended.
    pub(crate) fn ended(&self) -> Option<SystemTime> {
        match self.state() {
            TaskState::Running => None,
            TaskState::Ended(at) | TaskState::Stopped(at) | TaskState::Failed(at, _) => Some(at),
        }
    }

    /// How many jobs it changes in a second.
    pub(crate) fn speed(&self, now: SystemTime) -> f64 {
        let end = self.ended().unwrap_or(now);
        let took = end.duration_since(self.started).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let done = self.progress().done as f64;
        done / took.as_secs_f64().max(0.001)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Ended(_) => f.write_str("ended"),
            Self::Stopped(_) => f.write_str("stopped"),
            Self::Failed(_, error) => write!(f, "failed: {error}"),
        }
    }
}
