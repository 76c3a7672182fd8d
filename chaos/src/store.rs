//! Where the jobs of a run are: [`Store`], on one server or in a cluster.

use std::{collections::BTreeSet, sync::OnceLock, thread, time::Duration};

use rustix::process::Pid;
use verk_testing::{CuttingProxy, Migration, RedisCluster, RedisServer};

use crate::{fleet::Fleet, kind::QUEUES};

/// Where the jobs are.
#[derive(Debug)]
pub(crate) enum Store {
    Server(RedisServer),
    Cluster {
        cluster: RedisCluster,
        cells: usize,
        /// The prefix of each cell, once a program of verk has made the cells.
        prefixes: OnceLock<Vec<String>>,
    },
}

/// Where the jobs of a fleet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a server of their own.
    Server,
    /// In so many slots of a cluster, which all processes reach without a proxy.
    Cluster {
        /// How many: one, or several cells.
        cells: usize,
        /// How many jobs wait in a paused queue of one of these slots while everything breaks.
        backlog: usize,
    },
}

impl Place {
    /// Whether it is a cluster.
    #[must_use]
    pub fn is_cluster(self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    /// How many jobs wait in a paused queue.
    #[must_use]
    pub fn backlog(self) -> usize {
        match self {
            Self::Server => 0,
            Self::Cluster { backlog, .. } => backlog,
        }
    }

    /// The queues of the jobs: of several cells, so many that they are in several.
    pub(crate) fn queues(self) -> &'static [&'static str] {
        match self {
            Self::Server | Self::Cluster { cells: 1, .. } => &QUEUES[..1],
            Self::Cluster { .. } => &QUEUES,
        }
    }
}

impl Store {
    pub(crate) fn start(place: Place) -> Self {
        if let Place::Cluster { cells, backlog } = place {
            // A server that moves a long list answers nobody meanwhile. It must not look dead.
            let timeout = if backlog == 0 { "2000" } else { "5000" };
            let cluster = RedisCluster::builder()
                .setting("cluster-node-timeout", timeout)
                // A primary that lost its replica takes no jobs, which would be lost with it.
                .setting("min-replicas-to-write", "1");
            return Self::Cluster {
                cluster: cluster.start(),
                cells,
                prefixes: OnceLock::new(),
            };
        }
        let server = RedisServer::builder()
            .setting("appendonly", "yes")
            .setting("appendfsync", "always")
            .setting("busy-reply-threshold", "50")
            // A long run needs no more disk than a short one.
            .setting("auto-aof-rewrite-min-size", "16mb");
        Self::Server(server.start())
    }

    pub(crate) fn server(&self) -> &RedisServer {
        let prefixes = self.prefixes();
        self.server_of(prefixes.first().map_or("", String::as_str))
    }

    pub(crate) fn server_of(&self, prefix: &str) -> &RedisServer {
        match self {
            Self::Server(server) => server,
            Self::Cluster { cluster, .. } => cluster.owner(cluster.slot_of(prefix)),
        }
    }

    /// What is before every key of each cell, with its colon. Empty while no program of verk has
    /// made the cells.
    pub(crate) fn prefixes(&self) -> Vec<String> {
        match self {
            Self::Server(_) => vec![String::new()],
            Self::Cluster { cells: 1, .. } => vec![format!("{TAG}:")],
            Self::Cluster {
                cluster,
                cells,
                prefixes,
            } => {
                if let Some(known) = prefixes.get() {
                    return known.clone();
                }
                let found = layouts(cluster);
                if found.len() == *cells {
                    return prefixes.get_or_init(|| found).clone();
                }
                Vec::new()
            }
        }
    }

    pub(crate) fn prefix(&self) -> Option<String> {
        match self {
            Self::Cluster { cells: 1, .. } => Some(TAG.to_owned()),
            Self::Server(_) | Self::Cluster { .. } => None,
        }
    }

    pub(crate) fn url(&self, proxy: &CuttingProxy) -> String {
        match self {
            Self::Server(_) => proxy.url().to_owned(),
            Self::Cluster {
                cluster, cells: 1, ..
            } => cluster.url(),
            Self::Cluster { cluster, cells, .. } => format!("{}?cells={cells}", cluster.url()),
        }
    }

    /// The cluster, and the slot of one of the cells.
    fn cluster(&self, random: u64) -> (&RedisCluster, u16) {
        let Self::Cluster { cluster, .. } = self else {
            panic!("a fault of clusters needs --cluster");
        };
        let prefixes = self.prefixes();
        let cell = usize::try_from(random % prefixes.len().max(1) as u64).unwrap_or_default();
        (cluster, cluster.slot_of(&prefixes[cell]))
    }
}

/// The prefix of the keys on a cluster with one cell.
const TAG: &str = "{chaos}";

/// The prefixes of the cells that programs of verk have made.
fn layouts(cluster: &RedisCluster) -> Vec<String> {
    let mut found = BTreeSet::new();
    for server in cluster.servers() {
        let keys = server.command(&["KEYS", "*verk:layout"]).into_array();
        for key in keys.unwrap_or_default() {
            let key = key.into_bytes().unwrap_or_default();
            let key = String::from_utf8_lossy(&key).into_owned();
            found.extend(key.strip_suffix("verk:layout").map(str::to_owned));
        }
    }
    found.into_iter().collect()
}

/// What a cluster can do, to the slot of one of its cells.
impl Fleet {
    pub(crate) fn begin_to_move(&self, random: u64) -> Migration<'_> {
        let (cluster, slot) = self.store.cluster(random);
        cluster.migrate(slot, cluster.other_primary(slot))
    }

    pub(crate) fn cluster(&self) -> &RedisCluster {
        self.store.cluster(0).0
    }

    pub(crate) fn fail_over(&self, random: u64) {
        let (cluster, slot) = self.store.cluster(random);
        cluster.fail_over(slot);
    }

    /// Kills the primary, and starts it again when its replica has taken over. Then it is a
    /// replica.
    ///
    /// The primary takes no writes first, until its replica has all of them. Otherwise the replica
    /// could lack what the primary acknowledged a moment before. Redis allows that loss, so it
    /// would show nothing about verk.
    pub(crate) fn kill_primary(&self, random: u64) {
        let (cluster, slot) = self.store.cluster(random);
        let (primary, replica) = (cluster.owner(slot), cluster.replica(slot));
        primary.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
        while offset(primary) != offset(replica) {
            thread::sleep(Duration::from_millis(1));
        }
        primary.stop();
        let _new = cluster.owner(slot);
        primary.restart();
        let _old = cluster.replica(slot);
    }
}

pub(crate) fn pid(server: &RedisServer) -> Option<Pid> {
    let pid = i32::try_from(server.pid()?).ok()?;
    Pid::from_raw(pid)
}

/// How much of the stream of writes a server has; empty if it does not say so.
fn offset(server: &RedisServer) -> String {
    let info = server.info("replication");
    let mut lines = info.lines();
    let offset = lines.find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.unwrap_or_default().to_owned()
}
