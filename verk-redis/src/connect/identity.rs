//! Identifies a connection on the server, so that it can be ended there.

use std::sync::Arc;

use bb8_redis::redis::{self, RedisError, Value, aio::ConnectionLike};
use verk_core::Jid;

use crate::{
    connect::{link::Link, reply},
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
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg("ID").arg(self.id);
        let clients = reply::text(link.ask(&list).await?)?;
        let name = format!("name={}", self.name);
        if !clients.split_whitespace().any(|field| field == name) {
            return Ok(());
        }
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(self.id);
        link.ask(&kill).await.map(|_| ())
    }
}
