//! The books: what was stored, what ran, and the outcome of each job.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::SystemTime,
};

use bytes::Bytes;
use verk_core::{
    Jid, Job,
    names::NodeId,
    storage::{
        Inprogress, JobSet, Locked, LockedJob, NodeStore, Page, Settled, Settlement, Source,
        Storage, StoredLock, Target,
    },
};

use crate::{
    plan::{Cell, Plan},
    trouble::Trouble,
    worker::{Errand, Kind},
};

/// What happened to each job, as the storage did it: also where the reply was lost. There is one
/// ledger for all cells.
#[derive(Debug)]
pub(crate) struct Ledger {
    plan: Plan,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    jobs: Vec<Entry>,
    /// Nodes whose jobs may be given to others, since something happened to them.
    in_trouble: BTreeSet<NodeId>,
    /// The numbers of the unique jobs.
    unique: HashMap<Jid, usize>,
    /// The job of each run of a periodic job that some node has tried to take.
    runs: HashMap<(String, Option<SystemTime>), Jid>,
    /// How often each run of a periodic job was enqueued.
    ticks: HashMap<Jid, usize>,
    balance: Balance,
}

/// What happened to one job.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// verk reported that it is stored.
    promised: bool,
    /// How often it was stored: more than once if the producer sent it again.
    stored: u16,
    /// How often it came to a queue, or to a set on its way there: each arrival pays for one start.
    arrivals: u16,
    starts: u16,
    /// Runs that came to their end.
    completed: u16,
    /// How often it was acknowledged.
    acknowledged: u16,
    /// How often it went to the dead set.
    buried: u16,
    /// How often it was discarded for a newer one.
    discarded: u16,
    /// Whether it asked for another time.
    snoozed: bool,
}

/// What it came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Balance {
    /// Jobs that verk reported as stored.
    pub(crate) stored: usize,
    pub(crate) starts: usize,
    /// Outcomes that put a job back: retries, snoozes.
    pub(crate) put_back: usize,
    /// Jobs that nodes handed back.
    pub(crate) handed_back: usize,
    /// Jobs that others put back for a node.
    pub(crate) restored: usize,
    /// Jobs that were buried because processes died of them, or of a neighbour.
    pub(crate) poison: usize,
    /// Outcomes that came too late.
    pub(crate) without_effect: usize,
    /// How many exchanges of one node were on their way at once, at most: it has one queue.
    pub(crate) exchanges_at_once: usize,
    /// Jobs that were not stored, because another one had their lock.
    pub(crate) conflicts: usize,
    /// Jobs that were discarded for a newer one.
    pub(crate) discarded: usize,
    /// Outcomes that were stored in each cell.
    pub(crate) settled: Vec<usize>,
    /// Those of them whose queue lies in another cell.
    pub(crate) strays: usize,
    /// Runs of periodic jobs that were due.
    pub(crate) ticks_due: u64,
    /// How often each trouble struck.
    pub(crate) troubles: BTreeMap<Trouble, usize>,
    /// Virtual seconds.
    pub(crate) seconds: u64,

    /// Stored, neither ended nor there.
    pub(crate) lost: Vec<usize>,
    /// Still there, and where.
    pub(crate) stuck: BTreeMap<usize, String>,
    /// Ended more often than they were stored, or started more often than they arrived.
    pub(crate) unexplained: Vec<usize>,
    /// Acknowledged without a run that came to its end, or in the dead set without a reason.
    pub(crate) wrong_end: Vec<usize>,
    /// Given to others though nothing had happened to their node.
    pub(crate) taken_away: usize,
    /// Starts with which a process ran more jobs of a queue than it may at once.
    pub(crate) too_many_at_once: usize,
    /// Nodes that work and are not registered, counted in each cell.
    pub(crate) nodes_missing: usize,
    /// Nodes that are still registered.
    pub(crate) nodes_left: usize,
    /// Locks that exist though no job is left.
    pub(crate) locks_left: usize,
    /// Locks whose job had ended when all locks were compared with the books.
    pub(crate) blocked_by_nobody: usize,
    /// Locks that two cells had at once.
    pub(crate) locks_twice: usize,
    /// Runs that were due and were not enqueued.
    pub(crate) ticks_missing: u64,
    /// Runs that were enqueued more than once.
    pub(crate) ticks_twice: usize,
    /// Ticks that tried to take a run once more, and gave another id to its job.
    pub(crate) ticks_renamed: usize,
}

impl Balance {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.stuck.is_empty()
            && self.unexplained.is_empty()
            && self.wrong_end.is_empty()
            && self.taken_away == 0
            && self.too_many_at_once == 0
            && self.nodes_missing == 0
            && self.nodes_left == 0
            && self.locks_left == 0
            && self.blocked_by_nobody == 0
            && self.locks_twice == 0
            && self.ticks_missing == 0
            && self.ticks_twice == 0
            && self.ticks_renamed == 0
            && self.exchanges_at_once <= 2
    }
}

impl Ledger {
    pub(crate) fn new(jobs: usize, plan: Plan) -> Self {
        let balance = Balance {
            settled: vec![0; plan.cells()],
            ..Balance::default()
        };
        let books = Mutex::new(Books {
            jobs: vec![Entry::default(); Errand::periodic(jobs).0 + 1],
            unique: HashMap::new(),
            runs: HashMap::new(),
            ticks: HashMap::new(),
            in_trouble: BTreeSet::new(),
            balance,
        });
        Self { plan, books }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no change of the books panics")
    }

    /// verk reported that it is stored.
    pub(crate) fn promised(&self, errand: Errand) {
        self.books().jobs[errand.0].promised = true;
    }

    pub(crate) fn stored<'a>(&self, payloads: impl Iterator<Item = &'a Bytes>) {
        let mut books = self.books();
        for payload in payloads {
            let entry = &mut books.jobs[number_of(payload)];
            entry.stored += 1;
            entry.arrivals += 1;
        }
    }

    /// What the storage did with a unique job.
    pub(crate) fn locked(&self, job: &LockedJob, answer: &Locked) {
        match answer {
            Locked::New | Locked::Replaced { .. } => self.stored(std::iter::once(&job.job)),
            Locked::Duplicate { .. } => self.books().balance.conflicts += 1,
            Locked::Failed(_) => return,
        }
        let mut books = self.books();
        let number = number_of(&job.job);
        books.unique.insert(job.lock.jid.clone(), number);
        if let Locked::Replaced { old } = answer {
            let old = books.unique[old];
            books.discarded(old);
        }
    }

    /// A job was discarded for the newer one that waits for its lock.
    pub(crate) fn superseded(&self, payload: &Bytes) {
        self.books().discarded(number_of(payload));
    }

    /// A node tries to take the run that is due at this time.
    pub(crate) fn tries(&self, entry: &str, due: Option<SystemTime>, job: &Bytes) {
        let job = Job::decode(job.clone()).expect("a job");
        let mut books = self.books();
        let before = books
            .runs
            .insert((entry.to_owned(), due), job.jid().clone());
        let is_other = before.is_some_and(|before| before != *job.jid());
        books.balance.ticks_renamed += usize::from(is_other);
    }

    /// A tick enqueued these jobs.
    pub(crate) fn ticked<'a>(&self, jobs: impl Iterator<Item = &'a Bytes> + Clone) {
        self.stored(jobs.clone());
        let mut books = self.books();
        for job in jobs {
            let job = Job::decode(job.clone()).expect("a job");
            *books.ticks.entry(job.jid().clone()).or_default() += 1;
        }
    }

    /// So many runs of the periodic jobs were due in all.
    pub(crate) fn were_due(&self, ticks: u64) {
        let mut books = self.books();
        let taken = books.ticks.len() as u64;
        let twice = books.ticks.values().filter(|times| **times > 1).count();
        let balance = &mut books.balance;
        balance.ticks_due = ticks;
        balance.ticks_missing = ticks.abs_diff(taken);
        balance.ticks_twice = twice;
    }

    /// Compares the locks of all cells with the books.
    pub(crate) fn compare(&self, locks: &[StoredLock]) {
        let mut books = self.books();
        let has_ended = |lock: &&StoredLock| {
            let entry = books.jobs[books.unique[&lock.jid]];
            entry.ended() >= entry.stored
        };
        let nobodys = locks.iter().filter(has_ended).count();
        let ids: HashSet<_> = locks.iter().map(|lock| lock.id).collect();
        books.balance.blocked_by_nobody += nobodys;
        books.balance.locks_twice += locks.len() - ids.len();
    }

    /// A job with these arguments starts.
    pub(crate) fn started(&self, args: &str) {
        let mut books = self.books();
        books.jobs[number_in(args.as_bytes())].starts += 1;
        books.balance.starts += 1;
    }

    /// A process runs more jobs of a queue than it may.
    pub(crate) fn too_many_at_once(&self) {
        self.books().balance.too_many_at_once += 1;
    }

    pub(crate) fn completed(&self, errand: Errand) {
        self.books().jobs[errand.0].completed += 1;
    }

    /// Whether it asks for another time now: it does once.
    pub(crate) fn snoozes(&self, errand: Errand) -> bool {
        !std::mem::replace(&mut self.books().jobs[errand.0].snoozed, true)
    }

    /// From now on its jobs may be given to others.
    pub(crate) fn in_trouble(&self, nodes: &[NodeId]) {
        self.books().in_trouble.extend(nodes.iter().cloned());
    }

    pub(crate) fn exchanges_at_once(&self, exchanges: usize) {
        let most = &mut self.books().balance.exchanges_at_once;
        *most = exchanges.max(*most);
    }

    pub(crate) fn struck(&self, trouble: Trouble) {
        *self.books().balance.troubles.entry(trouble).or_default() += 1;
    }

    /// What the storage did with the settlements of a node: its own, or those of another that
    /// restores its jobs.
    pub(crate) fn settled(
        &self,
        (cell, list): (usize, &Inprogress),
        restored: bool,
        settlements: &[Settlement],
        answers: &[Settled],
    ) {
        let mut books = self.books();
        let superseded = settlements.iter().zip(answers);
        let superseded = superseded.filter(|(_, answer)| matches!(answer, Settled::Superseded));
        for (settlement, _) in superseded {
            books.discarded(number_of(&settlement.held));
        }
        let Books {
            jobs,
            in_trouble,
            balance,
            ..
        } = &mut *books;
        for (settlement, answer) in settlements.iter().zip(answers) {
            match answer {
                Settled::Done | Settled::Merged => {}
                Settled::Superseded | Settled::Conflict { .. } => continue,
                Settled::NotHeld => {
                    balance.without_effect += usize::from(!restored);
                    continue;
                }
                Settled::Failed(_) => continue,
            }
            let entry = &mut jobs[number_of(&settlement.held)];
            balance.settled[cell] += 1;
            balance.strays += usize::from(self.plan.is_stray(&list.queue, cell));
            if restored {
                balance.restored += 1;
                balance.taken_away += usize::from(!in_trouble.contains(&list.node));
            }
            match &settlement.to {
                Target::Ack => entry.acknowledged += 1,
                Target::Dead { .. } => {
                    entry.buried += 1;
                    balance.poison += usize::from(restored);
                    // That it is poison is reason enough.
                    entry.completed += u16::from(restored);
                }
                Target::Requeue => {
                    entry.arrivals += 1;
                    balance.handed_back += usize::from(!restored);
                }
                Target::Retry(_) | Target::Schedule(_) => {
                    entry.arrivals += 1;
                    balance.put_back += usize::from(!restored);
                }
            }
        }
    }

    /// How many jobs are stored and have not ended.
    pub(crate) fn open(&self) -> usize {
        let books = self.books();
        let open = books
            .jobs
            .iter()
            .filter(|entry| entry.ended() < entry.stored);
        open.count()
    }

    /// How many runs came to an outcome. A job that is handed back again and again has none.
    pub(crate) fn outcomes(&self) -> usize {
        let books = self.books();
        let ended = books.jobs.iter().map(|entry| usize::from(entry.ended()));
        ended.sum::<usize>() + books.balance.put_back
    }

    /// So many nodes work, in each cell.
    pub(crate) async fn nodes_are_there(&self, cells: &[Cell], nodes: usize) {
        for Cell { storage, .. } in cells {
            let there = storage.nodes().await.expect("the nodes");
            let alive = there.iter().filter(|node| node.alive).count();
            self.books().balance.nodes_missing += nodes - alive.min(nodes);
        }
    }

    /// Closes the books.
    pub(crate) async fn balance(&self, cells: &[Cell], seconds: u64) -> Balance {
        let mut stuck = BTreeMap::new();
        let (mut nodes, mut locks) = (0, 0);
        for (cell, Cell { storage, .. }) in cells.iter().enumerate() {
            let storage: &dyn Storage = storage;
            let waiting = waiting(storage).await;
            let waiting = waiting.into_iter();
            stuck.extend(waiting.map(|(job, place)| (job, format!("cell {cell}, {place}"))));
            nodes += storage.nodes().await.expect("the nodes").len();
            locks += storage.locks(ALL).await.expect("the locks").locks.len();
        }
        let mut books = self.books();
        let Books { jobs, balance, .. } = &mut *books;
        balance.seconds = seconds;
        balance.nodes_left = nodes;
        balance.locks_left = locks;
        for (number, entry) in jobs.iter().enumerate() {
            balance.stored += usize::from(entry.promised);
            let kept = entry.stored.max(u16::from(entry.promised));
            if entry.ended() < kept && !stuck.contains_key(&number) {
                balance.lost.push(number);
            }
            if entry.ended() > entry.stored || entry.starts > entry.arrivals {
                balance.unexplained.push(number);
            }
            let dies = matches!(Errand(number).kind(), Kind::Killed | Kind::Hopeless);
            let well_buried = if dies { entry.buried } else { 0 };
            if entry.acknowledged + entry.buried > entry.completed + well_buried {
                balance.wrong_end.push(number);
            }
        }
        balance.stuck = stuck;
        balance.clone()
    }
}

impl Entry {
    /// How often it came to an end.
    fn ended(&self) -> u16 {
        self.acknowledged + self.buried + self.discarded
    }
}

impl Books {
    fn discarded(&mut self, number: usize) {
        self.jobs[number].discarded += 1;
        self.balance.discarded += 1;
    }
}

pub(crate) const ALL: Page = Page {
    offset: 0,
    limit: 1000,
};

/// The jobs that are in any place where they do not stay.
async fn waiting(storage: &dyn Storage) -> BTreeMap<usize, String> {
    let mut waiting = BTreeMap::new();
    let mut add = |place: String, payloads: Vec<Bytes>| {
        waiting.extend(payloads.iter().map(|job| (number_of(job), place.clone())));
    };
    for queue in storage.queues().await.expect("the queues") {
        let jobs = storage
            .list(&Source::Queue(queue.clone()), &ALL.into())
            .await
            .expect("a queue");
        let jobs = jobs.jobs.into_iter().map(|waiting| waiting.job);
        add(format!("queue {queue}"), jobs.collect());
        for node in storage.nodes().await.expect("the nodes") {
            let list = Inprogress {
                queue: queue.clone(),
                node: node.id,
            };
            let jobs = storage.inprogress(&list, ALL).await.expect("a list");
            add(format!("{list:?}"), jobs);
        }
    }
    for set in [JobSet::Schedule, JobSet::Retry] {
        let members = storage.list(&Source::Set(set), &ALL.into()).await;
        for member in members.expect("a set").jobs {
            add(format!("{set:?} at {:?}", member.score), vec![member.job]);
        }
    }
    waiting
}

/// The number of the job: its only argument.
fn number_of(payload: &Bytes) -> usize {
    const ARGS: &[u8] = br#""args":["#;
    let start = payload.windows(ARGS.len()).position(|part| part == ARGS);
    number_in(&payload[start.expect("arguments")..])
}

/// The first number in a text.
fn number_in(text: &[u8]) -> usize {
    let digits = text.iter().skip_while(|byte| !byte.is_ascii_digit());
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
