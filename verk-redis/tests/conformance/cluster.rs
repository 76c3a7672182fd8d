//! The suite in slots of a cluster, and in cells while the other cells are under load.

use std::{
    env,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::runtime;
use tokio_util::sync::CancellationToken;
use verk_core::{
    StorageError,
    config::ScheduleKeys,
    names::NodeId,
    storage::{
        DequeueRequest, Dequeued, Inprogress, JobStore, NodeStore, QueueConnection, Settlement,
        StoredNodeInfo, Target,
    },
    time::{Clock, SystemClock},
};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{
    CuttingProxy, RedisCluster, RedisClusterBuilder, RedisServer, conformance::Case,
};

use super::{CONNECT_TIMEOUT, RedisHarness, Server, allow};

/// The suite in a slot of each primary of one cluster, as the user of the guide. In one test,
/// because a cluster takes seconds to start.
#[test]
fn in_a_slot_of_a_cluster() {
    let prefixes = ["{b}:", "{c}:", "{a}:"];
    let cluster = Arc::new(behind_proxies(RedisCluster::builder(), &prefixes));
    let places = prefixes.map(|prefix| Place {
        cluster: Arc::clone(&cluster),
        prefix,
        cell: None,
        _others: Vec::new(),
    });
    let failed = run(&places, Cases::Shared);
    assert!(failed.is_empty(), "{failed:?}");
}

/// What is before every key of each cell.
const CELLS: [&str; 16] = [
    "shop:{0.18298}:",
    "shop:{1.19937}:",
    "shop:{2.1796}:",
    "shop:{3.57383}:",
    "shop:{4.2565}:",
    "shop:{5.19574}:",
    "shop:{6.8019}:",
    "shop:{7.2321}:",
    "shop:{8.1048}:",
    "shop:{9.59487}:",
    "shop:{10.250}:",
    "shop:{11.1620}:",
    "shop:{12.524}:",
    "shop:{13.1974}:",
    "shop:{14.2297}:",
    "shop:{15.7838}:",
];

/// The suite in cells of a cluster, also as that user, while jobs run in all other cells. Three
/// cells share the cases. With `VERK_CONFORMANCE_CELLS=all` each of the 16 cells runs all of them,
/// and with `VERK_CONFORMANCE_CELLS=4,5` these do.
#[test]
fn in_a_cell_of_a_cluster() {
    let (cells, cases) = match env::var("VERK_CONFORMANCE_CELLS") {
        Err(_) => (vec![2, 1, 15], Cases::Shared),
        Ok(all) if all == "all" => ((0..CELLS.len()).collect(), Cases::Each),
        Ok(cells) => {
            let cells = cells.split(',').map(|cell| cell.parse().expect("a cell"));
            (cells.collect(), Cases::Each)
        }
    };
    let mut failed = Vec::new();
    for cells in cells.chunks(3) {
        let places: Vec<_> = cells.iter().map(|cell| cell_of_a_cluster(*cell)).collect();
        failed.extend(run(&places, cases));
        println!("cells {cells:?} are done");
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// In a cluster of its own, because the connections to a cell also need the other primaries.
fn cell_of_a_cluster(cell: usize) -> Place {
    let prefix = CELLS[cell];
    let builder = RedisCluster::builder().without_replicas();
    let cluster = Arc::new(behind_proxies(builder, &[prefix]));
    let owner = cluster.owner(cluster.slot_of(prefix)).port();
    let mut others: Vec<_> = cluster.servers().iter().collect();
    others.retain(|server| server.port() != owner);
    Place {
        _others: others.into_iter().map(proxy).collect(),
        cluster,
        prefix,
        cell: Some(cell),
    }
}

/// A slot of a cluster whose owner no other test uses meanwhile.
struct Place {
    cluster: Arc<RedisCluster>,
    /// Before every key.
    prefix: &'static str,
    /// Its number, if it is one of 16 cells.
    cell: Option<usize>,
    /// In front of the other primaries, if they are needed.
    _others: Vec<CuttingProxy>,
}

fn behind_proxies(builder: RedisClusterBuilder, prefixes: &[&str]) -> RedisCluster {
    let cluster = builder
        // So the servers name the proxies to clients, and their own addresses to each other.
        .setting("cluster-announce-hostname", PROXIES)
        .setting("cluster-preferred-endpoint-type", "hostname")
        // They tell each other of that in each half of this time.
        .setting("cluster-node-timeout", "1000")
        .start();
    for server in cluster.servers() {
        allow(server, prefixes);
        let known = || server.command(&["CLUSTER", "NODES"]);
        while format!("{:?}", known()).matches(PROXIES).count() < cluster.servers().len() {
            thread::sleep(Duration::from_millis(5));
        }
    }
    for server in cluster.servers() {
        server.command(&["CONFIG", "SET", "cluster-node-timeout", "15000"]);
    }
    cluster
}

/// The address of the proxies in front of the servers of a cluster, each at the port of its server.
const PROXIES: &str = "127.0.0.2";

fn proxy(server: &RedisServer) -> CuttingProxy {
    let address = SocketAddr::new(PROXIES.parse().expect("an address"), server.port());
    CuttingProxy::start_at(server, address)
}

/// Which cases a place runs.
#[derive(Clone, Copy)]
enum Cases {
    /// Each case runs in one of the places.
    Shared,
    /// Each place runs all.
    Each,
}

/// Runs the cases in these places, and returns those that failed.
fn run(places: &[Place], which: Cases) -> Vec<String> {
    let cases: Vec<Case<RedisHarness>> = verk_testing::conformance_cases!(RedisHarness);
    assert!(cases.len() > 200, "{}", cases.len());
    let shared = Mutex::new(cases.iter());
    let failed = Mutex::new(Vec::new());
    let run_one = |place: &Place, case: &Case<RedisHarness>| {
        let run = || run_in(place, case);
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            let name = format!("{} in {}", case.name(), place.prefix);
            failed.lock().expect("the names").push(name);
        }
    };
    thread::scope(|scope| {
        for place in places {
            let (run_one, shared, cases) = (&run_one, &shared, &cases);
            let over = Arc::new(AtomicBool::new(false));
            let load = (place.cell).map(|cell| {
                let over = Arc::clone(&over);
                scope.spawn(move || under_load(&place.cluster, cell, &over))
            });
            scope.spawn(move || {
                match which {
                    Cases::Each => cases.iter().for_each(|case| run_one(place, case)),
                    Cases::Shared => loop {
                        let case = shared.lock().expect("the cases").next();
                        let Some(case) = case else { break };
                        run_one(place, case);
                    },
                }
                over.store(true, Ordering::Relaxed);
                if let Some(load) = load {
                    let ran = load.join().expect("a load that does not panic");
                    println!(
                        "{}: jobs that ran in the other cells: {ran:?}",
                        place.prefix
                    );
                    assert!(ran.iter().all(|ran| *ran >= JOBS), "{ran:?}");
                }
            });
        }
    });
    failed.into_inner().expect("the names")
}

fn run_in(place: &Place, case: &Case<RedisHarness>) {
    let mut runtime = runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let harness = RedisHarness::in_a_cluster(place).await;
        case.run(&harness).await;
    });
}

/// How many jobs are enqueued in a cell at once, and then fetched. No cell ran fewer at the end.
const JOBS: usize = 10;

/// How long the load rests after all cells had a turn, so that the suite gets on.
const REST: Duration = Duration::from_millis(200);

/// Enqueues, fetches and settles in all cells but this one, until it is over. Returns how many jobs
/// ran in each of them.
///
/// A case may cut the connections to the primary of the cell, or fill its memory. Then this
/// continues with what works.
fn under_load(cluster: &RedisCluster, but: usize, over: &AtomicBool) -> Vec<usize> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let config = RedisConfig::new(format!("{}/?cells=16", cluster.url()))
            .prefix("shop".to_owned())
            .connect_timeout(CONNECT_TIMEOUT);
        // The first case makes the proxy of the primary. It may cut connections.
        let mut cells = loop {
            match RedisStorage::connect_cells(config.clone()).await {
                Ok(cells) => break cells,
                Err(_) => rest().await,
            }
        };
        cells.remove(but);
        let mut busy: Vec<_> = cells.into_iter().map(Busy::new).collect();
        while !over.load(Ordering::Relaxed) || busy.iter().any(|cell| cell.ran < JOBS) {
            for cell in &mut busy {
                if cell.turn().await.is_err() {
                    cell.connection = None;
                }
            }
            rest().await;
        }
        busy.into_iter().map(|cell| cell.ran).collect()
    })
}

async fn rest() {
    let clock: &dyn Clock = &SystemClock;
    clock.sleep(REST).await;
}

/// A cell under load.
struct Busy {
    cell: RedisStorage,
    connection: Option<Box<dyn QueueConnection>>,
    ran: usize,
}

impl Busy {
    fn new(cell: RedisStorage) -> Self {
        Self {
            cell,
            connection: None,
            ran: 0,
        }
    }

    async fn turn(&mut self) -> Result<(), StorageError> {
        let queue = "busy".parse().expect("a name");
        if self.connection.is_none() {
            let node = NodeId::register("busy").expect("a node id");
            let info = StoredNodeInfo::default();
            let ttl = Duration::from_secs(3600);
            self.cell.register(&node, &[], ttl, &info).await?;
            let list = Inprogress {
                queue: "busy".parse().expect("a name"),
                node,
            };
            self.connection = Some(self.cell.open_queue(&list).await?);
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let jobs = [const { Bytes::from_static(b"{}") }; JOBS];
        self.cell.enqueue(&queue, &jobs).await?;
        let request = DequeueRequest {
            max_jobs: JOBS,
            max_bytes: 1_000_000,
            prefetched: 0,
            wait: Duration::ZERO,
            interrupt: CancellationToken::new(),
        };
        let Dequeued::Jobs(jobs) = connection.dequeue(request.clone()).await? else {
            // The case that ended just now has removed the node.
            self.connection = None;
            return Ok(());
        };
        let acks = jobs
            .into_iter()
            .map(|job| Settlement::new(job, Target::Ack));
        let acks: Vec<_> = acks.collect();
        self.ran += acks.len();
        let (_settled, rest) = connection.settle_and_dequeue(&acks, &request).await;
        rest.map(drop)
    }
}

impl RedisHarness {
    async fn in_a_cluster(place: &Place) -> Self {
        let (cluster, prefix) = (&place.cluster, place.prefix);
        let owner = cluster.owner(cluster.slot_of(prefix));
        owner.command(&["CONFIG", "SET", "maxmemory", "0"]);
        owner.command(&["FLUSHALL"]);
        owner.command(&["ACL", "LOG", "RESET"]);
        let proxy = proxy(owner);
        let url = cluster.url().replace("://", "://verk:password@");
        let mut servers = cluster.servers().iter();
        let server = servers.position(|server| server.port() == owner.port());
        let server = Server::InCluster(Arc::clone(cluster), server.expect("its place"));
        let Some(cell) = place.cell else {
            return Self::connect(server, proxy, &url, prefix, ScheduleKeys::Shared, 16).await;
        };
        let config = RedisConfig::new(format!("{url}/?cells=16"))
            .prefix("shop".to_owned())
            .connect_timeout(CONNECT_TIMEOUT);
        let cells = RedisStorage::connect_cells(config).await.expect("connect");
        Self {
            server,
            proxy,
            storage: cells[cell].clone(),
            prefix,
            schedule_keys: ScheduleKeys::Shared,
            blocking_connections: 16,
        }
    }
}
