//! The servers that have the jobs, one or those of a cluster: [`Servers`].

use std::{
    slice, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use verk_testing::{RedisCluster, RedisServer};

use crate::{
    lab::Named,
    server::{Activity, Info, count_sent},
};

/// The hash tag of all keys that are in one slot.
const TAG: &str = "{bench}";
/// How long replicas may take to get what their primaries had.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How often the tool checks whether they have it.
const LOOK: Duration = Duration::from_millis(5);

/// How many servers there are, and how the jobs are spread over them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topology {
    /// Its name in the results.
    pub(crate) name: &'static str,
    /// Over how many slots of a cluster the queues are spread; `None` for one server.
    pub(crate) cells: Option<usize>,
    /// Whether each primary has a replica.
    pub(crate) replicas: bool,
}

impl Named for Topology {
    fn name(&self) -> &str {
        self.name
    }
}

/// What saves nothing, and ends when dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    cells: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Server(RedisServer),
    Cluster(RedisCluster),
}

/// A queue that has jobs, and where they are.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) queue: String,
    pub(crate) cell: String,
    /// By number, from 0.
    pub(crate) primary: usize,
}

/// What all servers did so far.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// In the order of the servers.
    pub(crate) primaries: Vec<Seen>,
    pub(crate) replicas: Vec<Seen>,
}

/// What one of them did so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) activity: Activity,
    /// How many clients are connected.
    pub(crate) connections: f64,
    /// How often a replica had to copy everything.
    copies: f64,
}

impl Servers {
    pub(crate) fn start(topology: Topology) -> Self {
        let place = match topology.cells {
            None => Place::Server(RedisServer::builder().tcp().start()),
            Some(_) if topology.replicas => Place::Cluster(RedisCluster::start()),
            Some(_) => Place::Cluster(RedisCluster::builder().without_replicas().start()),
        };
        Self {
            cells: topology.cells.unwrap_or(1),
            place,
        }
    }

    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Server(server) => server.url(),
            Place::Cluster(cluster) if self.cells == 1 => cluster.url(),
            Place::Cluster(cluster) => format!("{}?cells={}", cluster.url(), self.cells),
        }
    }

    /// What must come before every key.
    pub(crate) fn prefix(&self) -> Option<&'static str> {
        let needs_tag = matches!(self.place, Place::Cluster(_)) && self.cells == 1;
        needs_tag.then_some(TAG)
    }

    fn all(&self) -> &[RedisServer] {
        match &self.place {
            Place::Server(server) => slice::from_ref(server),
            Place::Cluster(cluster) => cluster.servers(),
        }
    }

    fn primaries(&self) -> Result<Vec<&RedisServer>> {
        let mut primaries = Vec::new();
        for server in self.all() {
            if Info::of(server, "replication")?.text("role")? == "master" {
                primaries.push(server);
            }
        }
        Ok(primaries)
    }

    /// Asks each server once.
    pub(crate) fn look(&self) -> Result<Look> {
        let (mut primaries, mut replicas) = (Vec::new(), Vec::new());
        for server in self.all() {
            let info = Info::of(server, "everything")?;
            let seen = Seen {
                activity: info.activity()?,
                connections: info.connections()?,
                copies: info.number("sync_full")?,
            };
            match info.text("role")? {
                "master" => primaries.push(seen),
                _ => replicas.push(seen),
            }
        }
        Ok(Look {
            primaries,
            replicas,
        })
    }

    /// Waits until each replica has what its primary has now.
    pub(crate) fn wait_for_replicas(&self) -> Result<()> {
        let mut offsets = Vec::new();
        for primary in self.primaries()? {
            let offset = Info::of(primary, "replication")?.number("master_repl_offset")?;
            offsets.push((primary.port().to_string(), offset));
        }
        let until = Instant::now() + CATCH_UP;
        for server in self.all() {
            loop {
                let info = Info::of(server, "replication")?;
                if info.text("role")? == "master" {
                    break;
                }
                let port = info.text("master_port")?;
                let primary = offsets.iter().find(|(other, _)| other == port);
                let (_, offset) = primary.context("a replica of an unknown primary")?;
                if info.number("slave_repl_offset")? >= *offset {
                    break;
                }
                ensure!(Instant::now() < until, "a replica is too slow");
                thread::sleep(LOOK);
            }
        }
        Ok(())
    }

    /// Counts for a while the commands that clients send to all primaries, a script as one.
    pub(crate) fn count_sent(&self, watch: Duration) -> Result<usize> {
        let primaries = self.primaries()?.into_iter();
        let addresses: Vec<String> = primaries
            .map(|primary| format!("127.0.0.1:{}", primary.port()))
            .collect();
        thread::scope(|scope| {
            let count = |address| scope.spawn(move || count_sent(address, watch));
            let counts: Vec<_> = addresses.iter().map(|address| count(address)).collect();
            let counts = counts.into_iter();
            counts
                .map(|count| count.join().unwrap_or_else(|_| Err(anyhow!("it panicked"))))
                .sum()
        })
    }

    /// How often a node is registered: each registers in every cell.
    pub(crate) fn registrations(&self) -> Result<i64> {
        let mut sum = 0;
        for primary in self.primaries()? {
            for key in keys(primary, "*verk_nodes")? {
                let nodes = primary.command(&["SCARD", &key]).as_integer();
                sum += nodes.context("not a set")?;
            }
        }
        Ok(sum)
    }

    /// The queues that have jobs, of several cells.
    pub(crate) fn queues(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for (primary, server) in self.primaries()?.into_iter().enumerate() {
            for key in keys(server, "{*}:queue:*")? {
                // Such as `{3.57383}:queue:bench-0`.
                let parts = key.strip_prefix('{').and_then(|key| key.split_once('.'));
                let (cell, rest) = parts.context("a key without a cell")?;
                let (_, queue) = rest.split_once("}:queue:").context("a key of no queue")?;
                found.push(Found {
                    queue: queue.to_owned(),
                    cell: cell.to_owned(),
                    primary,
                });
            }
        }
        Ok(found)
    }
}

fn keys(server: &RedisServer, pattern: &str) -> Result<Vec<String>> {
    let keys = server.command(&["KEYS", pattern]).into_array();
    let keys = keys.context("no keys")?.into_iter();
    let keys =
        keys.filter_map(|key| Some(String::from_utf8_lossy(&key.into_bytes()?).into_owned()));
    Ok(keys.collect())
}

impl Look {
    /// What they did since an earlier look. Fails if a replica had to copy everything meanwhile,
    /// which costs more than the changes.
    pub(crate) fn since(&self, before: &Self) -> Result<Spent> {
        let differences = |after: &[Seen], before: &[Seen]| {
            let pairs = after.iter().zip(before);
            let pairs = pairs.map(|(after, before)| {
                ensure!(after.copies == before.copies, "a replica copied everything");
                Ok(Activity {
                    commands: after.activity.commands - before.activity.commands,
                    reads: after.activity.reads - before.activity.reads,
                    cpu: after.activity.cpu - before.activity.cpu,
                })
            });
            pairs.collect::<Result<Vec<_>>>()
        };
        Ok(Spent {
            primaries: differences(&self.primaries, &before.primaries)?,
            replicas: differences(&self.replicas, &before.replicas)?,
        })
    }

    /// How many connections clients have to all primaries, and to the one that has the most.
    pub(crate) fn connections(&self) -> (f64, f64) {
        let connections = self.primaries.iter().map(|seen| seen.connections);
        (connections.clone().sum(), connections.fold(0.0, f64::max))
    }
}

/// What the servers did between two looks.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    primaries: Vec<Activity>,
    replicas: Vec<Activity>,
}

impl Spent {
    /// Seconds of CPU of all primaries.
    pub(crate) fn cpu(&self) -> f64 {
        cpu(&self.primaries)
    }

    /// The same of all replicas; `None` without replicas.
    pub(crate) fn replica_cpu(&self) -> Option<f64> {
        (!self.replicas.is_empty()).then(|| cpu(&self.replicas))
    }

    /// The part of the CPU of all primaries that the busiest took; `None` of one alone.
    pub(crate) fn busiest(&self) -> Option<f64> {
        let most = (self.primaries.iter()).fold(0.0, |most, one| f64::max(most, one.cpu));
        (self.primaries.len() > 1).then(|| most / self.cpu())
    }

    /// How many commands the primaries ran, except so many of each.
    pub(crate) fn commands_except(&self, ours: f64) -> f64 {
        let commands = self.primaries.iter().map(|one| one.commands - ours);
        commands.sum()
    }

    /// How often the primaries read from a connection.
    pub(crate) fn reads(&self) -> f64 {
        self.primaries.iter().map(|one| one.reads).sum()
    }
}

fn cpu(servers: &[Activity]) -> f64 {
    servers.iter().map(|one| one.cpu).sum()
}
