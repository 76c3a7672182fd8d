//! The names of all keys: only this file makes one.

use std::{collections::HashMap, fmt};

use verk_core::{
    Jid, QueueName,
    config::ScheduleKeys,
    names::{MAX_NAME_BYTES, NodeId},
    stats::Day,
    storage::{JobSet, LockId, Minute},
};

use crate::error::{Error, cut};

const INPROGRESS: &str = "inprogress:";

/// A key as Redis gets it.
pub(crate) type Key = Vec<u8>;

/// Makes keys, all with the same prefix.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// With its colon; empty for none.
    prefix: String,
    schedule: ScheduleKeys,
}

impl Keys {
    /// Keys with `prefix` and a colon before them; an empty prefix means no prefix.
    pub(crate) fn new(prefix: &str, schedule: ScheduleKeys) -> Result<Self, Error> {
        let prefix = prefix.strip_suffix(':').unwrap_or(prefix);
        if prefix.len() > MAX_NAME_BYTES || prefix.chars().any(char::is_control) {
            return Err(Error::InvalidPrefix {
                prefix: cut(prefix),
            });
        }
        Ok(Self {
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}:"),
            },
            schedule,
        })
    }

    /// How every key starts; empty without a prefix.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The set of all queue names.
    pub(crate) fn queues(&self) -> Key {
        self.key("queues")
    }

    /// The list of the jobs that wait in a queue: new ones enter left, the next to be fetched is
    /// the right-most.
    pub(crate) fn queue(&self, queue: &QueueName) -> Key {
        self.key(format_args!("queue:{queue}"))
    }

    /// The list of the jobs of a queue that a node holds: the newest is left-most.
    pub(crate) fn inprogress(&self, queue: &QueueName, node: &NodeId) -> Key {
        self.inprogress_of(queue.as_str().as_bytes(), node)
    }

    /// As [`inprogress`](Self::inprogress), for a queue name as another program wrote it.
    pub(crate) fn inprogress_of(&self, queue: &[u8], node: &NodeId) -> Key {
        self.of_queue_and_node(INPROGRESS, queue, node)
    }

    /// How the names of all lists of jobs in progress start.
    pub(crate) fn inprogress_prefix(&self) -> String {
        format!("{}{INPROGRESS}", self.prefix)
    }

    /// How many of the newest jobs in progress a node has prefetched, and not started.
    pub(crate) fn prefetched(&self, queue: &QueueName, node: &NodeId) -> Key {
        self.prefetched_of(queue.as_str().as_bytes(), node)
    }

    /// As [`prefetched`](Self::prefetched), for a queue name as another program wrote it.
    pub(crate) fn prefetched_of(&self, queue: &[u8], node: &NodeId) -> Key {
        self.of_queue_and_node("verk:prefetched:", queue, node)
    }

    /// A unique lock.
    pub(crate) fn lock(&self, lock: LockId) -> Key {
        self.key(format_args!("verk:unique:{lock}"))
    }

    /// The set of the ids of all unique locks, by the time at which they end.
    pub(crate) fn locks(&self) -> Key {
        self.key("verk:unique")
    }

    /// The set of the ids of the locks whose jobs should be looked for, by the time at which an
    /// enqueue met them.
    pub(crate) fn suspects(&self) -> Key {
        self.key("verk:unique:suspects")
    }

    /// What was enqueued with a key of the caller, as long as that is remembered.
    pub(crate) fn seen(&self, key: &str) -> Key {
        self.key(format_args!("verk:seen:{key}"))
    }

    /// The set of the keys in which a job with effects was stored.
    pub(crate) fn marks(&self) -> Key {
        self.key("verk:effects")
    }

    /// Exists for a while after jobs of a dead node came back to this queue.
    pub(crate) fn restored(&self, queue: &QueueName) -> Key {
        self.key(format_args!("verk:restored:{queue}"))
    }

    fn of_queue_and_node(&self, name: &str, queue: &[u8], node: &NodeId) -> Key {
        let mut key = self.key(name);
        key.extend_from_slice(queue);
        key.push(b':');
        key.extend_from_slice(node.as_str().as_bytes());
        key
    }

    pub(crate) fn schedule(&self) -> ScheduleKeys {
        self.schedule
    }

    /// A sorted set of jobs.
    pub(crate) fn set(&self, set: JobSet) -> Key {
        self.set_among(self.schedule, set)
    }

    /// As [`set`](Self::set), for a program that has other [`ScheduleKeys`].
    pub(crate) fn other_set(&self, set: JobSet) -> Key {
        let other = match self.schedule {
            ScheduleKeys::Shared => ScheduleKeys::Own,
            ScheduleKeys::Own => ScheduleKeys::Shared,
        };
        self.set_among(other, set)
    }

    fn set_among(&self, schedule: ScheduleKeys, set: JobSet) -> Key {
        self.key(match (schedule, set) {
            (ScheduleKeys::Shared, JobSet::Schedule) => "schedule",
            (ScheduleKeys::Shared, JobSet::Retry) => "retry",
            (ScheduleKeys::Own, JobSet::Schedule) => "verk:schedule",
            (ScheduleKeys::Own, JobSet::Retry) => "verk:retry",
            (_, JobSet::Dead) => "dead",
        })
    }

    /// The set of the queues that are paused for all nodes.
    pub(crate) fn paused(&self) -> Key {
        self.key("paused")
    }

    /// The hash of the notes of those pauses, by queue. It has the name of the channel.
    pub(crate) fn pauses(&self) -> Key {
        self.pauses_channel()
    }

    /// The channel on which a change of [`paused`](Self::paused) is announced.
    pub(crate) fn pauses_channel(&self) -> Key {
        self.key("verk:pauses")
    }

    /// Which node moves due jobs, with a time to live.
    pub(crate) fn lease(&self) -> Key {
        self.key("verk:schedule_manager")
    }

    /// Which cell of a fleet this is.
    pub(crate) fn layout(&self) -> Key {
        self.key("verk:layout")
    }

    /// The hash of the queues that moved to another cell, or move.
    pub(crate) fn moved(&self) -> Key {
        self.key("verk:moved")
    }

    /// The hash of the entries of the timetable, each of which has a few fields.
    pub(crate) fn cron(&self) -> Key {
        self.key("verk:cron")
    }

    /// The sorted set of their names, by when they run next.
    pub(crate) fn cron_due(&self) -> Key {
        self.key("verk:crondue")
    }

    /// The set of the ids of all registered nodes.
    pub(crate) fn nodes(&self) -> Key {
        self.key("verk_nodes")
    }

    /// The heartbeat of a node, with a time to live.
    pub(crate) fn heartbeat(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:node:{node}"))
    }

    /// The set of the queues that a node fetched from.
    pub(crate) fn node_queues(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:node:{node}:queues"))
    }

    /// The hash in which a node says what it is, with a time to live.
    pub(crate) fn node_info(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:node:{node}:info"))
    }

    /// The number of the last statistics that a node reported, with a time to live.
    pub(crate) fn node_stats(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:node:{node}:stats"))
    }

    /// How often a process died while a job ran, with a time to live.
    pub(crate) fn deaths(&self, jid: &Jid) -> Key {
        self.key(format_args!("verk:deaths:{jid}"))
    }

    /// The counted deaths of the jobs of a dead node, with a time to live.
    pub(crate) fn node_deaths(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:node:{node}:deaths"))
    }

    /// How many runs there were or, for a queue, how many succeeded.
    pub(crate) fn processed(&self, of: StatsOf<'_>) -> Key {
        self.key(format_args!("stat:processed{of}"))
    }

    /// How many runs failed.
    pub(crate) fn failed(&self, of: StatsOf<'_>) -> Key {
        self.key(format_args!("stat:failed{of}"))
    }

    /// The holder of the name of `node`, with a time to live.
    pub(crate) fn name(&self, node: &NodeId) -> Key {
        self.key(format_args!("verk:name:{}", node.name()))
    }

    /// The hash of the runs in a minute, with a time to live.
    pub(crate) fn executions(&self, minute: Minute) -> Key {
        self.key(format_args!(
            "j|{:02}{:02}{:02}|{}:{:02}",
            minute.year() % 100,
            minute.month(),
            minute.day(),
            minute.hour(),
            minute.minute()
        ))
    }

    /// The hash of the runs in the ten minutes around `minute`, with a time to live: its name is
    /// that of the minute without its last digit.
    pub(crate) fn executions_of_ten_minutes(&self, minute: Minute) -> Key {
        let mut key = self.executions(minute);
        key.pop();
        key
    }

    /// As [`executions`](Self::executions), of Sidekiq 7. verk only reads it.
    pub(crate) fn executions_of_sidekiq_7(&self, minute: Minute) -> Key {
        self.key(format_args!(
            "j|{:04}{:02}{:02}|{}:{}",
            minute.year(),
            minute.month(),
            minute.day(),
            minute.hour(),
            minute.minute()
        ))
    }

    /// The histogram of how long the runs of a class took in a minute, with a time to live.
    pub(crate) fn histogram(&self, class: &str, minute: Minute) -> Key {
        self.key(format_args!(
            "h|{class}-{}-{}:{}",
            minute.day(),
            minute.hour(),
            minute.minute()
        ))
    }

    /// As [`histogram`](Self::histogram), of Sidekiq 7: the same key if the day and the hour have
    /// two digits. verk only reads it.
    pub(crate) fn histogram_of_sidekiq_7(&self, class: &str, minute: Minute) -> Key {
        self.key(format_args!(
            "h|{class}-{:02}-{:02}:{}",
            minute.day(),
            minute.hour(),
            minute.minute()
        ))
    }

    /// The list of what operators did: new entries enter left.
    pub(crate) fn audit(&self) -> Key {
        self.key("verk:audit")
    }

    /// The set of all processes that are shown to Sidekiq.
    pub(crate) fn processes(&self) -> Key {
        self.key("processes")
    }

    /// The lock of the process that prunes that set, with a time to live.
    pub(crate) fn process_cleanup(&self) -> Key {
        self.key("process_cleanup")
    }

    /// The hash that describes a process, with a time to live.
    pub(crate) fn process(&self, identity: &[u8]) -> Key {
        self.of_process(identity, "")
    }

    /// The hash of the jobs that run in a process, with a time to live.
    pub(crate) fn work(&self, identity: &[u8]) -> Key {
        self.of_process(identity, ":work")
    }

    /// As [`work`](Self::work), for Sidekiq before 6.4.2.
    pub(crate) fn workers(&self, identity: &[u8]) -> Key {
        self.of_process(identity, ":workers")
    }

    /// The list of requests for a process, with a time to live: new entries enter left.
    pub(crate) fn signals(&self, identity: &[u8]) -> Key {
        self.of_process(identity, "-signals")
    }

    fn of_process(&self, identity: &[u8], ending: &str) -> Key {
        [self.prefix.as_bytes(), identity, ending.as_bytes()].concat()
    }

    fn key(&self, name: impl fmt::Display) -> Key {
        format!("{}{name}", self.prefix).into_bytes()
    }
}

/// What a counter counts. A queue and a day with the same name share a counter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StatsOf<'a> {
    All,
    Day(Day),
    Queue(&'a QueueName),
}

impl fmt::Display for StatsOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Day(day) => write!(f, ":{day}"),
            Self::Queue(queue) => write!(f, ":{queue}"),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("prefix", &self.prefix)
            .field("schedule", &self.schedule)
            .finish()
    }
}

/// The keys of one call, each once.
#[derive(Debug)]
pub(crate) struct KeyList {
    pub(crate) keys: Vec<Key>,
    /// The indexes of those that were added.
    indexes: HashMap<Key, usize>,
}

impl KeyList {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self {
            keys,
            indexes: HashMap::new(),
        }
    }

    /// The index of `key`, from 1.
    pub(crate) fn index(&mut self, key: Key) -> usize {
        let Self { keys, indexes } = self;
        *indexes.entry(key).or_insert_with_key(|key| {
            keys.push(key.clone());
            keys.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn all(keys: &Keys) -> Vec<String> {
        let queue: QueueName = "a:b".parse().unwrap();
        let node = NodeId::from("web.1.0123456789ab");
        let day = "2025-01-31".parse().unwrap();
        let minute = Minute::of(UNIX_EPOCH + Duration::from_secs(1_738_314_180));
        [
            keys.queues(),
            keys.queue(&queue),
            keys.inprogress(&queue, &node),
            keys.set(JobSet::Schedule),
            keys.set(JobSet::Retry),
            keys.set(JobSet::Dead),
            keys.paused(),
            keys.pauses_channel(),
            keys.lease(),
            keys.layout(),
            keys.moved(),
            keys.cron(),
            keys.cron_due(),
            keys.nodes(),
            keys.heartbeat(&node),
            keys.node_queues(&node),
            keys.node_info(&node),
            keys.name(&node),
            keys.node_stats(&node),
            keys.node_deaths(&node),
            keys.deaths(&Jid::from("4cea318993b40a256edfeb68")),
            keys.prefetched(&queue, &node),
            keys.restored(&queue),
            keys.processed(StatsOf::All),
            keys.processed(StatsOf::Day(day)),
            keys.processed(StatsOf::Queue(&queue)),
            keys.failed(StatsOf::All),
            keys.failed(StatsOf::Day(day)),
            keys.failed(StatsOf::Queue(&queue)),
            keys.executions(minute),
            keys.executions_of_ten_minutes(minute),
            keys.executions_of_sidekiq_7(minute),
            keys.histogram("A::B", minute),
            keys.histogram_of_sidekiq_7("A::B", minute),
            keys.audit(),
            keys.processes(),
            keys.process_cleanup(),
            keys.process(b"web:1:0123456789ab"),
            keys.work(b"web:1:0123456789ab"),
            keys.workers(b"web:1:0123456789ab"),
            keys.signals(b"web:1:0123456789ab"),
        ]
        .map(|key| String::from_utf8(key).unwrap())
        .into()
    }

    const NAMES: [&str; 41] = [
        "queues",
        "queue:a:b",
        "inprogress:a:b:web.1.0123456789ab",
        "schedule",
        "retry",
        "dead",
        "paused",
        "verk:pauses",
        "verk:schedule_manager",
        "verk:layout",
        "verk:moved",
        "verk:cron",
        "verk:crondue",
        "verk_nodes",
        "verk:node:web.1.0123456789ab",
        "verk:node:web.1.0123456789ab:queues",
        "verk:node:web.1.0123456789ab:info",
        "verk:name:web.1",
        "verk:node:web.1.0123456789ab:stats",
        "verk:node:web.1.0123456789ab:deaths",
        "verk:deaths:4cea318993b40a256edfeb68",
        "verk:prefetched:a:b:web.1.0123456789ab",
        "verk:restored:a:b",
        "stat:processed",
        "stat:processed:2025-01-31",
        "stat:processed:a:b",
        "stat:failed",
        "stat:failed:2025-01-31",
        "stat:failed:a:b",
        "j|250131|9:03",
        "j|250131|9:0",
        "j|20250131|9:3",
        "h|A::B-31-9:3",
        "h|A::B-31-09:3",
        "verk:audit",
        "processes",
        "process_cleanup",
        "web:1:0123456789ab",
        "web:1:0123456789ab:work",
        "web:1:0123456789ab:workers",
        "web:1:0123456789ab-signals",
    ];

    fn shared(prefix: &str) -> Keys {
        Keys::new(prefix, ScheduleKeys::Shared).unwrap()
    }

    #[test]
    fn keys_are_those_of_sidekiq_and_verk() {
        assert_eq!(all(&Keys::default()), NAMES);
        assert_eq!(all(&shared("")), NAMES);
    }

    #[test]
    fn every_key_has_the_prefix() {
        let prefixed = NAMES.map(|name| format!("app:{name}"));
        assert_eq!(all(&shared("app")), prefixed);
        assert_eq!(all(&shared("app:")), prefixed);
    }

    #[test]
    fn a_prefix_is_checked() {
        for prefix in ["two\nlines", &"x".repeat(257)] {
            assert!(Keys::new(prefix, ScheduleKeys::Shared).is_err());
        }
    }

    #[test]
    fn own_schedule_keys_differ_in_the_sets_that_others_move() {
        let own = Keys::new("", ScheduleKeys::Own).unwrap();
        let names = NAMES.map(|name| match name {
            "schedule" => "verk:schedule",
            "retry" => "verk:retry",
            name => name,
        });
        assert_eq!(all(&own), names);
        for set in [JobSet::Schedule, JobSet::Retry, JobSet::Dead] {
            assert_eq!(own.other_set(set), shared("").set(set));
            assert_eq!(own.set(set), shared("").other_set(set));
        }
    }
}
