//! The cells of one cluster, which share connections: [`Fleet`].
//!
//! Each primary has one pool in each tokio runtime, for all cells whose slots it has, and their
//! enqueues are sent together ([`Primaries`]). Who has a slot is found as for one slot: all servers
//! of the URL are asked before each new connection.
//!
//! 1. One answer says who has the slots of all cells. It is kept until the next answer.
//! 2. A request of a cell takes a connection from the pool of the primary that has its slot.
//! 3. If a server says that it does not have the slot, the cell forgets the primary, and its next
//!    request asks first. The other cells stay.
//! 4. If a primary fails, its pool opens new connections, and so asks. When another primary has
//!    the slots, the requests that wait for a connection go there.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bb8_redis::redis::{Client, ConnectionInfo, ErrorKind, RedisError, RedisResult};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::{
    runtime::{self, Handle},
    sync::watch,
};

use crate::{
    config::RedisConfig,
    connect::{
        cluster::{Cluster, slot_of},
        directory::Address,
        endpoint::Endpoint,
        pool::Connector,
        primaries::Primaries,
        server,
        slot::Slot,
    },
    error::{Error, Failure},
};

/// The cells of one cluster.
pub(crate) struct Fleet {
    cluster: Cluster,
    /// Of each cell.
    slots: Vec<u16>,
    /// The time-outs of all connections, and how many were lost.
    base: Connector,
    /// How many connections for commands each primary gets in each runtime.
    pool_size: u32,
    known: watch::Sender<Known>,
    open: Mutex<Vec<(For, runtime::Id, Weak<Primaries>)>>,
}

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// All commands that do not wait.
    Commands,
    /// The heartbeats, which must not wait behind other commands.
    Heartbeats,
}

/// What the servers said last.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Who has the slot of each cell; `None` if nobody has it, or the one that had it does not any
    /// more.
    owners: Vec<Option<Address>>,
    /// How many questions have ended.
    ended: u64,
    /// Why the last one had no answer.
    error: Option<RedisError>,
    /// Whether they are being asked.
    asking: bool,
}

impl Known {
    pub(crate) fn owner(&self, cell: usize) -> Option<&Address> {
        self.owners.get(cell)?.as_ref()
    }

    /// Whether this server has the slot of a cell.
    pub(crate) fn has_cells(&self, server: &Address) -> bool {
        self.owners
            .iter()
            .any(|owner| owner.as_ref() == Some(server))
    }
}

impl Fleet {
    /// The fleet of cells whose configurations differ in their prefix, and the connector of each.
    /// Opens no connection.
    pub(crate) fn new(cells: &[RedisConfig]) -> Result<(Arc<Self>, Vec<Connector>), Error> {
        let base = Connector::new(&cells[0])?;
        let prefixes = cells.iter().map(|cell| cell.prefix.as_deref());
        let slots = prefixes.map(|prefix| slot_of(prefix.unwrap_or_default()));
        let slots: Vec<u16> = slots.collect::<Result<_, _>>()?;
        let Endpoint::Cluster(cluster) = base.endpoint() else {
            return Err(Error::InvalidCells {
                cells: cells.len(),
                reason: "only a cluster has cells at one URL",
            });
        };
        let known = Known {
            owners: vec![None; slots.len()],
            ..Known::default()
        };
        let fleet = Arc::new(Self {
            cluster: cluster.with_slot(slots[0]),
            // A cell uses those of one primary.
            pool_size: cells[0].pool_size.div_ceil(2),
            base: base.clone(),
            known: watch::Sender::new(known),
            open: Mutex::default(),
            slots,
        });
        let connector = |(cell, slot): (usize, &u16)| {
            let endpoint = Endpoint::Cluster(fleet.cluster.with_slot(*slot));
            let slot = Slot::of_cell(*slot, Arc::clone(&fleet), cell);
            fleet.base.with(endpoint, Some(slot))
        };
        let connectors = fleet.slots.iter().enumerate().map(connector).collect();
        Ok((fleet, connectors))
    }

    /// Checks that each slot has a primary, and that each of these can be used.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<(), Error> {
        let unreachable = |slot, error| {
            let address = self.cluster.with_slot(slot).address();
            Error::not_connected(address, self.base.cause(error))
        };
        let first = self.slots[0];
        self.ask()
            .await
            .map_err(|error| unreachable(first, error))?;
        let owners = self.look().owners.clone();
        if let Some(cell) = owners.iter().position(Option::is_none) {
            let slot = self.slots[cell];
            return Err(unreachable(slot, nobody_has(slot)));
        }
        let mut owners: Vec<_> = owners.into_iter().flatten().collect();
        owners.sort();
        owners.dedup();
        let checks: Vec<_> = owners
            .into_iter()
            .map(|owner| check(self.primary(owner)))
            .collect();
        stream::iter(checks)
            .buffer_unordered(CHECKS_AT_ONCE)
            .try_collect()
            .await
    }

    /// What is known.
    pub(crate) fn look(&self) -> watch::Ref<'_, Known> {
        self.known.borrow()
    }

    /// What is known, and each change of it.
    pub(crate) fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// The primary of a cell, for messages.
    pub(crate) fn owner(&self, cell: usize) -> Option<String> {
        self.look().owner(cell).map(shown)
    }

    /// The primary of a cell does not have its slot any more.
    pub(crate) fn forget(&self, cell: usize) {
        self.known.send_if_modified(|known| {
            let owner = known.owners.get_mut(cell);
            owner.is_some_and(|owner| owner.take().is_some())
        });
    }

    /// Waits until the servers have said who has the slots. Calls at the same time get one answer.
    pub(crate) async fn ask(self: &Arc<Self>) -> RedisResult<()> {
        let mut known = self.known.subscribe();
        let (mut begins, mut ended) = (false, 0);
        self.known.send_if_modified(|known| {
            ended = known.ended;
            begins = !std::mem::replace(&mut known.asking, true);
            false
        });
        if begins {
            // In a task, because the calls that wait may be of other runtimes, or be dropped.
            let question = Question {
                fleet: Arc::clone(self),
                answer: Err((ErrorKind::Io, "the tokio runtime of the question ended").into()),
            };
            tokio::spawn(question.ask());
        }
        // The sender lives in `self`, so there is an answer.
        match known.wait_for(|known| known.ended > ended).await {
            Ok(known) => known.error.clone().map_or(Ok(()), Err),
            Err(_) => Ok(()),
        }
    }

    /// Opens connections to one of the primaries.
    pub(crate) fn primary(self: &Arc<Self>, address: Address) -> Connector {
        let endpoint = Endpoint::Primary(Primary {
            fleet: Arc::clone(self),
            address,
        });
        self.base.with(endpoint, None)
    }

    /// How long a request may wait for a connection.
    pub(crate) fn patience(&self) -> Duration {
        self.base.connect_timeout()
    }

    /// The failure of a request for whose cell no primary was found.
    pub(crate) fn no_primary(&self, cell: usize) -> Failure {
        let slot = self.slots.get(cell).copied().unwrap_or_default();
        let address = self.cluster.with_slot(slot).address();
        let error = self.look().error.clone();
        let error = error.unwrap_or_else(|| nobody_has(slot));
        Failure::not_connected(address, self.base.cause(error))
    }

    /// What the cells share in this runtime.
    pub(crate) fn here(self: &Arc<Self>, of: For, runtime: &Handle) -> Arc<Primaries> {
        let mut open = self.open.lock();
        open.retain(|(.., primaries)| primaries.strong_count() > 0);
        let mut known = open.iter();
        let known = known.find(|(other, id, _)| (*other, *id) == (of, runtime.id()));
        if let Some(primaries) = known.and_then(|(.., primaries)| primaries.upgrade()) {
            return primaries;
        }
        let size = match of {
            For::Commands => self.pool_size,
            For::Heartbeats => 1,
        };
        let primaries = Arc::new(Primaries::new(Arc::clone(self), runtime.clone(), size));
        open.push((of, runtime.id(), Arc::downgrade(&primaries)));
        primaries
    }
}

async fn check(connector: Connector) -> Result<(), Error> {
    let connected = connector.connect().await;
    let mut connection = connected
        .map_err(|error| Error::not_connected(connector.address(), connector.cause(error)))?;
    server::check(&connector, &mut connection).await
}

fn nobody_has(slot: u16) -> RedisError {
    let what = "the servers say that none of them has the slot";
    (ErrorKind::Io, what, slot.to_string()).into()
}

/// The address of a server for messages. Its host is what some server said.
fn shown((host, port): &Address) -> String {
    match host.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => format!("{host}:{port}"),
        false => "a host that cannot be shown".to_owned(),
    }
}

/// How many primaries are checked at once.
const CHECKS_AT_ONCE: usize = 8;

/// One question to all servers. Its answer is known when this is dropped.
struct Question {
    fleet: Arc<Fleet>,
    answer: RedisResult<Vec<Option<Address>>>,
}

impl Question {
    async fn ask(mut self) {
        let fleet = &self.fleet;
        let patience = fleet.patience() / 2;
        let answer = fleet.cluster.find_owners(&fleet.slots, patience).await;
        self.answer = answer.map_err(|error| fleet.base.without_password(error));
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.fleet.known.send_modify(|known| {
            known.asking = false;
            known.ended += 1;
            match &self.answer {
                Ok(owners) => {
                    known.owners.clone_from(owners);
                    known.error = None;
                }
                // The primaries that are known may work nevertheless.
                Err(error) => known.error = Some(error.clone()),
            }
        });
    }
}

/// A server that has slots of cells.
pub(crate) struct Primary {
    fleet: Arc<Fleet>,
    address: Address,
}

impl Primary {
    /// The server, if it still has some of the slots.
    pub(crate) async fn find(&self) -> RedisResult<Client> {
        self.fleet.ask().await?;
        if !self.fleet.look().has_cells(&self.address) {
            return Err((ErrorKind::Io, "the server has no slot of a cell any more").into());
        }
        self.fleet.cluster.client(&self.address)
    }

    pub(crate) fn address(&self) -> String {
        shown(&self.address)
    }

    /// How to connect to it, with a meaningless address.
    pub(crate) fn server(&self) -> &ConnectionInfo {
        self.fleet.cluster.owner()
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("cells", &self.slots.len())
            .finish_non_exhaustive()
    }
}
