//! A run, from the start of the processes to the verdict: [`run`].

use std::{io, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;
use verk::{BoxError, Clock, SystemClock};
use verk_testing::{CuttingProxy, RedisCommand};

use crate::{
    fault::Fault,
    fleet::{Fleet, Size},
    judge::{self, Verdict},
    kind::Kind,
    ledger::{Ledger, Record},
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
    /// Whether the producers go on until the faults are over.
    pub produce_until_over: bool,
    /// For what the producers choose.
    pub seed: u64,
}

/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_secs(120);

/// How long a planned loss is waited for.
const LOSS: Duration = Duration::from_secs(3);

/// Does it. Returns the ledger, too.
///
/// # Errors
///
/// When a process cannot be started, or the ledger not be read.
pub async fn run(what: Run) -> Result<(Verdict, Vec<Record>), BoxError> {
    let mut fleet = Fleet::start(&what.size)?;
    let producer = Producer::connect(&fleet).await?;
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
        follow(&fleet_ref, &producer, &what.plan).await;
        over.cancel();
        join_all(producers).await;
        fleet = Arc::into_inner(fleet_ref).ok_or_else(|| io::Error::other("a lane goes on"))?;
        for proxy in &fleet.proxies {
            proxy.heal();
        }
        fleet.producer_proxy.heal();
        &mut fleet
    };
    let rest = come_to_rest(fleet).await;
    tracing::info!(rest, "stopping the workers");
    fleet.stop_workers().await;
    let records = Ledger::read(&fleet.ledger_path())?;
    let verdict = judge::judge(&records, &judge::what_is_left(&fleet.server), rest);
    if !verdict.is_clean() {
        fleet.keep_files();
        tracing::error!(ledger = %fleet.ledger_path().display(), "a promise was broken");
    }
    Ok((verdict, records))
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
                strike(&fleet, &producer, step).await;
                fleet.ledger.write(&Record::Over(number));
            }
        }));
    }
    for lane in join_all(lanes).await {
        lane.expect("a lane that does not panic");
    }
}

/// Lets one fault happen, and mends it.
async fn strike(fleet: &Fleet, producer: &Producer, step: Step) {
    let ttl = fleet.ttl();
    let proxy = &fleet.proxies[step.worker];
    let is_even = step.random.is_multiple_of(2);
    let lasts = |length: Duration| {
        SystemClock.sleep_until(SystemClock.instant() + step.length.unwrap_or(length))
    };
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
        Fault::Poison => producer.send(Kind::Poison).await,
        Fault::RestartRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.server.shut_down();
            lasts(ttl / 4).await;
            fleet.server.restart();
        }
        Fault::KillRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.server.stop();
            lasts(ttl / 4).await;
            fleet.server.restart();
        }
        Fault::StallRedis => {
            let _away = fleet.server_is_there.write().await;
            fleet.signal_server(Signal::STOP);
            lasts(ttl).await;
            fleet.signal_server(Signal::CONT);
        }
        Fault::DiskFull => {
            let _away = fleet.server_is_there.write().await;
            fleet.fill_the_disk();
            // Heartbeats are writes, so it notices soon.
            lasts(ttl / 2).await;
            fleet.server.restart();
        }
        Fault::OutOfMemory => {
            let limit = |bytes| fleet.server.command(&["CONFIG", "SET", "maxmemory", bytes]);
            let _there = fleet.server_is_there.read().await;
            limit("1");
            lasts(ttl * 3 + fleet.heartbeat).await;
            limit("0");
        }
        Fault::SlowScript => {
            let _there = fleet.server_is_there.read().await;
            let spin = "local t = os.clock() while os.clock() - t < 0.4 do end";
            fleet.server.command(&["EVAL", spin, "0"]);
        }
        Fault::ScriptFlush => {
            let _there = fleet.server_is_there.read().await;
            fleet.server.command(&["SCRIPT", "FLUSH"]);
        }
        Fault::ClientKill => {
            let _there = fleet.server_is_there.read().await;
            fleet.server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
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
            proxy.lose_reply(|command| command.mentions("ack"));
            lost(proxy).await;
        }
        Fault::CutAfterFetch => {
            let fetches = |command: &RedisCommand| {
                command.name() == "BLMOVE" || command.mentions("verk_nodes")
            };
            proxy.lose_reply(fetches);
            lost(proxy).await;
        }
        Fault::CutMidReply => {
            proxy.tear_reply(|command| command.name() != "HELLO");
            lost(proxy).await;
        }
        Fault::CutAfterEnqueue => {
            let proxy = &fleet.producer_proxy;
            proxy.lose_reply(|command| command.name() == "LPUSH");
            lost(proxy).await;
        }
        Fault::Malformed => {
            let _there = fleet.server_is_there.read().await;
            producer.put(fleet, Kind::Malformed, step.random);
        }
        Fault::DuplicatePayload => {
            let _there = fleet.server_is_there.read().await;
            producer.put(fleet, Kind::Twice, step.random);
        }
        Fault::HugePayload => producer.send(Kind::Huge).await,
    }
}

/// Waits until what was to be lost is lost, or gives up on it.
async fn lost(proxy: &CuttingProxy) {
    let clock: &dyn Clock = &SystemClock;
    let losses = proxy.losses();
    clock.timeout(LOSS, proxy.wait_for_losses(losses + 1)).await;
    proxy.heal();
}

/// Waits until no job is left to run, and every node that died is off the list. Returns whether that came to pass.
///
/// Jobs that may be poison pills come back after minutes, one by one. That is not waited for: when nothing else is left, the next one is made due.
async fn come_to_rest(fleet: &Fleet) -> bool {
    let clock: &dyn Clock = &SystemClock;
    let look = async {
        loop {
            let left = judge::what_is_left(&fleet.server);
            if left.is_at_rest(fleet.proxies.len()) {
                return;
            }
            if let Some(job) = left.next_scheduled() {
                fleet.server.command(&["ZADD", "schedule", "XX", "0", job]);
            }
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    clock.timeout(REST, look).await.is_some()
}
