//! The books: what was stored, what ran, and the outcome of each job.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use verk_core::{
    names::NodeId,
    storage::{Inprogress, JobSet, Page, Settled, Settlement, Source, Storage, Target},
};

use crate::{
    trouble::Trouble,
    worker::{Errand, Kind},
};

/// What happened to each job, as the storage did it: also where the reply was lost.
#[derive(Debug)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug)]
struct Books {
    jobs: Vec<Entry>,
    /// Nodes whose jobs may be given to others, since something happened to them.
    in_trouble: BTreeSet<NodeId>,
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
    /// Nodes that are still registered.
    pub(crate) nodes_left: usize,
}

impl Balance {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost.is_empty()
            && self.stuck.is_empty()
            && self.unexplained.is_empty()
            && self.wrong_end.is_empty()
            && self.taken_away == 0
            && self.nodes_left == 0
            && self.exchanges_at_once <= 2
    }
}

impl Ledger {
    pub(crate) fn new(jobs: usize) -> Self {
        Self(Mutex::new(Books {
            jobs: vec![Entry::default(); jobs],
            in_trouble: BTreeSet::new(),
            balance: Balance::default(),
        }))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().expect("no change of the books panics")
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

    /// A job with these arguments starts.
    pub(crate) fn started(&self, args: &str) {
        let mut books = self.books();
        books.jobs[number_in(args.as_bytes())].starts += 1;
        books.balance.starts += 1;
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
        node: &NodeId,
        restored: bool,
        settlements: &[Settlement],
        answers: &[Settled],
    ) {
        let mut books = self.books();
        let Books {
            jobs,
            in_trouble,
            balance,
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
            if restored {
                balance.restored += 1;
                balance.taken_away += usize::from(!in_trouble.contains(node));
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

    /// Closes the books.
    pub(crate) async fn balance(&self, storage: &dyn Storage, seconds: u64) -> Balance {
        let waiting = waiting(storage).await;
        let nodes = storage.nodes().await.expect("the nodes");
        let mut books = self.books();
        let Books { jobs, balance, .. } = &mut *books;
        balance.seconds = seconds;
        balance.nodes_left = nodes.len();
        for (number, entry) in jobs.iter().enumerate() {
            balance.stored += usize::from(entry.promised);
            let kept = entry.stored.max(u16::from(entry.promised));
            if entry.ended() < kept && !waiting.contains_key(&number) {
                balance.lost.push(number);
            }
            if entry.ended() > entry.stored || entry.starts > entry.arrivals {
                balance.unexplained.push(number);
            }
            let dies = matches!(Errand(number).kind(), Kind::Killed | Kind::Hopeless);
            let well_buried = if dies { entry.buried } else { 0 };
            if entry.ended() > entry.completed + well_buried {
                balance.wrong_end.push(number);
            }
        }
        balance.stuck = waiting;
        balance.clone()
    }
}

impl Entry {
    /// How often it came to an end.
    fn ended(&self) -> u16 {
        self.acknowledged + self.buried
    }
}

/// The jobs that are in any place where they do not stay.
async fn waiting(storage: &dyn Storage) -> BTreeMap<usize, String> {
    let all = Page {
        offset: 0,
        limit: 1000,
    };
    let mut waiting = BTreeMap::new();
    let mut add = |place: String, payloads: Vec<Bytes>| {
        waiting.extend(payloads.iter().map(|job| (number_of(job), place.clone())));
    };
    for queue in storage.queues().await.expect("the queues") {
        let jobs = storage
            .list(&Source::Queue(queue.clone()), &all.into())
            .await
            .expect("a queue");
        let jobs = jobs.jobs.into_iter().map(|waiting| waiting.job);
        add(format!("queue {queue}"), jobs.collect());
        for node in storage.nodes().await.expect("the nodes") {
            let list = Inprogress {
                queue: queue.clone(),
                node: node.id,
            };
            let jobs = storage.inprogress(&list, all).await.expect("a list");
            add(format!("{list:?}"), jobs);
        }
    }
    for set in [JobSet::Schedule, JobSet::Retry] {
        let members = storage.list(&Source::Set(set), &all.into()).await;
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
