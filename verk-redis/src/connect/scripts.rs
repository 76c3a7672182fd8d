//! The Lua scripts, and how they run: by their hash, loaded when the server does not have them.

use std::{borrow::Cow, sync::OnceLock, time::Duration};

use bb8_redis::redis::{self, Cmd, Value};

use crate::{
    connect::{
        pool::{Connection, ScriptFailure},
        reply,
    },
    error::Failure,
    keys::Key,
};

/// The script of the last name, after the shared part and the scripts of the other names.
macro_rules! script {
    ($($name:literal),+) => {
        Script::new(concat!(
            include_str!("../../scripts/shared.lua"),
            $(include_str!(concat!("../../scripts/", $name, ".lua"))),+
        ))
    };
}

pub(crate) static ADOPT_LOCK: Script = script!("effects", "adopt_lock");
pub(crate) static AFTER_WAIT: Script = script!("after_wait");
pub(crate) static BEGIN: Script = script!("effects", "begin");
pub(crate) static CLAIM_LAYOUT: Script = script!("claim_layout");
pub(crate) static CLAIM_NAME: Script = script!("claim_name");
pub(crate) static CLEAR: Script = script!("clear");
pub(crate) static COUNT_DEATHS: Script = script!("count_deaths");
pub(crate) static CRON_CHANGE: Script = script!("cron", "cron_change");
pub(crate) static CRON_ENTRIES: Script = script!("cron", "cron_entries");
pub(crate) static CRON_TICK: Script = script!("effects", "locking", "cron", "cron_tick");
pub(crate) static CRON_UPSERT: Script = script!("cron", "cron_upsert");
pub(crate) static DEQUEUE: Script = script!("effects", "settling", "dequeue");
pub(crate) static DEREGISTER: Script = script!("deregister");
pub(crate) static DUE: Script = script!("due");
pub(crate) static ENQUEUE_LOCKED: Script = script!("effects", "locking", "enqueue_locked");
pub(crate) static ENQUEUE_ONCE: Script = script!("effects", "locking", "enqueue_once");
pub(crate) static FORGET_PROCESS: Script = script!("forget_process");
pub(crate) static FREE_LOCK: Script = script!("effects", "free_lock");
pub(crate) static HEARTBEAT: Script = script!("heartbeat");
pub(crate) static LIST: Script = script!("texts", "list");
pub(crate) static MOVE: Script = script!("effects", "move");
pub(crate) static PAGE: Script = script!("page");
pub(crate) static POLL_SCHEDULE: Script = script!("poll_schedule");
pub(crate) static PRUNE_PROCESSES: Script = script!("prune_processes");
pub(crate) static RECORD_ACTION: Script = script!("record_action");
pub(crate) static RECORD_MOVE: Script = script!("record_move");
pub(crate) static RECORD_STATS: Script = script!("record_stats");
pub(crate) static REGISTER: Script = script!("register");
pub(crate) static REPORT_PROCESS: Script = script!("report_process");
pub(crate) static SET_PAUSED: Script = script!("set_paused");
pub(crate) static SCAN: Script = script!("texts", "scan");
pub(crate) static SETTLE: Script = script!("effects", "settling", "settle");
pub(crate) static SIGNAL_PROCESS: Script = script!("signal_process");
pub(crate) static TRIM_DEAD: Script = script!("trim_dead");
pub(crate) static WORK: Script = script!("work");

/// An argument of a script.
pub(crate) type Arg<'a> = Cow<'a, [u8]>;

/// A number or a name as an argument.
pub(crate) fn arg(value: impl std::fmt::Display) -> Arg<'static> {
    Cow::Owned(value.to_string().into_bytes())
}

/// A time to live for Redis, which has none shorter than a millisecond.
pub(crate) fn milliseconds(ttl: Duration) -> i64 {
    /// Redis adds the time of day to it.
    const LONGEST: i64 = i64::MAX / 4;
    i64::try_from(ttl.as_millis())
        .unwrap_or(LONGEST)
        .clamp(1, LONGEST)
}

/// Bytes as an argument, not copied.
pub(crate) fn borrowed<T: AsRef<[u8]> + ?Sized>(bytes: &T) -> Arg<'_> {
    Cow::Borrowed(bytes.as_ref())
}

/// A script that runs on the server in one atomic step.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    /// The hash that a server gave it; all servers give it the same.
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
        let call = self.call(connection, keys, args).await?;
        match connection.query_script(&call).await {
            Ok(reply) => Ok(reply),
            Err(ScriptFailure::Other(failure)) => Err(failure),
            // It has done nothing, so it can be sent again.
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

    /// The command that runs the script, for a pipeline. Loads the script if this process has not
    /// done so yet. A server that has lost it since answers with an error: then [`run`](Self::run)
    /// it.
    pub(crate) async fn call(
        &self,
        connection: &mut Connection,
        keys: &[Key],
        args: &[Arg<'_>],
    ) -> Result<Cmd, Failure> {
        let hash = match self.hash.get() {
            Some(hash) => hash,
            None => self.load(connection).await?,
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(hash).arg(keys.len()).arg(keys);
        for arg in args {
            call.arg(&**arg);
        }
        Ok(call)
    }

    async fn load(&self, connection: &mut Connection) -> Result<&str, Failure> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.code);
        let hash = async { reply::text(connection.query(&load).await?) }
            .await
            // Even if it is loaded now, the script itself was not sent.
            .map_err(Failure::before_sending)?;
        Ok(self.hash.get_or_init(|| hash))
    }
}
