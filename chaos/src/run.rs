//! A run, from the start of the processes to the verdict: [`run`].

use std::{io, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio::task::{self, block_in_place};
use tokio_util::sync::CancellationToken;
use verk::{
    BoxError,
    time::{Clock, SystemClock},
};
use verk_testing::{CuttingProxy, RedisCommand};

use crate::{
    fault::Fault,
    fleet::{Fleet, Size},
    judge::{self, InFlight, Verdict},
    kind::Kind,
    ledger::{Ledger, Record},
    payload,
    plan::{Plan, Step},
    producer::{Producer, Production},
};

/// What to do.
#[derive(Clone, Debug)]
pub struct Run {
    /// The processes.
    pub size: Size,
    /// What breaks when.
    pub plan: Plan,
    /// What each producer enqueues.
    pub production: Production,
    /// How many producers.
    pub producers: usize,
    /// Whether the producers continue until the faults are over.
    pub produce_until_over: bool,
    /// For what the producers choose.
    pub seed: u64,
    /// How long everything may take to come to rest after the last fault.
    pub rest: Duration,
}

/// How long a fault waits for its chance: a reply to lose, or a server that takes a payload. It is
/// longer than a worker stands still and than Redis refuses writes.
const CHANCE: Duration = Duration::from_secs(8);

/// How long a search for the job of a lock may take, while a queue is long and Redis is away.
const LONG_CHANCE: Duration = Duration::from_secs(20);

/// How often all locks are compared with all jobs.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How many jobs a node prefetches at most.
const PREFETCHED: usize = 64;

/// Does it. Returns the ledger, too.
///
/// # Errors
///
/// When a process cannot be started, or the ledger cannot be read.
pub async fn run(what: Run) -> Result<(Verdict, Vec<Record>), BoxError> {
    let mut fleet = Fleet::start(&what.size)?;
    let producer = Producer::connect(&fleet).await?;
    // A fault that strikes before the workers have started breaks nothing.
    come_to_rest(&fleet, what.rest).await;
    if let Some(backlog) = &fleet.backlog {
        producer.store(backlog).await?;
    }
    producer.start_timetable().await?;
    let over = CancellationToken::new();
    let stop = if what.produce_until_over {
        over.clone()
    } else {
        CancellationToken::new()
    };
    let producers: Vec<_> = (0..what.producers)
        .map(|number| {
            let (producer, production) = (producer.clone(), what.production.clone());
            let (seed, stop) = (what.seed.wrapping_add(number as u64), stop.clone());
            tokio::spawn(async move { producer.produce(production, seed, stop).await })
        })
        .collect();
    let fleet = {
        let fleet_ref = Arc::new(fleet);
        let watch = tokio::spawn(watch_locks(Arc::clone(&fleet_ref), over.clone()));
        follow(&fleet_ref, &producer, &what.plan).await;
        over.cancel();
        join_all(producers).await;
        producer.end_timetable().await;
        watch.await?;
        fleet = Arc::into_inner(fleet_ref).ok_or_else(|| io::Error::other("a lane goes on"))?;
        for proxy in &fleet.proxies {
            proxy.heal();
        }
        fleet.producer_proxy.heal();
        if let Some(backlog) = &fleet.backlog {
            producer.release(backlog).await;
        }
        &mut fleet
    };
    let rest = come_to_rest(fleet, what.rest).await && say_how_they_are(fleet, what.rest).await;
    tracing::info!(rest, "stopping the workers");
    fleet.stop_workers().await;
    let records = Ledger::read(&fleet.ledger_path())?;
    let in_flight = InFlight {
        of_a_worker: (what.size.concurrency + what.size.concurrency.min(PREFETCHED))
            * what.size.place.queues().len(),
        workers: what.size.workers,
    };
    let left = fleet.what_is_left();
    let verdict = judge::judge(&records, &left, rest, in_flight);
    if !verdict.is_clean() {
        fleet.keep_files();
        tracing::error!(ledger = %fleet.ledger_path().display(), "a promise was broken");
    }
    Ok((verdict, records))
}

/// Compares all locks with all jobs, each time in one moment, until it is over.
async fn watch_locks(fleet: Arc<Fleet>, over: CancellationToken) {
    while !over.is_cancelled() {
        {
            let _there = fleet.server_is_there.read().await;
            let look = Arc::clone(&fleet);
            let look = task::spawn_blocking(move || look.what_is_left_at_a_glance().unheld());
            // A fault may cut its connection: then it panics, and nothing is found.
            for jid in look.await.unwrap_or_default() {
                fleet.ledger.write(&Record::Unheld(jid));
            }
        }
        pause(LOOK_EVERY).await;
    }
}

/// Does what the plan says, each lane by itself.
async fn follow(fleet: &Arc<Fleet>, producer: &Producer, plan: &Plan) {
    let clock: &dyn Clock = &SystemClock;
    let start = clock.instant();
    let mut number = 0;
    let mut lanes = Vec::new();
    for lane in plan.lanes.clone() {
        let (fleet, producer, first) = (Arc::clone(fleet), producer.clone(), number);
        number += lane.len();
        lanes.push(tokio::spawn(async move {
            for (place, step) in lane.into_iter().enumerate() {
                SystemClock.sleep_until(start + step.at).await;
                let number = first + place;
                fleet.ledger.write(&Record::Fault {
                    number,
                    fault: step.fault,
                    worker: step.fault.concerns_a_worker().then_some(step.worker),
                });
                let struck = strike(&fleet, &producer, step).await;
                if !struck {
                    tracing::warn!(fault = %step.fault, "found nothing to break");
                }
                fleet.ledger.write(&Record::Over { number, struck });
            }
        }));
    }
    for lane in join_all(lanes).await {
        lane.expect("a lane that does not panic");
    }
}

/// A script that takes two fifths of a second.
const SPIN: &str = "
    local function now()
        local time = redis.call('TIME')
        return time[1] * 1000000 + time[2]
    end
    local over = now() + 400000
    while now() < over do end
    return 1";

/// Causes one fault, and repairs it. Returns whether it happened.
async fn strike(fleet: &Fleet, producer: &Producer, step: Step) -> bool {
    let lasts = |length| pause(step.length.unwrap_or(length));
    let (ttl, is_even) = (fleet.ttl(), step.random.is_multiple_of(2));
    let proxy = &fleet.proxies[step.worker];
    match step.fault {
        Fault::KillWorker => fleet.signal(step.worker, Signal::KILL),
        Fault::DeployWorker => fleet.signal(step.worker, Signal::TERM),
        Fault::FreezeWorker => {
            fleet.signal(step.worker, Signal::STOP);
            lasts(ttl * 3).await;
            fleet.signal(step.worker, Signal::CONT);
        }
        Fault::ClockJump => {
            let hours = if is_even { 5 } else { -5 };
            fleet.tell(step.worker, format!("clock {}", hours * 3_600_000));
            lasts(ttl).await;
            fleet.tell(step.worker, "clock 0".to_owned());
        }
        Fault::LogDies => fleet.close_log(step.worker),
        Fault::SubscriberPanics => {
            fleet.tell(step.worker, "log panics".to_owned());
            lasts(ttl).await;
            fleet.tell(step.worker, "log works".to_owned());
        }
        Fault::RestartRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.server().shut_down();
            lasts(ttl / 4).await;
            fleet.restart_server();
        }
        Fault::KillRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.server().stop();
            lasts(ttl / 4).await;
            fleet.restart_server();
        }
        Fault::StallRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.signal_server(Signal::STOP);
            lasts(ttl).await;
            fleet.signal_server(Signal::CONT);
        }
        Fault::DiskFull => {
            let _away = fleet.server_is_there.write().await;
            fleet.fill_the_disk(step.random % 512);
            // Heartbeats are writes, so it notices soon.
            lasts(ttl / 2).await;
            let ended = !fleet.server_accepts();
            fleet.restart_server();
            return ended;
        }
        Fault::OutOfMemory => {
            let _there = fleet.server_is_there.read().await;
            let is_full = fleet.ask(&["CONFIG", "SET", "maxmemory", "1"]);
            lasts(ttl * 3 + fleet.heartbeat).await;
            return fleet.ask(&["CONFIG", "SET", "maxmemory", "0"]) && is_full;
        }
        Fault::SlowScript => {
            let _there = fleet.server_is_there.read().await;
            return fleet.ask(&["EVAL", SPIN, "0"]);
        }
        Fault::MoveSlot => {
            // No look at both servers would be at one moment.
            let _away = fleet.server_is_there.write().await;
            let migration = block_in_place(|| fleet.begin_to_move(step.random));
            lasts(ttl * 2).await;
            block_in_place(|| migration.finish());
        }
        Fault::MoveBacklog => {
            let _away = fleet.server_is_there.write().await;
            return fleet.move_backlog(step.length.unwrap_or(ttl * 2)).await;
        }
        Fault::MoveQueue => {
            let cells = fleet.cells().len();
            return producer.move_queue(step.random, cells).await;
        }
        Fault::FailOver => {
            let _away = fleet.server_is_there.write().await;
            block_in_place(|| fleet.fail_over(step.random));
        }
        Fault::KillPrimary => {
            let _away = fleet.server_is_there.write().await;
            block_in_place(|| fleet.kill_primary(step.random));
        }
        Fault::ScriptFlush => {
            let _there = fleet.server_is_there.read().await;
            return fleet.ask(&["SCRIPT", "FLUSH"]);
        }
        Fault::ClientKill => {
            let _there = fleet.server_is_there.read().await;
            return fleet.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        }
        Fault::Delay => {
            proxy.set_delay(Duration::from_millis(20));
            lasts(ttl).await;
            proxy.set_delay(Duration::ZERO);
        }
        Fault::Partition => {
            proxy.set_refusing(true);
            proxy.cut();
            // Shorter or longer than it takes to be declared dead.
            lasts(if is_even { ttl / 2 } else { ttl * 3 }).await;
            proxy.set_refusing(false);
        }
        Fault::CutAfterSettle => {
            return lost(proxy, |it| it.lose_reply(|command| command.mentions("ack"))).await;
        }
        Fault::CutAfterFetch => {
            let fetches = |command: &RedisCommand| {
                command.name() == "BLMOVE" || command.mentions("verk_nodes")
            };
            return lost(proxy, |it| it.lose_reply(fetches)).await;
        }
        Fault::CutMidReply => {
            return lost(proxy, |it| {
                it.tear_reply(|command| command.name() != "HELLO")
            })
            .await;
        }
        Fault::CutAfterEnqueue => {
            let enqueues = |command: &RedisCommand| command.name() == "LPUSH";
            return lost(&fleet.producer_proxy, |it| it.lose_reply(enqueues)).await;
        }
        Fault::DeletedPastVerk => {
            let clock: &dyn Clock = &SystemClock;
            let delete = async {
                for random in step.random.. {
                    if (producer.delete_past_verk(fleet, &format!("deleted {random:016x}"))).await {
                        return;
                    }
                    pause(fleet.heartbeat).await;
                }
            };
            return clock.timeout(LONG_CHANCE, delete).await.is_some();
        }
        Fault::Poison | Fault::Malformed | Fault::DuplicatePayload | Fault::HugePayload => {
            return feed(fleet, producer, step).await;
        }
    }
    true
}

/// Puts the payload of a fault into the queue. If the server is full or down, tries again with
/// another payload.
async fn feed(fleet: &Fleet, producer: &Producer, step: Step) -> bool {
    let is_even = step.random.is_multiple_of(2);
    let feed = async {
        for random in step.random.. {
            let jid = format!("{random:016x}");
            let fed = match step.fault {
                Fault::Malformed => {
                    let [queued, set, misfit] = ["0", "1", "2"].map(|it| format!("{it}{jid}"));
                    let payload = payload::malformed(&queued);
                    producer
                        .put(fleet, Kind::Malformed, &queued, &payload)
                        .await
                        && producer
                            .put_due(fleet, &set, &payload::malformed(&set))
                            .await
                        && {
                            let payload = payload::misfit(&misfit);
                            producer.put(fleet, Kind::Misfit, &misfit, &payload).await
                        }
                }
                Fault::DuplicatePayload => {
                    let job = payload::job(Kind::Twice);
                    let (jid, payload) = (job.jid().as_str(), job.encode());
                    producer.put(fleet, Kind::Twice, jid, &payload).await
                }
                Fault::HugePayload if is_even => {
                    let job = payload::huger();
                    let (jid, payload) = (job.jid().as_str(), job.encode());
                    producer.put(fleet, Kind::Huge, jid, &payload).await
                }
                Fault::HugePayload => producer.send(Kind::Huge).await,
                _ => producer.send(Kind::Poison).await,
            };
            if fed {
                return;
            }
            pause(fleet.heartbeat).await;
        }
    };
    let clock: &dyn Clock = &SystemClock;
    clock.timeout(CHANCE, feed).await.is_some()
}

async fn pause(length: Duration) {
    let clock: &dyn Clock = &SystemClock;
    clock.sleep(length).await;
}

/// Waits until the reply is lost, or gives up. Returns whether it was lost.
async fn lost(proxy: &CuttingProxy, lose: impl FnOnce(&CuttingProxy)) -> bool {
    let clock: &dyn Clock = &SystemClock;
    let before = proxy.losses();
    lose(proxy);
    clock
        .timeout(CHANCE, proxy.wait_for_losses(before + 1))
        .await;
    proxy.heal();
    proxy.losses() > before
}

/// Asks the workers for their state when no job is left. Returns whether all have answered.
async fn say_how_they_are(fleet: &Fleet, limit: Duration) -> bool {
    let clock: &dyn Clock = &SystemClock;
    for worker in 0..fleet.proxies.len() {
        fleet.tell(worker, "rest".to_owned());
    }
    let answers = async {
        loop {
            let records = Ledger::read(&fleet.ledger_path()).unwrap_or_default();
            let is_answer = |record: &&Record| matches!(record, Record::Rest(..));
            if records.iter().filter(is_answer).count() == fleet.proxies.len() {
                return;
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    clock.timeout(limit, answers).await.is_some()
}

/// Waits until no job is left to run, and every dead node is off the list. Returns whether that
/// happened.
///
/// Jobs that may be poison pills come back after minutes, one by one. This function does not wait
/// for that: when nothing else is left, it makes the next one due.
async fn come_to_rest(fleet: &Fleet, limit: Duration) -> bool {
    let clock: &dyn Clock = &SystemClock;
    let look = async {
        loop {
            let left = fleet.what_is_left_at_a_glance();
            if left.is_at_rest(fleet.proxies.len()) {
                return;
            }
            if let Some(job) = left.next_scheduled() {
                for (server, prefix) in fleet.cells() {
                    let schedule = format!("{prefix}schedule");
                    server.command(&["ZADD", &schedule, "XX", "0", job]);
                }
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    clock.timeout(limit, look).await.is_some()
}
