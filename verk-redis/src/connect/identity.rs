//! Identifies a connection on the server, so that it can be ended there.

use std::sync::Arc;

use bb8_redis::redis::{self, RedisError, Value, aio::ConnectionLike};
use verk_core::Jid;

use crate::{
    connect::{link::Link, pool::Connection, reply},
    error::Failure,
};

/// A name that no other connection has, and the server's id of the connection.
///
/// The id alone is not enough to end a connection: a restarted server gives it to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: i64,
    name: Arc<str>,
}

impl Identity {
    /// Gives the connection a name and asks for its id; `None` when the server does not allow that.
    pub(crate) async fn introduce(
        connection: &mut impl ConnectionLike,
    ) -> Result<Option<Self>, RedisError> {
        let name = format!("verk-{}", Jid::random());
        let mut commands = redis::pipe();
        commands
            .cmd("CLIENT")
            .arg("SETNAME")
            .arg(&name)
            .cmd("CLIENT")
            .arg("ID");
        let replies = connection.req_packed_commands(&commands, 0, 2).await?;
        Ok(match replies[..] {
            [Value::Okay, Value::Int(id)] => Some(Self {
                id,
                name: name.into(),
            }),
            _ => None,
        })
    }

    /// Ends the connection on the server, if it still exists.
    pub(crate) async fn end(&self, link: &Link) -> Result<(), Failure> {
        let mut tries = link.runtimes.pool_size();
        loop {
            let mut connection = link.connection().await?;
            match self.end_over(&mut connection).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
                ended => return ended,
            }
        }
    }

    /// Both requests over one connection: in a cluster, another may lead to another server, which
    /// gave the id to somebody else.
    async fn end_over(&self, connection: &mut Connection) -> Result<(), Failure> {
        if !self.is_known_to(connection).await? {
            return Ok(());
        }
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(self.id);
        connection.query(&kill).await.map(|_| ())
    }

    /// Whether this connection is open at the server of another one.
    pub(crate) async fn is_known_to(&self, other: &mut Connection) -> Result<bool, Failure> {
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg("ID").arg(self.id);
        let clients = reply::text(other.query(&list).await?)?;
        let name = format!("name={}", self.name);
        Ok(clients.split_whitespace().any(|field| field == name))
    }
}

#[cfg(test)]
mod tests {
    use verk_testing::RedisServer;

    use crate::{RedisConfig, connect::pool::Connector};

    #[tokio::test]
    async fn an_id_of_another_server_is_somebody_else() {
        let servers = [RedisServer::start(), RedisServer::start()];
        let connectors = servers.each_ref().map(|server| {
            let config = RedisConfig::new(server.url());
            Connector::new(&config).unwrap()
        });
        let connection = connectors[0].connect().await.unwrap();
        let identity = connection.identity().unwrap();
        let mut same = connectors[0].connect().await.unwrap();
        assert!(identity.is_known_to(&mut same).await.unwrap());
        let mut other = connectors[1].connect().await.unwrap();
        while other.identity().unwrap().id < identity.id {
            other = connectors[1].connect().await.unwrap();
        }
        assert!(!identity.is_known_to(&mut other).await.unwrap());
    }
}
