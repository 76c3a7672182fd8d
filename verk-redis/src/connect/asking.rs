//! Requests to the server to which a migration brings the slot: [`Asking`].

use std::fmt;

use bb8_redis::redis::{self, Cmd, Pipeline, Value};
use parking_lot::Mutex;

use crate::{
    connect::pool::{Connection, Connector},
    error::{Failure, redirect::Redirect},
};

/// Sends commands to the server that an answer `ASK` names, each after the word `ASKING`.
///
/// Commands of one key only: the server refuses those of which it has some keys. It keeps one
/// connection, because a migration takes many requests.
pub(crate) struct Asking {
    connector: Connector,
    /// The last server that was named, and the connection to it.
    open: Mutex<Option<(String, Connection)>>,
}

impl Asking {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector,
            open: Mutex::default(),
        }
    }

    /// Sends a command that a server answered so to the server that the answer names, if it names
    /// one.
    pub(crate) async fn follow(
        &self,
        command: &Cmd,
        reply: Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let Err(failure) = &reply else {
            return reply;
        };
        let Some(Redirect::Ask(address)) = failure.redirect() else {
            return reply;
        };
        // That server may have failed. Then another one gets the slot.
        let Ok(mut connection) = self.connection(address).await else {
            return reply;
        };
        let replies = query_all(&mut connection, [command.clone()].into_iter()).await?;
        replies.into_iter().next().unwrap_or(reply)
    }

    /// A connection to the server at an address.
    pub(crate) async fn connection(&self, address: &str) -> Result<Connection, Failure> {
        if let Some((open, connection)) = &*self.open.lock()
            && open == address
            && !connection.is_broken()
        {
            return Ok(connection.clone());
        }
        let connected = self.connector.connect_to(address).await;
        let connection = connected.map_err(Failure::not_sent)?;
        *self.open.lock() = Some((address.to_owned(), connection.clone()));
        Ok(connection)
    }
}

/// Sends commands in one request. Each has its own answer.
pub(crate) async fn query_all(
    connection: &mut Connection,
    commands: impl ExactSizeIterator<Item = Cmd>,
) -> Result<Vec<Result<Value, Failure>>, Failure> {
    let mut pipeline = Pipeline::with_capacity(2 * commands.len());
    for command in commands {
        pipeline.add_command(redis::cmd("ASKING"));
        pipeline.add_command(command);
    }
    let mut replies = connection.query_all(&pipeline).await?.into_iter();
    let mut answers = Vec::with_capacity(pipeline.len() / 2);
    while let (Some(asking), Some(reply)) = (replies.next(), replies.next()) {
        answers.push(match (asking, reply) {
            // Without the right to ask, the command was refused for another reason.
            (Err(refused), Err(failure)) if failure.redirect().is_some() => Err(refused),
            (_, reply) => reply,
        });
    }
    Ok(answers)
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
