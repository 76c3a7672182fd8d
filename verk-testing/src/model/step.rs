//! What a case is made of: [`Step`]s, and how they are drawn.

use proptest::{bool::weighted, collection::vec, option, prelude::*, sample::Index};
use verk_core::storage::{DueSet, JobSet, Order};

use super::{
    timetable::{self, CronAction, ENTRIES, Next, Saw},
    unique::{self, LOCKS, NewUnique, UniqueAction},
};

/// How many nodes there are. Two of them have the same name.
pub(super) const NODES: usize = 3;

/// How many queues there are.
pub(super) const QUEUES: usize = 2;

/// One step: a request to the storage, and a fault.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) trouble: Option<Trouble>,
}

/// The request to the storage. Nodes and queues are numbers.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Enqueue {
        queue: usize,
        jobs: Vec<Payload>,
    },
    /// Each so many seconds from now.
    Schedule {
        jobs: Vec<(Payload, u64)>,
    },
    Dequeue {
        node: usize,
        queue: usize,
        max_jobs: usize,
        max_bytes: usize,
        prefetched: usize,
    },
    Settle {
        node: usize,
        queue: usize,
        jobs: Vec<(Pick, To)>,
    },
    /// Both in one trip.
    Exchange {
        node: usize,
        queue: usize,
        jobs: Vec<(Pick, To)>,
        max_jobs: usize,
        prefetched: usize,
    },
    /// All that the node holds is done.
    SettleAll {
        node: usize,
        queue: usize,
    },
    /// As `Settle`, but by another node: nothing happens while this one lives.
    Restore {
        node: usize,
        queue: usize,
        jobs: Vec<(Pick, To)>,
    },
    Promote {
        set: DueSet,
        jobs: Vec<(Pick, To)>,
    },
    Move {
        from: From,
        jobs: Vec<(Pick, To)>,
    },
    /// Deletes all jobs of a place, one by one.
    MoveAll {
        from: From,
    },
    Clear {
        from: From,
    },
    SetPaused {
        queue: usize,
        paused: bool,
    },
    Register {
        node: usize,
        queues: Vec<usize>,
    },
    Beat {
        node: usize,
    },
    Deregister {
        node: usize,
    },
    /// Its heartbeat expires. It does not know yet, and continues.
    Die {
        node: usize,
    },
    ClaimName {
        node: usize,
    },
    LoseName {
        node: usize,
    },
    CountDeaths {
        node: usize,
        jids: Vec<usize>,
    },
    PollSchedule {
        node: usize,
    },
    TrimDead {
        limits: Limits,
    },
    TimePasses {
        seconds: u64,
    },
    /// Reads all of a place, in small pages.
    Walk {
        from: From,
        order: Order,
        limit: usize,
        max_bytes: usize,
        text: Option<&'static str>,
    },
    Unique(UniqueAction),
    Cron(CronAction),
}

/// A job to store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Payload {
    /// One that nobody has seen.
    New(Shape),
    /// The same bytes as one that was stored before.
    Again(usize),
}

/// What a payload is like, beside its number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Short,
    /// JSON that a decoder would change: numbers that are no `f64`, escapes, a key twice.
    Json,
    /// No text at all.
    Binary,
    /// Tens of kilobytes.
    Long,
}

/// Which job a step is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pick {
    /// One of those that are there.
    There(usize),
    /// Any that was ever stored: it may be somewhere else by now, or nowhere.
    Any(usize),
}

/// Where a job goes, and whether its bytes change on the way. What is no target of a step is
/// another that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct To {
    pub(super) place: Place,
    pub(super) changed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Nowhere,
    /// A settlement knows one queue only, the front of the one that the job came from.
    Queue(usize),
    /// Due in so many seconds.
    Set(DueSet, u64),
    Dead(Limits),
    /// Where it is.
    Same,
}

/// The caps of the dead set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limits {
    None,
    FewJobs,
    ShortTime,
}

/// Where jobs wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Queue(usize),
    Set(JobSet),
}

/// What goes wrong during a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// The storage has no room for more.
    Full,
    /// A key has a value of another type.
    Broken(Spot),
    /// The reply to a fetch, a settlement or a move does not arrive.
    LostReply,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Spot {
    Queue(usize),
    Inprogress { node: usize, queue: usize },
    Set(JobSet),
    Paused,
    Lock(usize),
    Cron,
    CronDue,
}

/// Any step; one in four goes wrong, where it hurts.
pub(super) fn step() -> impl Strategy<Value = Step> {
    let trouble = (0..4_u8, any::<Index>());
    (action(), option::weighted(0.25, trouble)).prop_map(|(mut action, trouble)| {
        let trouble = trouble.map(|(kind, which)| match kind {
            0 => Trouble::Full,
            1 => Trouble::LostReply,
            _ => Trouble::Broken(*which.get(&action.spots())),
        });
        let trouble = match &mut action {
            Action::Unique(action) => action.fitting(trouble),
            // It may find room when it takes the place of a job that has its lock.
            Action::Cron(CronAction::Tick {
                locked: locked @ Some(_),
                ..
            }) if matches!(trouble, Some(Trouble::Full)) => {
                *locked = None;
                trouble
            }
            _ => trouble,
        };
        Step { action, trouble }
    })
}

impl Action {
    /// The places that it reads or changes.
    fn spots(&self) -> Vec<Spot> {
        let jobs = match self {
            Self::Settle { jobs, .. }
            | Self::Restore { jobs, .. }
            | Self::Exchange { jobs, .. }
            | Self::Promote { jobs, .. }
            | Self::Move { jobs, .. } => &jobs[..],
            _ => &[],
        };
        let targets = jobs.iter().filter_map(|(_, to)| match to.place {
            Place::Queue(queue) => Some(Spot::Queue(queue)),
            Place::Set(set, _) => Some(Spot::Set(set.into())),
            Place::Dead(_) => Some(Spot::Set(JobSet::Dead)),
            Place::Nowhere | Place::Same => None,
        });
        let mut spots: Vec<Spot> = targets.collect();
        if !jobs.is_empty() {
            spots.extend(Spot::locks());
        }
        match *self {
            Self::Enqueue { queue, .. } => spots.push(Spot::Queue(queue)),
            Self::Schedule { .. } => spots.push(Spot::Set(JobSet::Schedule)),
            Self::Dequeue { node, queue, .. }
            | Self::Settle { node, queue, .. }
            | Self::Exchange { node, queue, .. }
            | Self::SettleAll { node, queue }
            | Self::Restore { node, queue, .. } => spots.extend([
                Spot::Queue(queue),
                Spot::Inprogress { node, queue },
                Spot::Paused,
            ]),
            Self::Promote { set, .. } => spots.push(Spot::Set(set.into())),
            Self::Unique(ref action) => spots.extend(action.spots()),
            Self::Cron(ref action) => spots.extend(action.spots()),
            Self::Move { from, .. }
            | Self::MoveAll { from }
            | Self::Clear { from }
            | Self::Walk { from, .. } => spots.push(match from {
                From::Queue(queue) => Spot::Queue(queue),
                From::Set(set) => Spot::Set(set),
            }),
            Self::SetPaused { .. } => spots.push(Spot::Paused),
            Self::TrimDead { .. } => spots.push(Spot::Set(JobSet::Dead)),
            Self::Register { node, .. }
            | Self::Beat { node }
            | Self::Deregister { node }
            | Self::Die { node }
            | Self::ClaimName { node }
            | Self::LoseName { node }
            | Self::CountDeaths { node, .. }
            | Self::PollSchedule { node } => spots.extend([
                Spot::Inprogress { node, queue: 0 },
                Spot::Set(JobSet::Retry),
                Spot::Set(JobSet::Schedule),
            ]),
            Self::TimePasses { .. } => spots.push(Spot::Paused),
        }
        spots
    }
}

impl Spot {
    /// Where jobs wait that are due later.
    pub(super) const DUE: [Self; 2] = [Self::Set(JobSet::Schedule), Self::Set(JobSet::Retry)];

    pub(super) fn locks() -> impl Iterator<Item = Self> {
        (0..LOCKS).map(Self::Lock)
    }
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (queue(), vec(payload(), 1..5)).prop_map(|(queue, jobs)| Action::Enqueue { queue, jobs }),
        4 => vec((payload(), delay()), 1..4).prop_map(|jobs| Action::Schedule { jobs }),
        8 => dequeue(),
        10 => (node(), queue(), jobs()).prop_map(|(node, queue, jobs)| Action::Settle { node, queue, jobs }),
        8 => (node(), queue(), jobs(), 0..6_usize, 0..3_usize).prop_map(
            |(node, queue, jobs, max_jobs, prefetched)| Action::Exchange { node, queue, jobs, max_jobs, prefetched }
        ),
        4 => (node(), queue(), jobs()).prop_map(|(node, queue, jobs)| Action::Restore { node, queue, jobs }),
        4 => (due_set(), jobs()).prop_map(|(set, jobs)| Action::Promote { set, jobs }),
        4 => (due_set(), promoted()).prop_map(|(set, jobs)| Action::Promote { set, jobs }),
        6 => (from(), jobs()).prop_map(|(from, jobs)| Action::Move { from, jobs }),
        1 => from().prop_map(|from| Action::Clear { from }),
        2 => (queue(), weighted(0.3)).prop_map(|(queue, paused)| Action::SetPaused { queue, paused }),
        6 => (node(), vec(queue(), 0..=QUEUES)).prop_map(|(node, queues)| Action::Register { node, queues }),
        1 => node().prop_map(|node| Action::Beat { node }),
        2 => node().prop_map(|node| Action::Deregister { node }),
        2 => node().prop_map(|node| Action::Die { node }),
        1 => node().prop_map(|node| Action::ClaimName { node }),
        1 => node().prop_map(|node| Action::LoseName { node }),
        1 => (node(), vec(0..4_usize, 0..4)).prop_map(|(node, jids)| Action::CountDeaths { node, jids }),
        1 => node().prop_map(|node| Action::PollSchedule { node }),
        1 => limits().prop_map(|limits| Action::TrimDead { limits }),
        4 => (1..30_u64).prop_map(|seconds| Action::TimePasses { seconds }),
        4 => walk(),
        16 => unique::action().prop_map(Action::Unique),
        8 => timetable::action().prop_map(Action::Cron),
    ]
}

fn dequeue() -> impl Strategy<Value = Action> {
    let max_bytes = prop_oneof![Just(1_000_000), Just(1), Just(40), Just(60_000)];
    (node(), queue(), 1..6_usize, max_bytes, 0..3_usize).prop_map(
        |(node, queue, max_jobs, max_bytes, prefetched)| Action::Dequeue {
            node,
            queue,
            max_jobs,
            max_bytes,
            prefetched,
        },
    )
}

fn walk() -> impl Strategy<Value = Action> {
    let order = prop_oneof![Just(Order::OldestFirst), Just(Order::NewestFirst)];
    let max_bytes = prop_oneof![Just(1_000_000), Just(1), Just(60_000)];
    let text = option::of(prop_oneof![Just("1"), Just("\""), Just("nowhere")]);
    (from(), order, 1..5_usize, max_bytes, text).prop_map(
        |(from, order, limit, max_bytes, text)| Action::Walk {
            from,
            order,
            limit,
            max_bytes,
            text,
        },
    )
}

/// Most often the first, so that steps have to do with each other.
pub(super) fn node() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => 1..NODES]
}

/// Most often the first.
pub(super) fn queue() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 1 => 1..QUEUES]
}

/// In seconds; often none.
fn delay() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..40_u64]
}

fn due_set() -> impl Strategy<Value = DueSet> {
    prop_oneof![Just(DueSet::Schedule), Just(DueSet::Retry)]
}

fn job_set() -> impl Strategy<Value = JobSet> {
    prop_oneof![
        Just(JobSet::Schedule),
        Just(JobSet::Retry),
        Just(JobSet::Dead)
    ]
}

pub(super) fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        8 => shape().prop_map(Payload::New),
        1 => (0..20_usize).prop_map(Payload::Again),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        6 => Just(Shape::Short),
        2 => Just(Shape::Json),
        2 => Just(Shape::Binary),
        1 => Just(Shape::Long),
    ]
}

fn jobs() -> impl Strategy<Value = Vec<(Pick, To)>> {
    let pick = prop_oneof![
        5 => (0..6_usize).prop_map(Pick::There),
        1 => (0..20_usize).prop_map(Pick::Any),
    ];
    let place = prop_oneof![
        Just(Place::Nowhere),
        queue().prop_map(Place::Queue),
        (due_set(), delay()).prop_map(|(set, delay)| Place::Set(set, delay)),
        limits().prop_map(Place::Dead),
        Just(Place::Same),
    ];
    let to = (place, any::<bool>()).prop_map(|(place, changed)| To { place, changed });
    vec((pick, to), 1..5)
}

/// Jobs that go to a queue, as those do that are due.
fn promoted() -> impl Strategy<Value = Vec<(Pick, To)>> {
    let job = (0..6_usize, queue(), any::<bool>()).prop_map(|(job, queue, changed)| {
        let place = Place::Queue(queue);
        (Pick::There(job), To { place, changed })
    });
    vec(job, 1..4)
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        2 => Just(Limits::None),
        2 => Just(Limits::FewJobs),
        1 => Just(Limits::ShortTime)
    ]
}

fn from() -> impl Strategy<Value = From> {
    prop_oneof![queue().prop_map(From::Queue), job_set().prop_map(From::Set)]
}

/// Does each operation whose reply can be lost once, so that what a backend prepares at the first
/// use is there.
pub(super) fn opening() -> Vec<Step> {
    let one = || vec![(Pick::There(0), To::NOWHERE)];
    let job = || vec![Payload::New(Shape::Short)];
    let (node, queue) = (0, 0);
    well([
        Action::Register {
            node,
            queues: vec![queue],
        },
        Action::Enqueue { queue, jobs: job() },
        Action::Dequeue {
            node,
            queue,
            max_jobs: 1,
            max_bytes: 1,
            prefetched: 0,
        },
        Action::Settle {
            node,
            queue,
            jobs: one(),
        },
        Action::Enqueue { queue, jobs: job() },
        Action::Move {
            from: From::Queue(queue),
            jobs: one(),
        },
        Action::Cron(CronAction::Upsert {
            entry: 0,
            definition: 0,
            saw: Saw::Nothing,
            next: Some(0),
            even_if_superseded: false,
        }),
        Action::Cron(CronAction::Tick {
            entry: 0,
            saw: Saw::Now,
            next: Next::In(10),
            pushes: Vec::new(),
            locked: None,
            missed: 0,
        }),
    ])
}

/// Takes everything out of the storage, as a fleet does that has done its work.
pub(super) fn ending() -> Vec<Step> {
    let mut actions = Vec::new();
    for node in 0..NODES {
        let queues = (0..QUEUES).collect();
        actions.push(Action::Register { node, queues });
        for queue in 0..QUEUES {
            actions.push(Action::SetPaused {
                queue,
                paused: false,
            });
            // Whatever was prefetched is started.
            actions.push(Action::Dequeue {
                node,
                queue,
                max_jobs: 1,
                max_bytes: 1,
                prefetched: 0,
            });
            actions.push(Action::SettleAll { node, queue });
        }
        actions.push(Action::Deregister { node });
    }
    let queues = (0..QUEUES).map(From::Queue);
    let sets = [JobSet::Schedule, JobSet::Retry, JobSet::Dead].map(From::Set);
    let places: Vec<From> = queues.chain(sets).collect();
    let all = |action: fn(From) -> Action| places.iter().copied().map(action);
    let delete = |from| Action::MoveAll { from };
    // A job that waited for the lock of one that is deleted comes, and is deleted then.
    actions.extend(all(delete).chain(all(delete)));
    // What was held for a time is taken once more, or still held. Then it is freed.
    for lock in 0..LOCKS {
        let jobs = vec![NewUnique::for_a_time(lock)];
        actions.push(Action::Unique(UniqueAction::Enqueue { queue: 0, jobs }));
    }
    for lock in 0..LOCKS {
        let stale = false;
        actions.push(Action::Unique(UniqueAction::Free { lock, stale }));
    }
    actions.extend(all(delete));
    actions.extend(all(|from| Action::Clear { from }));
    for entry in 0..ENTRIES {
        actions.push(Action::Cron(CronAction::Remove { entry }));
    }
    well(actions)
}

fn well(actions: impl IntoIterator<Item = Action>) -> Vec<Step> {
    let step = |action| Step {
        action,
        trouble: None,
    };
    actions.into_iter().map(step).collect()
}

impl To {
    pub(super) const NOWHERE: Self = Self {
        place: Place::Nowhere,
        changed: false,
    };
}
