//! What every part of a storage uses: [`Shared`].

use std::sync::Arc;

use bb8_redis::redis::{Cmd, Pipeline, Value};
use verk_core::{Clock, storage::Settled};

use crate::{
    batch::{self, Call},
    blocking::Blocking,
    error::Failure,
    keys::{Key, Keys},
    pool::{Connection, Connector},
    quiet::QuietQueues,
    runtimes::Runtimes,
    scripts::{Arg, Script},
};

/// The server, the pools of connections to it and the names of the keys.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) connector: Connector,
    pub(crate) runtimes: Arc<Runtimes>,
    pub(crate) blocking: Blocking,
    pub(crate) quiet: QuietQueues,
    pub(crate) keys: Arc<Keys>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Shared {
    /// A connection of the pool.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        self.runtimes.here()?.pool.get().await
    }

    /// Makes sure that none of the connections of the pool is one that was given up before the call.
    pub(crate) async fn drop_broken(&self) -> Result<(), Failure> {
        self.runtimes.here()?.pool.drop_broken().await
    }

    /// Sends one command over the pool.
    pub(crate) async fn query(&self, command: &Cmd) -> Result<Value, Failure> {
        self.connection().await?.query(command).await
    }

    /// Sends one command that may be sent twice, because it changes nothing or the same again: when a connection
    /// turns out to have ended, over another one.
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
        loop {
            let mut connection = self.connection().await?;
            match connection.query_all(commands).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
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
        let keys = [key];
        let mut tries = self.runtimes.pool_size();
        loop {
            match self.run(script, &keys, args).await {
                Err(failure) if failure.is_disconnected() && tries > 0 => tries -= 1,
                reply => return reply,
            }
        }
    }

    /// Runs a script over the pool.
    pub(crate) async fn run(
        &self,
        script: &Script,
        keys: &[Key],
        args: &[Arg<'_>],
    ) -> Result<Value, Failure> {
        script.run(&mut self.connection().await?, keys, args).await
    }

    /// Runs a script for `jobs` jobs, in calls one after the other, until one gets no reply: what comes after it is
    /// not sent.
    pub(crate) async fn run_batch(
        &self,
        op: &'static str,
        script: &Script,
        calls: Vec<(std::ops::Range<usize>, Call<'_>)>,
        jobs: usize,
    ) -> Vec<Settled> {
        if jobs == 0 {
            return Vec::new();
        }
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(failure) => return vec![Settled::Failed(failure.during(op)); jobs],
        };
        let mut answers = vec![None; jobs];
        for (range, call) in calls {
            let reply = if connection.is_broken() {
                Err(Failure::not_sent(BROKEN))
            } else {
                script.run(&mut connection, &call.keys, &call.args).await
            };
            let settled = batch::answers(op, reply, range.len());
            for (answer, settled) in answers[range].iter_mut().zip(settled) {
                *answer = Some(settled);
            }
        }
        answers
            .into_iter()
            .map(|answer| {
                // Every job is in one of the calls.
                answer.unwrap_or_else(|| Settled::Failed(Failure::not_sent(BROKEN).during(op)))
            })
            .collect()
    }
}

const BROKEN: &str = "the connection broke before this was sent";
