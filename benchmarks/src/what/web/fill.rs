//! Fills a Redis as a large fleet does.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use verk::stats::Day;

use crate::{server::Server, settings::Settings};

/// How much a Redis has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) waiting: u64,
    pub(super) scheduled: u64,
    pub(super) dead: u64,
    pub(super) retries: u64,
    pub(super) queues: u64,
    pub(super) processes: u64,
    /// Classes with execution metrics.
    pub(super) classes: u64,
}

/// How many jobs each process runs, each of another queue.
pub(super) const RUNNING: u64 = 25;

/// How many jobs one script makes.
const PORTION: u64 = 10_000;

/// For how many days there are statistics: five years.
const DAYS: u64 = 1_826;

/// What the scripts share: ARGV[1] is the time in seconds, ARGV[2] the number of queues, ARGV[3]
/// the number of classes.
const SHARED: &str = r#"
local now, queues, classes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function class(number) return 'Shop::Class' .. number % classes end
local function job(number, queue, more)
  return '{"retry":true,"queue":"' .. queue .. '","args":[' .. number .. ',"customer' .. number
    .. '@example.com"],"class":"' .. class(number) .. '","jid":"' .. string.format('%024d', number)
    .. '","created_at":' .. now .. '.25,"enqueued_at":' .. now .. '.5' .. more .. '}'
end
local failed = ',"retry_count":2,"failed_at":' .. now .. '.75,"retried_at":' .. now .. '.75,'
  .. '"error_class":"Bank::TimeOut","error_message":"the bank did not answer within 30 seconds"'
"#;

/// ARGV[4] jobs from ARGV[5] on: each second one in `queue-0`, the others in all queues.
const WAITING: &str = r#"
for number = ARGV[5] + 1, ARGV[5] + ARGV[4] do
  local queue = 'queue-' .. (number % 2 == 0 and 0 or math.floor(number / 2) % queues)
  redis.call('SADD', 'queues', queue)
  redis.call('LPUSH', 'queue:' .. queue, job(number, queue, ''))
end"#;

/// ARGV[4] jobs of the set ARGV[6] from ARGV[5] on: `schedule` from tomorrow on, `retry` in an
/// hour, or `dead` until now.
const SETS: &str = r#"
local set = ARGV[6]
local from = ({ schedule = now + 86400, retry = now + 3600, dead = now - 5e6 })[set]
for number = ARGV[5] + 1, ARGV[5] + ARGV[4] do
  local more = set == 'schedule' and '' or failed
  redis.call('ZADD', set, from + number, job(number, 'queue-' .. number % queues, more))
end"#;

/// The process ARGV[4], which runs ARGV[5] jobs of as many queues, and its node. Each says of
/// itself what verk says, but it is known for a day.
const PROCESS: &str = r#"
local number, running, day = tonumber(ARGV[4]), tonumber(ARGV[5]), 86400
local nonce = string.format('%012x', number + 1)
local id = 'web-' .. number .. ':42:' .. nonce
local node = 'web-' .. number .. '.' .. nonce
local work, capsules, names = id .. ':work', {}, {}
for i = 0, running - 1 do
  local queue = 'queue-' .. (number * running + i) % queues
  local payload = job(1e9 + number * running + i, queue, '')
  redis.call('HSET', work, i, cjson.encode({ queue = queue, payload = payload, run_at = now }))
  redis.call('SADD', 'verk:node:' .. node .. ':queues', queue)
  redis.call('LPUSH', 'inprogress:' .. queue .. ':' .. node, payload)
  names[i + 1] = queue
  capsules[queue] = { concurrency = 2, mode = 'strict', weights = { [queue] = 0 } }
end
redis.call('EXPIRE', work, day)
redis.call('SADD', 'processes', id)
redis.call('HSET', id, 'info', cjson.encode({
  hostname = 'web-' .. number, started_at = now, pid = 42, tag = 'shop', capsules = capsules,
  queues = names, labels = { 'eu' }, identity = id, version = 'verk 0.1.0', embedded = false,
  concurrency = 2 * running,
}), 'concurrency', 2 * running, 'busy', running, 'beat', now, 'quiet', 'false', 'rss', 9216, 'rtt_us', 250)
redis.call('EXPIRE', id, day)
redis.call('SADD', 'verk_nodes', node)
redis.call('SET', 'verk:node:' .. node, 'alive', 'EX', day)
redis.call('HSET', 'verk:node:' .. node .. ':info', 'version', 'verk 0.1.0', 'level', 1, 'process', id,
  'registered_at', now, 'classes', '["Shop::Class0"]', 'class_count', 1)"#;

/// The counters of all jobs and of each queue.
const COUNTERS: &str = r#"
redis.call('SET', 'stat:processed', 1e9)
redis.call('SET', 'stat:failed', 1e6)
for number = 0, queues - 1 do
  redis.call('SET', 'stat:processed:queue-' .. number, 2e6)
  redis.call('SET', 'stat:failed:queue-' .. number, 2e3)
end"#;

/// The counters of the day ARGV[4].
const DAY: &str = r#"
redis.call('SET', 'stat:processed:' .. ARGV[4], 5e5)
redis.call('SET', 'stat:failed:' .. ARGV[4], 500)"#;

/// The execution metrics of all classes in the hash ARGV[4].
const EXECUTIONS: &str = r#"
for number = 0, classes - 1 do
  local name = class(number)
  redis.call('HSET', ARGV[4], name .. '|p', 50 + number, name .. '|f', 2, name .. '|ms', 12345)
end"#;

/// How long the runs of the first class took, in the histogram ARGV[4].
const HISTOGRAM: &str = "redis.call('SET', ARGV[4], string.rep('\\0\\3', 20))";

const MINUTE: Duration = Duration::from_secs(60);

impl Size {
    pub(super) fn of(settings: &Settings) -> Self {
        let jobs = settings.jobs(1_000_000);
        Self {
            waiting: jobs,
            scheduled: jobs,
            dead: jobs,
            retries: settings.scaled(10_000),
            queues: settings.scaled(500),
            processes: settings.scaled(80).max(2),
            classes: 100,
        }
    }

    /// Fills the server.
    pub(super) fn fill(&self, server: &Server) -> Result<()> {
        let now = SystemTime::now();
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let shared = [seconds, self.queues, self.classes].map(|number| number.to_string());
        let run = |script: &str, more: &[&str]| {
            let mut args: Vec<&str> = shared.iter().map(String::as_str).collect();
            args.extend(more);
            server.fill(&format!("{SHARED}{script}"), &args)
        };
        let jobs = |script: &str, count: u64, set: &str| -> Result<()> {
            for from in (0..count).step_by(PORTION as usize) {
                let portion = PORTION.min(count - from).to_string();
                run(script, &[&portion, &from.to_string(), set])?;
            }
            Ok(())
        };
        jobs(WAITING, self.waiting, "")?;
        jobs(SETS, self.scheduled, "schedule")?;
        jobs(SETS, self.retries, "retry")?;
        jobs(SETS, self.dead, "dead")?;
        for number in 0..self.processes {
            run(PROCESS, &[&number.to_string(), &RUNNING.to_string()])?;
        }
        run(COUNTERS, &[])?;
        for days in 0..DAYS {
            let day = Day::of(now - 24 * 60 * MINUTE * u32::try_from(days)?);
            run(DAY, &[&day.to_string()])?;
        }
        // The minutes to come too, in which this is measured.
        for minutes in 0..8 * 60 + 30 {
            let at = Minute::of(now + 30 * MINUTE - MINUTE * minutes);
            run(EXECUTIONS, &[&at.key()])?;
            run(HISTOGRAM, &[&at.histogram("Shop::Class0")])?;
        }
        for steps in 0..3 * 24 * 6 {
            let at = Minute::of(now + 30 * MINUTE - 10 * MINUTE * steps);
            run(EXECUTIONS, &[&at.key_of_ten()])?;
        }
        Ok(())
    }
}

/// A minute in the names of keys: see `docs/wire-format.md`.
struct Minute {
    /// `2026-11-29`.
    day: String,
    hour: u64,
    minute: u64,
}

impl Minute {
    fn of(at: SystemTime) -> Self {
        let since = at.duration_since(SystemTime::UNIX_EPOCH);
        let minutes = since.unwrap_or_default().as_secs() / 60;
        Self {
            day: Day::of(at).to_string(),
            hour: minutes / 60 % 24,
            minute: minutes % 60,
        }
    }

    fn short_day(&self) -> String {
        self.day.replace('-', "").split_off(2)
    }

    fn key(&self) -> String {
        format!("j|{}|{}:{:02}", self.short_day(), self.hour, self.minute)
    }

    fn key_of_ten(&self) -> String {
        let tens = self.minute / 10;
        format!("j|{}|{}:{tens}", self.short_day(), self.hour)
    }

    fn histogram(&self, class: &str) -> String {
        let day = self.day.rsplit('-').next().unwrap_or_default();
        let day = day.trim_start_matches('0');
        format!("h|{class}-{day}-{}:{}", self.hour, self.minute)
    }
}
