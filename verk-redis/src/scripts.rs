//! The Lua scripts, and how one is run: by its hash, loaded when the server does not have it.

use std::{borrow::Cow, sync::OnceLock};

use bb8_redis::redis::{self, Cmd, Value};

use crate::{
    error::Failure,
    keys::Key,
    pool::{Connection, ScriptFailure},
    reply,
};

pub(crate) static CLAIM_NAME: Script = Script::new(include_str!("../scripts/claim_name.lua"));
pub(crate) static COUNT_DEATHS: Script = Script::new(include_str!("../scripts/count_deaths.lua"));
pub(crate) static DEQUEUE: Script = Script::new(include_str!("../scripts/dequeue.lua"));
pub(crate) static DEREGISTER: Script = Script::new(include_str!("../scripts/deregister.lua"));
pub(crate) static DUE: Script = Script::new(include_str!("../scripts/due.lua"));
pub(crate) static FORGET_PROCESS: Script =
    Script::new(include_str!("../scripts/forget_process.lua"));
pub(crate) static HEARTBEAT: Script = Script::new(include_str!("../scripts/heartbeat.lua"));
pub(crate) static PAGE: Script = Script::new(include_str!("../scripts/page.lua"));
pub(crate) static POLL_SCHEDULE: Script = Script::new(include_str!("../scripts/poll_schedule.lua"));
pub(crate) static PROMOTE: Script = Script::new(include_str!("../scripts/promote.lua"));
pub(crate) static PRUNE_PROCESSES: Script =
    Script::new(include_str!("../scripts/prune_processes.lua"));
pub(crate) static RECORD_STATS: Script = Script::new(include_str!("../scripts/record_stats.lua"));
pub(crate) static REGISTER: Script = Script::new(include_str!("../scripts/register.lua"));
pub(crate) static REPORT_PROCESS: Script =
    Script::new(include_str!("../scripts/report_process.lua"));
pub(crate) static SET_PAUSED: Script = Script::new(include_str!("../scripts/set_paused.lua"));
pub(crate) static SETTLE: Script = Script::new(include_str!("../scripts/settle.lua"));

/// An argument of a script.
pub(crate) type Arg<'a> = Cow<'a, [u8]>;

/// A number or a name as an argument.
pub(crate) fn arg(value: impl std::fmt::Display) -> Arg<'static> {
    Cow::Owned(value.to_string().into_bytes())
}

/// A script that runs on the server in one atomic step.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    /// The hash that a server gave it; every server gives it the same.
    hash: OnceLock<String>,
}

impl Script {
    const fn new(code: &'static str) -> Self {
        Self {
            code,
            hash: OnceLock::new(),
        }
    }

    /// Runs the script, after loading it if the server does not have it.
    pub(crate) async fn run(
        &self,
        connection: &mut Connection,
        keys: &[Key],
        args: &[Arg<'_>],
    ) -> Result<Value, Failure> {
        let hash = match self.hash.get() {
            Some(hash) => hash,
            None => self.load(connection).await?,
        };
        let call = call(hash, keys, args);
        match connection.query_script(&call).await {
            Ok(reply) => Ok(reply),
            Err(ScriptFailure::Other(failure)) => Err(failure),
            // It did nothing, so it can be sent again.
            Err(ScriptFailure::NotLoaded(_)) => {
                self.load(connection).await?;
                connection
                    .query_script(&call)
                    .await
                    .map_err(|failure| match failure {
                        ScriptFailure::Other(failure) => failure,
                        ScriptFailure::NotLoaded(error) => Failure::not_sent(error),
                    })
            }
        }
    }

    async fn load(&self, connection: &mut Connection) -> Result<&str, Failure> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.code);
        let hash = async { reply::text(connection.query(&load).await?) }
            .await
            // Whether it is loaded or not: the script itself was not sent.
            .map_err(Failure::before_sending)?;
        Ok(self.hash.get_or_init(|| hash))
    }
}

fn call(hash: &str, keys: &[Key], args: &[Arg<'_>]) -> Cmd {
    let mut call = redis::cmd("EVALSHA");
    call.arg(hash).arg(keys.len()).arg(keys);
    for arg in args {
        call.arg(&**arg);
    }
    call
}
