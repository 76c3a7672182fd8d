//! Connections and servers that fail, one way at a time, in front of each kind of command.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;
use verk::{
    Event, EventKind, State, Verk, VerkBuilder,
    events::Events,
    names::NodeId,
    prelude::*,
    redis::{RedisConfig, RedisStorage},
    storage::{DequeueRequest, Dequeued, Inprogress, JobStore, NodeStore, Settlement, Target},
};
use verk_testing::{CuttingProxy, Operation, RedisCommand, RedisServer, within};

use crate::support::{
    ALL, Fixture, Gate, Log, PATIENCE, States, at_once, calls, queue_name, until, wait_for,
};

#[verk::worker(retry_at = at_once)]
async fn second_time(number: u32, State(log): State<Log>, ctx: JobContext) -> Result<(), String> {
    if ctx.attempt() == 1 {
        return Err("the first time".into());
    }
    log.push(number.to_string());
    Ok(())
}

#[verk::worker]
async fn held_back(number: u32, State(gate): State<Gate>, State(log): State<Log>, ctx: JobContext) {
    let lost = async {
        while ctx.still_owner() {
            ctx.sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = gate.pass() => log.push(number.to_string()),
        () = lost => {}
    }
}

#[verk::worker]
async fn patient(State(gate): State<Gate>) {
    gate.pass().await;
}

#[verk::worker]
async fn fleeting() {}

/// What a node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fetch,
    Wait,
    Settle,
    Exchange,
    Poll,
    Due,
    Promote,
    Heartbeat,
    Register,
    Restore,
    Page,
}

impl Kind {
    /// The keys of a script show which one it is.
    fn is(self, command: &RedisCommand) -> bool {
        let args = command.args();
        let keys: Vec<&[u8]> = match args.get(2).map(|count| String::from_utf8_lossy(count)) {
            Some(count) if command.name() == "EVALSHA" => {
                let count = count.parse().unwrap_or_default();
                args[3..].iter().take(count).map(|key| &key[..]).collect()
            }
            _ => Vec::new(),
        };
        let starts = |place: usize, text: &str| {
            keys.get(place)
                .is_some_and(|key| key.starts_with(text.as_bytes()))
        };
        match self {
            Self::Wait => command.name() == "BLMOVE",
            Self::Fetch => keys.len() == 8 && starts(0, "queue:"),
            Self::Settle => keys.len() == 6 && starts(0, "inprogress:"),
            Self::Exchange => keys.len() == 12 && starts(0, "queue:"),
            Self::Restore => keys.len() == 8 && starts(0, "inprogress:"),
            Self::Page => keys.len() == 1 && starts(0, "inprogress:"),
            Self::Poll => starts(0, "verk:schedule_manager"),
            Self::Due => keys == [b"retry"],
            Self::Promote => starts(0, "retry") && starts(1, "dead"),
            Self::Heartbeat => keys.len() >= 5 && starts(1, "verk:name:"),
            Self::Register => keys.len() == 4 && starts(1, "verk_nodes"),
        }
    }
}

/// How a command or its reply gets lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Request,
    Reply,
    HalfOfTheReply,
}

/// A node on a server, through a proxy.
struct Node {
    verk: Verk,
    events: Events,
    states: States,
    proxy: CuttingProxy,
}

impl Node {
    async fn start(redis: &RedisServer) -> Self {
        let node = Self::build(redis, |builder| builder).await;
        node.verk.start().unwrap();
        node
    }

    async fn build(
        redis: &RedisServer,
        configure: impl FnOnce(VerkBuilder) -> VerkBuilder,
    ) -> Self {
        let proxy = CuttingProxy::start(redis);
        let states = States::new();
        let builder = Verk::builder()
            .redis(proxy.url())
            .queue("default", 10)
            .poll_interval(Duration::from_secs(1))
            .heartbeat(Duration::from_secs(3));
        let verk = states.give(configure(builder)).build().await.unwrap();
        Self {
            events: verk.events(),
            verk,
            states,
            proxy,
        }
    }

    fn lose(&self, kind: Kind, loss: Loss) {
        let matches = move |command: &RedisCommand| kind.is(command);
        match loss {
            Loss::Request => self.proxy.lose_request(matches),
            Loss::Reply => self.proxy.lose_reply(matches),
            Loss::HalfOfTheReply => self.proxy.tear_reply(matches),
        }
    }

    /// Waits until jobs 0 to `count` have run.
    async fn wait_until_ran(&mut self, count: u32) {
        while self.ran().len() < count as usize {
            // The outcome of a run is published after it.
            wait_for(&mut self.events, Some).await;
        }
        assert_eq!(self.ran(), (0..count).collect());
    }

    fn ran(&self) -> BTreeSet<u32> {
        let ran = self.states.log.entries();
        ran.iter().map(|number| number.parse().unwrap()).collect()
    }

    /// Nothing is left of any job. Of a node that died, something may be; a lock of Sidekiq's
    /// expires.
    async fn shut_down_with_nothing_left(self, redis: &RedisServer) {
        self.verk.shutdown().await;
        let keys = redis.command(&["KEYS", "*"]).into_array().unwrap();
        let keys: Vec<_> = keys
            .into_iter()
            .filter_map(|key| String::from_utf8(key.into_bytes()?.to_vec()).ok())
            .filter(|key| !key.starts_with("stat:") && !key.starts_with("verk"))
            .filter(|key| key != "process_cleanup")
            .collect();
        assert_eq!(keys, ["queues"]);
    }
}

async fn client_of(redis: &RedisServer) -> verk::Client {
    let storage = RedisStorage::connect(redis.url()).await.unwrap();
    verk::Client::new(std::sync::Arc::new(storage))
}

/// A node that took jobs, and died.
async fn leave_jobs(redis: &RedisServer, numbers: std::ops::Range<u32>) {
    let storage = RedisStorage::connect(redis.url()).await.unwrap();
    let client = client_of(redis).await;
    let count = numbers.len();
    client
        .enqueue_all(numbers.map(SecondTime::new))
        .await
        .unwrap();
    let held = Inprogress {
        queue: queue_name("default"),
        node: NodeId::register("worker-0").unwrap(),
    };
    let queues = std::slice::from_ref(&held.queue);
    storage
        .register(&held.node, queues, PATIENCE, &Default::default())
        .await
        .unwrap();
    let request = DequeueRequest {
        prefetched: 0,
        max_jobs: count,
        max_bytes: usize::MAX,
        wait: Duration::ZERO,
        interrupt: CancellationToken::new(),
    };
    let mut connection = storage.open_queue(&held).await.unwrap();
    let fetched = connection.dequeue(request).await.unwrap();
    assert!(matches!(fetched, Dequeued::Jobs(jobs) if jobs.len() == count));
    redis.command(&["DEL", &format!("verk:node:{}", held.node)]);
}

/// Completes once a fetch waits.
async fn blocked(redis: &RedisServer) {
    within(PATIENCE, async {
        loop {
            let info = redis.command(&["INFO", "clients"]).into_bytes().unwrap();
            if !String::from_utf8_lossy(&info).contains("blocked_clients:0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn survives(kind: Kind) {
    for loss in [Loss::Request, Loss::Reply, Loss::HalfOfTheReply] {
        let redis = RedisServer::start();
        // Over a connection of its own: what is lost takes all that is on its way there along.
        let client = client_of(&redis).await;
        if kind == Kind::Restore {
            leave_jobs(&redis, 0..10).await;
        }
        let mut node = Node::build(&redis, |builder| match kind {
            // Only a node of the same name need not wait until it is sure.
            Kind::Restore => builder.node_id("worker-0".to_owned()),
            _ => builder,
        })
        .await;
        node.lose(kind, loss);
        node.verk.start().unwrap();
        let mut held_back = 0;
        match kind {
            // Outcomes go by themselves while a fetch waits.
            Kind::Settle => {
                held_back = 5;
                let jobs = (0..held_back).map(HeldBack::new);
                client.enqueue_all(jobs).await.unwrap();
                for _ in 0..held_back {
                    wait_for(&mut node.events, |event| {
                        matches!(event.what, EventKind::JobStarted).then_some(())
                    })
                    .await;
                }
                blocked(&redis).await;
                node.states.gate.open();
            }
            // The server forgets the node, which comes back under another id.
            Kind::Register => {
                redis.command(&["EVAL", "for _, key in ipairs(redis.call('KEYS', 'verk:n*')) do redis.call('DEL', key) end", "0"]);
            }
            // The list is read after something else was lost.
            Kind::Page => {
                blocked(&redis).await;
                let other_loss = match loss {
                    Loss::Reply => Loss::HalfOfTheReply,
                    _ => Loss::Reply,
                };
                node.lose(Kind::Wait, other_loss);
            }
            _ => {}
        }
        if kind != Kind::Restore {
            let jobs = (held_back..10).map(SecondTime::new);
            client.enqueue_all(jobs).await.unwrap();
        }
        node.wait_until_ran(10).await;
        let losses = if kind == Kind::Page { 2 } else { 1 };
        within(PATIENCE, node.proxy.wait_for_losses(losses)).await;
        // What was lost last is made up for before more is done.
        let more = (10..20).map(SecondTime::new);
        client.enqueue_all(more).await.unwrap();
        node.wait_until_ran(20).await;
        node.shut_down_with_nothing_left(&redis).await;
    }
}

macro_rules! survives {
    ($($name:ident: $kind:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                survives(Kind::$kind).await;
            }
        )*
    };
}

survives! {
    a_fetch_may_be_lost: Fetch,
    a_waiting_fetch_may_be_lost: Wait,
    a_settle_may_be_lost: Settle,
    a_poll_of_the_schedule_may_be_lost: Poll,
    a_look_for_due_jobs_may_be_lost: Due,
    a_promotion_may_be_lost: Promote,
    a_heartbeat_may_be_lost: Heartbeat,
    a_registration_may_be_lost: Register,
    an_exchange_may_be_lost: Exchange,
    a_restore_may_be_lost: Restore,
    a_look_at_the_jobs_in_progress_may_be_lost: Page,
}

#[tokio::test]
async fn an_enqueue_that_may_be_lost_says_so_and_is_not_repeated() {
    let redis = RedisServer::start();
    let mut node = Node::start(&redis).await;
    for (number, loss) in (0..).zip([Loss::Reply, Loss::HalfOfTheReply, Loss::Request]) {
        let push = |command: &RedisCommand| command.name() == "LPUSH";
        match loss {
            Loss::Request => node.proxy.lose_request(push),
            Loss::Reply => node.proxy.lose_reply(push),
            Loss::HalfOfTheReply => node.proxy.tear_reply(push),
        }
        let error = node
            .verk
            .enqueue(SecondTime::new(number))
            .await
            .unwrap_err();
        assert!(error.may_be_stored() && error.jid().is_some(), "{loss:?}");
    }
    node.wait_until_ran(2).await;
    assert_eq!(node.states.log.entries().len(), 2, "each once");
    node.shut_down_with_nothing_left(&redis).await;
}

#[tokio::test]
async fn commands_that_arrive_after_their_time_out_do_no_harm() {
    let redis = RedisServer::start();
    let proxy = CuttingProxy::start(&redis);
    let config = RedisConfig::new(proxy.url())
        .connect_timeout(Duration::from_secs(2))
        .response_timeout(Duration::from_secs(1));
    let configure = |builder: VerkBuilder| builder.redis(config).heartbeat(Duration::from_secs(1));
    let mut node = Node {
        proxy,
        ..Node::build(&redis, configure).await
    };
    node.verk.start().unwrap();
    for round in 0..3 {
        let jobs = (round * 20..(round + 1) * 20).map(SecondTime::new);
        node.verk.client().enqueue_all(jobs).await.unwrap();
        // Every reply is later than the time-out, but every command arrives. The first call waits
        // for its reply, the second for a connection: so long that the heartbeat of the node
        // expires.
        node.proxy.set_delay(Duration::from_millis(1500));
        for _ in 0..2 {
            node.verk.storage().server_time().await.unwrap_err();
        }
        node.proxy.set_delay(Duration::ZERO);
        node.wait_until_ran((round + 1) * 20).await;
    }
    node.shut_down_with_nothing_left(&redis).await;
}

#[tokio::test]
async fn a_server_that_refuses_for_a_while_costs_no_job_and_no_run() {
    let redis = RedisServer::start();
    let mut node = Node::start(&redis).await;
    let refuse: [(&[&str], &[&str]); 3] = [
        (
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        (
            &["REPLICAOF", "127.0.0.1", "1"],
            &["REPLICAOF", "NO", "ONE"],
        ),
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
        ),
    ];
    for (round, (begin, end)) in (0..).zip(refuse) {
        let jobs = (round * 20..(round + 1) * 20).map(SecondTime::new);
        node.verk.client().enqueue_all(jobs).await.unwrap();
        redis.command(begin);
        let refused = async { while node.verk.enqueue(SecondTime::new(0)).await.is_ok() {} };
        within(PATIENCE, refused).await;
        redis.command(end);
        node.wait_until_ran((round + 1) * 20).await;
    }
    node.shut_down_with_nothing_left(&redis).await;
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced() {
    let redis = RedisServer::start();
    let mut node = Node::start(&redis).await;
    for round in 0..3 {
        let jobs = (round * 20..(round + 1) * 20).map(SecondTime::new);
        node.verk.client().enqueue_all(jobs).await.unwrap();
        redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        node.wait_until_ran((round + 1) * 20).await;
    }
    node.shut_down_with_nothing_left(&redis).await;
}

#[tokio::test]
async fn the_outcome_of_a_lost_run_does_not_end_the_next_run_of_the_same_job() {
    let mut it = Fixture::in_real_time(|builder| builder.queue("default", 5)).await;
    it.verk.enqueue(Patient::new()).await.unwrap();
    it.verk.start().unwrap();
    it.wait_for_started(1).await;
    // An operator puts it back, and the same node fetches the same bytes.
    let inprogress = Inprogress {
        queue: queue_name("default"),
        node: it.storage.nodes().await.unwrap().remove(0).id,
    };
    let held = it
        .storage
        .inprogress(&inprogress, ALL)
        .await
        .unwrap()
        .remove(0);
    let to = Target::Requeue;
    it.storage
        .settle(&inprogress, &[Settlement::new(held, to)])
        .await;
    it.wait_for_started(1).await;
    // The list is compared before what was fetched then starts.
    it.storage.faults().lose_reply(Operation::Dequeue);
    it.verk.enqueue(Fleeting::new()).await.unwrap();
    it.wait_for_finished(1).await;

    for lost in [true, false] {
        it.gate.open_once();
        let was_lost = it.wait_for(|event| match event {
            Event {
                what: EventKind::JobLost,
                ..
            } => Some(true),
            Event {
                what: EventKind::JobFinished { .. },
                job: Some(job),
                ..
            } if job.class() == "Patient" => Some(false),
            _ => None,
        });
        assert_eq!(was_lost.await, lost);
    }
    it.verk.shutdown().await;
    it.assert_empty().await;
}

/// A primary, and a replica that has all of it.
async fn primary_and_replica() -> (RedisServer, RedisServer) {
    let primary = RedisServer::builder()
        .tcp()
        .setting("repl-diskless-sync-delay", "0")
        .start();
    let replica = RedisServer::start();
    let port = primary.url().rsplit(':').next().unwrap().to_owned();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    (primary, replica)
}

/// Waits until the replica answers the same as the primary.
async fn replicated(primary: &RedisServer, replica: &RedisServer, question: &[&str]) {
    until(|| primary.command(question) == replica.command(question)).await;
}

fn lists(server: &RedisServer) -> (i64, i64) {
    let script = "local n = 0 for _, key in ipairs(redis.call('KEYS', 'inprogress:*')) do n = n + redis.call('LLEN', key) end return n";
    let queued = server.command(&["LLEN", "queue:default"]).as_integer();
    let held = server.command(&["EVAL", script, "0"]).as_integer();
    (queued.unwrap(), held.unwrap())
}

async fn until_lists_are(server: &RedisServer, queued: i64, held: i64) {
    until(|| lists(server) == (queued, held)).await;
}

#[tokio::test]
async fn after_a_failover_jobs_that_the_replica_never_saw_fetched_come_again() {
    let (primary, replica) = primary_and_replica().await;
    // Long before the list is read in any case.
    let heartbeat = Duration::from_secs(10);
    let mut node = Node::build(&primary, |builder| builder.heartbeat(heartbeat)).await;
    let jobs = (0..20).map(HeldBack::new);
    node.verk.client().enqueue_all(jobs).await.unwrap();
    until_lists_are(&replica, 20, 0).await;
    replicated(&primary, &replica, &["EXISTS", "verk_nodes"]).await;
    // From here on, what the primary does is lost.
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    let times = calls(&primary, "time");
    node.verk.start().unwrap();
    // Its heartbeat, which asks for the time, knows the primary.
    until(|| calls(&primary, "time") > times).await;
    until_lists_are(&primary, 10, 10).await;
    // The node knows of them.
    for _ in 0..10 {
        wait_for(&mut node.events, |event| {
            matches!(event.what, EventKind::JobStarted).then_some(())
        })
        .await;
    }
    primary.stop();
    node.proxy.lead_to(&replica);
    // Those that run are not the node's any more, and nothing was sent that could fail.
    for _ in 0..10 {
        wait_for(&mut node.events, |event| {
            matches!(event.what, EventKind::JobLost).then_some(())
        })
        .await;
    }
    node.states.gate.open();
    node.wait_until_ran(20).await;
    node.shut_down_with_nothing_left(&replica).await;
}

#[tokio::test]
async fn after_a_failover_jobs_whose_end_the_replica_never_saw_come_again() {
    let (primary, replica) = primary_and_replica().await;
    let mut node = Node::start(&primary).await;
    let jobs = (0..20).map(HeldBack::new);
    node.verk.client().enqueue_all(jobs).await.unwrap();
    until_lists_are(&replica, 10, 10).await;
    replica.command(&["REPLICAOF", "NO", "ONE"]);
    for _ in 0..5 {
        node.states.gate.open_once();
    }
    // Five are done, and five others were fetched: the replica knows neither.
    until_lists_are(&primary, 5, 10).await;
    primary.stop();
    node.proxy.lead_to(&replica);
    node.states.gate.open();
    node.wait_until_ran(20).await;
    until_lists_are(&replica, 0, 0).await;
    node.shut_down_with_nothing_left(&replica).await;
}
