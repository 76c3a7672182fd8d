//! The heartbeat of one node, on a connection for heartbeats alone: [`RedisHeartbeat`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bb8_redis::redis::{self, Cmd, Value};
use tokio::runtime::Handle;
use verk_core::{
    StorageError,
    names::NodeId,
    storage::{Beat, Heartbeat},
};

use crate::{
    connect::{
        asking::Asking,
        fleet::For,
        link::Link,
        pool::{Connection, Pool},
        reply,
        scripts::{self, Arg, arg, milliseconds},
        server,
    },
    error::{Failure, redirect::Redirect},
    keys::Key,
};

const BEAT: &str = "send a heartbeat";

/// How long what a node said about itself is kept after its last heartbeat, in seconds.
pub(crate) const INFO_LASTS: u32 = 24 * 60 * 60;

/// The most nodes, and the most paused queues, that a heartbeat returns: so many that it stays
/// small. With more, the node asks for them by itself.
const MOST_MEMBERS: usize = 100;

/// Renews the keys of a node that have a time to live.
#[derive(Debug)]
pub(crate) struct RedisHeartbeat {
    link: Arc<Link>,
    keys: [Key; 5],
    args: [Arg<'static>; 4],
    /// The nodes that were on the list at the last heartbeat, sorted. The next one looks for their
    /// heartbeats. Empty if there were too many.
    nodes: Vec<NodeId>,
    /// Opened in the runtime of the heartbeat, and opened again at the next heartbeat after an
    /// error.
    connection: Option<Connection>,
    /// What a cell uses instead: one connection to each primary, for the heartbeats of all cells in
    /// this runtime.
    shared: Option<Pool>,
    asking: Asking,
}

impl RedisHeartbeat {
    pub(crate) async fn open(
        link: Arc<Link>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Self, StorageError> {
        let shared = Handle::try_current()
            .ok()
            .and_then(|runtime| Pool::shared(&link.connector, For::Heartbeats, &runtime));
        let mut heartbeat = Self {
            keys: [
                link.keys.heartbeat(node),
                link.keys.name(node),
                link.keys.node_info(node),
                link.keys.nodes(),
                link.keys.paused(),
            ],
            args: [
                arg(milliseconds(ttl)),
                arg(node),
                arg(INFO_LASTS),
                arg(MOST_MEMBERS),
            ],
            nodes: Vec::new(),
            asking: Asking::new(link.connector.clone()),
            link,
            connection: None,
            shared,
        };
        heartbeat
            .connect()
            .await
            .map_err(|failure| failure.during("open a heartbeat"))?;
        Ok(heartbeat)
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        if let Some(pool) = &self.shared {
            return pool.get().await;
        }
        match &self.connection {
            Some(connection) if !connection.is_broken() => Ok(connection.clone()),
            _ => {
                let connected = self.link.connector.connect().await;
                let connection = connected.map_err(Failure::not_sent)?;
                self.connection = Some(connection.clone());
                Ok(connection)
            }
        }
    }

    async fn try_beat(&mut self) -> Result<Beat, Failure> {
        match self.beat_at_once().await {
            Err(failure) if self.is_moving(&failure) => self.beat_by_key().await,
            beat => beat,
        }
    }

    /// Whether a server refused the script because the slot of its keys is being moved.
    fn is_moving(&self, failure: &Failure) -> bool {
        self.link.connector.slot().is_some()
            && matches!(
                failure.redirect(),
                Some(Redirect::Ask(_) | Redirect::TryAgain)
            )
    }

    /// Renews each key by itself, wherever it is: a migration that lasts longer than the time to
    /// live would end the registrations of all nodes.
    ///
    /// The name is not renewed in the same step in which it was read. If the claim ends between the
    /// two, and another node makes one, that claim lasts longer by the time since it was made.
    async fn beat_by_key(&mut self) -> Result<Beat, Failure> {
        let [alive, name, info, ..] = &self.keys;
        let [ttl, node, info_lasts, _] = &self.args;
        let renew = |name: &str, key: &Key, time: &Arg<'_>| {
            let mut command = redis::cmd(name);
            command.arg(key).arg(&**time);
            command
        };
        let beat = renew("PEXPIRE", alive, ttl);
        let renew_info = renew("EXPIRE", info, info_lasts);
        let renew_name = renew("PEXPIRE", name, ttl);
        let mut read_name = redis::cmd("GET");
        read_name.arg(name);
        let node = node.to_vec();
        let alive = reply::integer(self.query_key(&beat).await?)? == 1;
        if alive {
            self.query_key(&renew_info).await?;
            // A key of another program may have this name.
            if let Ok(Value::BulkString(holder)) = self.query_key(&read_name).await
                && holder == node
            {
                self.query_key(&renew_name).await?;
            }
        }
        self.nodes.clear();
        let mut connection = self.connect().await?;
        let mut facts = redis::pipe();
        facts.cmd("TIME");
        for section in ["server", "replication"] {
            facts.cmd("INFO").arg(section);
        }
        let [time, server, replication] =
            <[_; 3]>::try_from(connection.query_all(&facts).await?)
                .map_err(|_| Failure::unexpected_reply("three replies"))?;
        let [seconds, microseconds] = <[Value; 2]>::try_from(reply::array(time?)?)
            .map_err(|_| Failure::unexpected_reply("a time of day"))?;
        let fact = |info: Result<Value, Failure>, name| {
            let info = info.and_then(reply::text).unwrap_or_default();
            server::field(&info, name).unwrap_or_default().to_owned()
        };
        Ok(Beat {
            alive,
            server_time: reply::time(seconds, microseconds)?,
            // As the script says it, so that the end of a migration to here changes nothing.
            server: format!("{} {}", fact(server, "run_id"), fact(replication, "role")),
            all_alive: false,
            paused: None,
        })
    }

    /// Sends a command of one key to the server that has it now.
    async fn query_key(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let reply = self.connect().await?.query(command).await;
        self.asking.follow(command, reply).await
    }

    async fn beat_at_once(&mut self) -> Result<Beat, Failure> {
        let mut connection = self.connect().await?;
        let mut keys = self.keys.to_vec();
        keys.extend(self.nodes.iter().map(|node| self.link.keys.heartbeat(node)));
        let reply = scripts::HEARTBEAT
            .run(&mut connection, &keys, &self.args)
            .await?;
        let [alive, seconds, microseconds, server, beating, nodes, paused] = reply::array(reply)?
            .try_into()
            .map_err(|_| Failure::unexpected_reply("a heartbeat with the time of day"))?;
        let nodes = node_ids(nodes);
        let all_beat = reply::count(beating)? == self.nodes.len();
        let all_alive = all_beat && !nodes.is_empty() && nodes == self.nodes;
        self.nodes = nodes;
        Ok(Beat {
            alive: reply::integer(alive)? == 1,
            server_time: reply::time(seconds, microseconds)?,
            server: reply::text(server)?,
            all_alive,
            paused: (reply::queue_names(paused).ok()).map(|queues| queues.into_iter().collect()),
        })
    }
}

/// The members of the list of nodes, sorted; none if they are not known.
fn node_ids(members: Value) -> Vec<NodeId> {
    let ids = reply::payloads(members).unwrap_or_default();
    let texts = ids.iter().filter_map(|id| std::str::from_utf8(id).ok());
    let mut ids: Vec<NodeId> = texts.map(NodeId::from).collect();
    ids.sort();
    ids
}

#[async_trait]
impl Heartbeat for RedisHeartbeat {
    async fn beat(&mut self) -> Result<Beat, StorageError> {
        self.try_beat()
            .await
            .map_err(|failure| failure.during(BEAT))
    }
}
