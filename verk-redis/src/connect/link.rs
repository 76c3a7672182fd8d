//! The shared parts of a storage: [`Link`].

use std::sync::Arc;

use bb8_redis::redis::{Cmd, Pipeline, Value};
use verk_core::time::Clock;

use crate::{
    connect::{
        pool::{Connection, Connector},
        runtimes::Runtimes,
        scripts::{Arg, Script},
        slot::Repeats,
    },
    error::Failure,
    keys::{Key, Keys},
};

/// The server, the pools of connections to it and the names of the keys.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connector: Connector,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Link {
    /// A connection of the pool.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        self.runtimes.here()?.pool.get().await
    }

    /// Ensures that no connection of the pool is one that was given up before the call.
    pub(crate) async fn drop_broken(&self) -> Result<(), Failure> {
        self.runtimes.here()?.pool.drop_broken().await
    }

    /// Sends one command over the pool. In a cluster it is sent again as long as no server has
    /// taken it.
    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut repeats = Repeats::new(&self.connector);
        loop {
            match self.query_once(command).await {
                Err(failure) if repeats.after(&failure).await => {}
                reply => return reply,
            }
        }
    }

    async fn query_once(&self, command: &Cmd) -> Result<Value, Failure> {
        let local = self.runtimes.here()?;
        let reply = local.pool.get().await?.query(command).await;
        match self.connector.slot() {
            Some(_) => local.asking.follow(command, reply).await,
            None => reply,
        }
    }

    /// Sends one command that may be sent twice, because it changes nothing, or makes the same
    /// change again. If a connection turns out to have ended, it uses another one.
    pub(crate) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut tries = self.runtimes.pool_size();
        loop {
            match self.query(command).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
                reply => return reply,
            }
        }
    }

    /// As [`ask`](Self::ask), several commands at once.
    pub(crate) async fn ask_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut tries = self.runtimes.pool_size();
        let mut repeats = Repeats::new(&self.connector);
        loop {
            let mut connection = self.connection().await?;
            match connection.query_all(commands).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
                Ok(replies) => {
                    let mut refused = replies.iter().filter_map(|reply| reply.as_ref().err());
                    match refused.find(|it| it.redirect().is_some()) {
                        Some(failure) if repeats.after(failure).await => {}
                        _ => return Ok(replies),
                    }
                }
                replies => return replies,
            }
        }
    }

    /// As [`ask`](Self::ask), with a script.
    pub(crate) async fn ask_script(
        &self,
        script: &Script,
        key: Key,
        args: &[Arg<'_>],
    ) -> Result<Value, Failure> {
        self.ask_script_of(script, &[key], args).await
    }

    /// As [`ask_script`](Self::ask_script), with several keys.
    pub(crate) async fn ask_script_of(
        &self,
        script: &Script,
        keys: &[Key],
        args: &[Arg<'_>],
    ) -> Result<Value, Failure> {
        let mut tries = self.runtimes.pool_size();
        loop {
            match self.run(script, keys, args).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
                reply => return reply,
            }
        }
    }

    /// Runs a script over the pool. In a cluster it is sent again as long as no server has taken
    /// it.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[Key],
        args: &[Arg<'_>],
    ) -> Result<Value, Failure> {
        let mut repeats = Repeats::new(&self.connector);
        loop {
            let mut connection = self.connection().await?;
            match script.run(&mut connection, keys, args).await {
                Err(failure) if repeats.after(&failure).await => {}
                reply => return reply,
            }
        }
    }
}
