//! The redis-server of one measurement, and what it did.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use verk_testing::{RedisServer, Reply};

/// A redis-server on a port of 127.0.0.1, which saves nothing; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    redis: RedisServer,
}

/// What a server did so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    /// Commands, with those inside of scripts.
    pub(crate) commands: f64,
    /// How often it read from a connection: round trips, as far as they do not overlap.
    pub(crate) reads: f64,
    /// Seconds of CPU.
    pub(crate) cpu: f64,
}

/// What a server says of itself.
#[derive(Debug)]
pub(crate) struct Info(String);

impl Info {
    /// One section of it.
    pub(crate) fn of(redis: &RedisServer, section: &str) -> Result<Self> {
        match redis.command(&["INFO", section]) {
            Reply::Bulk(info) => Ok(Self(String::from_utf8_lossy(&info).into_owned())),
            other => bail!("INFO answered {other:?}"),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("INFO has no {name}"))?.trim())
    }

    pub(crate) fn number(&self, name: &str) -> Result<f64> {
        Ok(self.text(name)?.parse()?)
    }

    pub(crate) fn activity(&self) -> Result<Activity> {
        Ok(Activity {
            commands: self.number("total_commands_processed")?,
            reads: self.number("total_reads_processed")?,
            cpu: self.number("used_cpu_user")? + self.number("used_cpu_sys")?,
        })
    }

    /// How many clients are connected, without the one that asks.
    pub(crate) fn connections(&self) -> Result<f64> {
        Ok(self.number("connected_clients")? - 1.0)
    }
}

/// How long a server worked, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// In commands, by `commandstats`. Those inside of scripts count twice, because the time of the
    /// script has them too.
    pub(crate) commands_ms: f64,
    /// Of CPU, with reading, writing and its own chores.
    pub(crate) cpu_ms: f64,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self {
            redis: RedisServer::builder().tcp().start(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.redis.url()
    }

    /// Where it listens on 127.0.0.1.
    pub(crate) fn address(&self) -> Result<String> {
        let url = self.url();
        let address = url.strip_prefix("redis://").context("no TCP")?;
        Ok(address.to_owned())
    }

    pub(crate) fn activity(&self) -> Result<Activity> {
        Info::of(&self.redis, "everything")?.activity()
    }

    /// For how many milliseconds the server has run scripts and blocking moves so far: all commands
    /// that fetch and settle jobs.
    pub(crate) fn fetching_ms(&self) -> Result<f64> {
        self.commands_ms(|command| matches!(command, "evalsha" | "blmove"))
    }

    /// For how many milliseconds the server has run scripts so far.
    pub(crate) fn scripts_ms(&self) -> Result<f64> {
        self.commands_ms(|command| command == "evalsha")
    }

    /// How long the server has worked so far.
    pub(crate) fn spent(&self) -> Result<Spent> {
        // Not of this question itself.
        let commands_ms = self.commands_ms(|command| command != "info")?;
        let cpu_ms = self.activity()?.cpu * 1e3;
        Ok(Spent {
            commands_ms,
            cpu_ms,
        })
    }

    /// For how many milliseconds it ran commands.
    fn commands_ms(&self, counts: impl Fn(&str) -> bool) -> Result<f64> {
        let info = Info::of(&self.redis, "commandstats")?;
        let microseconds = info.0.lines().filter_map(|line| {
            let (command, stats) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let usec = stats
                .split(',')
                .find_map(|stat| stat.strip_prefix("usec="))?;
            counts(command).then(|| usec.parse::<f64>())
        });
        let mut sum = 0.0;
        for each in microseconds {
            sum += each?;
        }
        Ok(sum / 1e3)
    }

    pub(crate) fn version(&self) -> Result<String> {
        let info = Info::of(&self.redis, "server")?;
        Ok(info.text("redis_version")?.to_owned())
    }

    /// Counts for a while the commands that clients send, a script as one.
    pub(crate) fn count_sent(&self, watch: Duration) -> Result<usize> {
        count_sent(&self.address()?, watch)
    }

    /// Runs a script that fills keys.
    pub(crate) fn fill(&self, script: &str, args: &[&str]) -> Result<()> {
        let mut command = vec!["EVAL", script, "0"];
        command.extend(args);
        match self.redis.command(&command) {
            Reply::Error(error) => bail!("{error}"),
            _ => Ok(()),
        }
    }

    pub(crate) fn list_len(&self, key: &str) -> Result<i64> {
        let len = self.redis.command(&["LLEN", key]).as_integer();
        len.context("not a list")
    }

    pub(crate) fn set_len(&self, key: &str) -> Result<i64> {
        let len = self.redis.command(&["SCARD", key]).as_integer();
        len.context("not a set")
    }

    /// How many clients are connected, without the one that asks.
    pub(crate) fn connections(&self) -> Result<f64> {
        Info::of(&self.redis, "clients")?.connections()
    }
}

/// Counts for a while the commands that clients send to the server at this address, a script as
/// one.
pub(crate) fn count_sent(address: &str, watch: Duration) -> Result<usize> {
    let mut monitor = TcpStream::connect(address)?;
    monitor.write_all(b"MONITOR\r\n")?;
    let until = Instant::now() + watch;
    let (mut seen, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        monitor.set_read_timeout(Some(left))?;
        match monitor.read(&mut buffer) {
            Ok(0) => bail!("the server ended the connection"),
            Ok(read) => seen.extend_from_slice(&buffer[..read]),
            // The time is up.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The first line says that it listens. Each other one has who sent the command between
    // brackets.
    let lines = String::from_utf8_lossy(&seen);
    let is_sent = |line: &&str| !line.split(']').next().unwrap_or_default().ends_with(" lua");
    Ok(lines.lines().skip(1).filter(is_sent).count())
}
