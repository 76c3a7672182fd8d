//! What is in Redis: [`Left`].

use std::collections::HashSet;

use verk_testing::{RedisServer, Reply};

/// What is in Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    pub(crate) keys: Vec<String>,
    pub(crate) waiting: Vec<String>,
    /// The jobs that are in `schedule`, the next first.
    pub(crate) scheduled: Vec<String>,
    pub(crate) dead: Vec<String>,
    pub(crate) nodes: usize,
    /// The jids of the jobs that hold a lock.
    pub(crate) holders: Vec<String>,
}

impl Left {
    /// What is left here and in another cell. Each node is registered in both.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self.keys.sort();
        self.waiting.extend(other.waiting);
        self.scheduled.extend(other.scheduled);
        self.dead.extend(other.dead);
        self.holders.extend(other.holders);
        if self.nodes != other.nodes {
            // As many as no fleet has.
            self.nodes = usize::MAX;
        }
        self
    }

    /// The next job, when nothing runs and all jobs wait for their time.
    pub(crate) fn next_scheduled(&self) -> Option<&str> {
        let rest = self.waiting.len() == self.scheduled.len();
        self.scheduled.first().filter(|_| rest).map(String::as_str)
    }

    /// The jids of the jobs that hold a lock and are not stored.
    pub(crate) fn unheld(&self) -> Vec<String> {
        let stored: HashSet<String> = self.waiting.iter().filter_map(|job| jid_of(job)).collect();
        let holders = self.holders.iter().filter(|jid| !stored.contains(*jid));
        holders.cloned().collect()
    }

    /// Whether no job is left to run, with so many live nodes and no other on the list.
    pub(crate) fn is_at_rest(&self, nodes: usize) -> bool {
        self.waiting.is_empty() && self.nodes == nodes
    }
}

/// Everything in Redis at one moment, so that a job that moves meanwhile is not missed. The names
/// are those without the prefix.
const LOOK: &str = "
    local prefix, short, keys, waiting = ARGV[1], ARGV[2], {}, {}
    for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
        table.insert(keys, key:sub(#prefix + 1))
    end
    for _, key in ipairs(keys) do
        if key:find('^queue:') or key:find('^inprogress:') then
            local last = key == short and 0 or -1
            for _, job in ipairs(redis.call('LRANGE', prefix .. key, 0, last)) do
                table.insert(waiting, job)
            end
        end
    end
    local holders = {}
    for _, key in ipairs(keys) do
        if key:find('^verk:unique:') and redis.call('TYPE', prefix .. key).ok == 'hash' then
            table.insert(holders, redis.call('HGET', prefix .. key, 'jid') or '')
        end
    end
    local function members(set)
        return redis.call('ZRANGE', prefix .. set, 0, -1)
    end
    return {
        keys, waiting, members('schedule'), members('retry'), members('dead'),
        redis.call('SMEMBERS', prefix .. 'processes'),
        redis.call('SMEMBERS', prefix .. 'verk_nodes'),
        holders
    }";

/// Looks into Redis, without help from verk. Of the list with the name `short`, the first job
/// stands for all.
pub(crate) fn what_is_left(server: &RedisServer, prefix: &str, short: &str) -> Left {
    let texts = |reply: Reply| -> Vec<String> {
        let entries = reply.into_array().unwrap_or_default().into_iter();
        entries
            .filter_map(Reply::into_bytes)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .collect()
    };
    let look = server
        .command(&["EVAL", LOOK, "0", prefix, short])
        .into_array();
    let mut look = look.unwrap_or_default().into_iter().map(texts);
    let mut next = || look.next().unwrap_or_default();
    let mut left = Left {
        keys: next(),
        waiting: next(),
        scheduled: next(),
        ..Left::default()
    };
    left.waiting.extend(left.scheduled.clone());
    left.waiting.extend(next());
    left.dead = next();
    // The entries of killed processes in Sidekiq's registry expire, and nothing depends on them.
    let shown = next();
    let of_process = |key: &String| shown.iter().any(|identity| key.starts_with(identity));
    left.keys.retain(|key| !of_process(key));
    left.keys.sort();
    left.nodes = next().len();
    left.holders = next();
    left
}

/// The jid in the payload, whether the payload is a job or not.
pub(crate) fn jid_of(payload: &str) -> Option<String> {
    let (_, rest) = payload.split_once(r#""jid":""#)?;
    let (jid, _) = rest.split_once('"')?;
    Some(jid.to_owned())
}
