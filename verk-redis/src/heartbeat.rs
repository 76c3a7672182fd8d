//! The heartbeat of one node, on a connection of its own: [`RedisHeartbeat`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use verk_core::{
    StorageError,
    names::NodeId,
    storage::{Beat, Heartbeat},
};

use crate::{
    connect::{
        link::Link,
        pool::Connection,
        reply,
        scripts::{self, Arg, arg, milliseconds},
    },
    error::Failure,
    keys::Key,
};

const BEAT: &str = "send a heartbeat";

/// How long what a node said about itself is kept after its last heartbeat, in seconds.
pub(crate) const INFO_LASTS: u32 = 24 * 60 * 60;

/// Renews the keys of a node that have a time to live.
#[derive(Debug)]
pub(crate) struct RedisHeartbeat {
    link: Arc<Link>,
    keys: [Key; 3],
    args: [Arg<'static>; 3],
    /// Opened in the runtime of the heartbeat, and opened again at the next heartbeat after an
    /// error.
    connection: Option<Connection>,
}

impl RedisHeartbeat {
    pub(crate) async fn open(
        link: Arc<Link>,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<Self, StorageError> {
        let mut heartbeat = Self {
            keys: [
                link.keys.heartbeat(node),
                link.keys.name(node),
                link.keys.node_info(node),
            ],
            args: [arg(milliseconds(ttl)), arg(node), arg(INFO_LASTS)],
            link,
            connection: None,
        };
        heartbeat
            .connect()
            .await
            .map_err(|failure| failure.during("open a heartbeat"))?;
        Ok(heartbeat)
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
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
        let mut connection = self.connect().await?;
        let reply = scripts::HEARTBEAT
            .run(&mut connection, &self.keys, &self.args)
            .await?;
        let [alive, seconds, microseconds, server] = reply::array(reply)?
            .try_into()
            .map_err(|_| Failure::unexpected_reply("a heartbeat with the time of day"))?;
        Ok(Beat {
            alive: reply::integer(alive)? == 1,
            server_time: reply::time(seconds, microseconds)?,
            server: reply::text(server)?,
        })
    }
}

#[async_trait]
impl Heartbeat for RedisHeartbeat {
    async fn beat(&mut self) -> Result<Beat, StorageError> {
        self.try_beat()
            .await
            .map_err(|failure| failure.during(BEAT))
    }
}
