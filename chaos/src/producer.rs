//! Those who enqueue: [`Producer`].

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use verk::{
    BuildError, EnqueueExt, Enqueued, Verk,
    client::IntoJob,
    cron::{CatchUp, Cron, CronError, Overlap},
    time::{Clock, SystemClock},
};

use crate::{
    fleet::Fleet,
    kind::{ENTRY, Kind, QUEUE},
    ledger::{Ledger, Record},
    payload::{self, job},
};

/// How many keys unique jobs have.
const KEYS: u32 = 8;

/// Deletes a job of the schedule, and lets its lock look untouched for long.
const DELETE: &str = "
    for _, job in ipairs(redis.call('ZRANGE', 'schedule', 0, -1)) do
        local id = job:find(ARGV[1], 1, true) and job:match('\"d\":\"(%x+)\"')
        if id then
            redis.call('HSET', 'verk:unique:' .. id, 'touched', 0)
            return redis.call('ZREM', 'schedule', job)
        end
    end
    return 0";

/// What is enqueued.
#[derive(Clone, Debug)]
pub struct Production {
    /// The most jobs; producers stop earlier when the faults are over.
    pub jobs: usize,
    /// How long a producer waits after each job.
    pub pause: Duration,
    /// The kinds of jobs, each with how often it is taken.
    pub kinds: Vec<(Kind, u32)>,
}

/// Enqueues jobs, and writes the results to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Producer {
    pub(crate) verk: Verk,
    pub(crate) ledger: Ledger,
    queues: &'static [&'static str],
}

impl Producer {
    pub(crate) async fn connect(fleet: &Fleet) -> Result<Self, BuildError> {
        use verk::prelude::RedisBuilderExt;
        let redis = fleet.redis(&fleet.producer_proxy);
        Ok(Self {
            verk: Verk::builder().redis(redis).build().await?,
            ledger: fleet.ledger.clone(),
            queues: fleet.queues,
        })
    }

    /// Enqueues until everything is sent, or `stop`.
    pub(crate) async fn produce(&self, production: Production, seed: u64, stop: CancellationToken) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let clock: &dyn Clock = &SystemClock;
        let total: u32 = production.kinds.iter().map(|(_, share)| share).sum();
        for _ in 0..production.jobs {
            if stop.is_cancelled() {
                return;
            }
            let mut card = rng.random_range(0..total);
            let mut kinds = production.kinds.iter();
            let kind = loop {
                match kinds.next() {
                    Some((_, share)) if card >= *share => card -= share,
                    Some((kind, _)) => break *kind,
                    None => return,
                }
            };
            let key = format!("key {}", rng.random_range(0..KEYS));
            match kind.is_unique() {
                true => self.send_unique(kind, &key, Duration::ZERO).await.is_some(),
                false => self.send(kind).await,
            };
            if !production.pause.is_zero() {
                clock.sleep(production.pause).await;
            }
        }
    }

    /// Enqueues one job, and returns whether it may be stored. A job that may be stored is not sent
    /// again.
    pub(crate) async fn send(&self, kind: Kind) -> bool {
        let job = job(kind);
        let jid = job.jid().to_string();
        let job = job.into_job().queue(self.queue_for(&jid));
        self.sent(&jid, kind);
        let sent = match kind {
            Kind::Scheduled => {
                let later = job.schedule_in(Duration::from_millis(700));
                self.verk.enqueue(later).await
            }
            _ => self.verk.enqueue(job).await,
        };
        let record = match sent {
            Ok(_) => Record::Stored(jid),
            Err(error) if error.may_be_stored() => Record::MayBeStored(jid),
            Err(_) => Record::NotStored(jid),
        };
        self.ledger.write(&record);
        !matches!(record, Record::NotStored(_))
    }

    /// Enqueues one unique job. Returns its jid if it is stored.
    async fn send_unique(&self, kind: Kind, key: &str, delay: Duration) -> Option<String> {
        let (job, unique) = payload::unique(kind, key);
        let jid = job.jid().to_string();
        self.sent(&jid, kind);
        let job = job.into_job().queue(self.queue_for(key));
        let job = job.unique(unique).schedule_in(delay);
        let record = match self.verk.client().enqueue_unique(job).await {
            Ok(Enqueued::Duplicate { jid: holder, .. }) => Record::Conflict {
                jid: jid.clone(),
                holder: holder.to_string(),
            },
            Ok(_) => Record::Stored(jid.clone()),
            Err(error) if error.may_be_stored() => Record::MayBeStored(jid.clone()),
            Err(_) => Record::NotStored(jid.clone()),
        };
        self.ledger.write(&record);
        matches!(record, Record::Stored(_)).then_some(jid)
    }

    /// Stores a unique job for much later, deletes it as a program that knows no locks, and
    /// enqueues another one until that gets the lock. Returns whether it did.
    pub(crate) async fn delete_past_verk(&self, fleet: &Fleet, key: &str) -> bool {
        let clock: &dyn Clock = &SystemClock;
        let later = Duration::from_secs(3600);
        let Some(jid) = self.send_unique(Kind::Unique, key, later).await else {
            return false;
        };
        let removed = {
            let _there = fleet.server_is_there.read().await;
            // The lock was touched long ago.
            let reply = fleet.server().command(&["EVAL", DELETE, "0", &jid]);
            reply.as_integer() == Some(1)
        };
        if !removed {
            return false;
        }
        self.ledger.write(&Record::Removed(jid));
        loop {
            if self
                .send_unique(Kind::Unique, key, Duration::ZERO)
                .await
                .is_some()
            {
                return true;
            }
            clock.sleep(fleet.heartbeat / 2).await;
        }
    }

    /// Starts the timetable of the run: a job each second.
    pub(crate) async fn start_timetable(&self) -> Result<(), CronError> {
        let entry = Cron::every("1s")
            .overlap(Overlap::Allow)
            .catch_up(CatchUp::All)
            .job(payload::job(Kind::Tick));
        self.verk.cron().upsert(ENTRY, entry).await.map(drop)
    }

    /// Ends it. No run is due after this.
    pub(crate) async fn end_timetable(&self) {
        let clock: &dyn Clock = &SystemClock;
        while self.verk.cron().remove(ENTRY).await.is_err() {
            clock.sleep(Duration::from_millis(100)).await;
        }
    }

    /// The queue for a job with this id or key.
    fn queue_for(&self, name: &str) -> &'static str {
        let sum: usize = name.bytes().map(usize::from).sum();
        self.queues[sum % self.queues.len()]
    }

    pub(crate) fn sent(&self, jid: &str, kind: Kind) {
        self.ledger.write(&Record::Sent {
            jid: jid.to_owned(),
            kind,
        });
    }

    /// Puts a payload into the queue, straight to the server. Returns whether the server took it.
    pub(crate) async fn put(&self, fleet: &Fleet, kind: Kind, jid: &str, payload: &[u8]) -> bool {
        let queue = format!("queue:{QUEUE}");
        let mut push = vec![b"LPUSH", queue.as_bytes(), payload];
        if kind == Kind::Twice {
            push.push(payload);
        }
        self.tell(fleet, kind, jid, &push).await
    }

    /// Puts something that is no job into `schedule`, due now.
    pub(crate) async fn put_due(&self, fleet: &Fleet, jid: &str, payload: &[u8]) -> bool {
        let add: [&[u8]; 4] = [b"ZADD", b"schedule", b"0", payload];
        self.tell(fleet, Kind::Malformed, jid, &add).await
    }

    async fn tell(&self, fleet: &Fleet, kind: Kind, jid: &str, command: &[&[u8]]) -> bool {
        let _there = fleet.server_is_there.read().await;
        self.sent(jid, kind);
        let stored = fleet.server().command(command).as_integer().is_some();
        let jid = jid.to_owned();
        self.ledger.write(&match stored {
            true => Record::Stored(jid),
            false => Record::NotStored(jid),
        });
        stored
    }
}
