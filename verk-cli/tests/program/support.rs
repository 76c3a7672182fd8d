//! The binary, and a Redis for it.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use verk_testing::RedisServer;

/// What a process printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

/// The binary with these arguments, on the Redis at `url`, without the settings of this process.
pub(crate) fn verk(url: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_verk"));
    command
        .args(args)
        .env_clear()
        .env("USER", "ada")
        .env("VERK_REDIS_URL", url)
        .env("VERK_REDIS_CONNECT_TIMEOUT", "2s")
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(mut command: impl std::borrow::BorrowMut<Command>) -> Printed {
    let output = command.borrow_mut().output().unwrap();
    Printed {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// Sends a signal, such as `INT`, which is that of Ctrl-C.
pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

/// A Redis, and the binary for it.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) redis: RedisServer,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self {
            redis: RedisServer::start(),
        }
    }

    pub(crate) fn verk(&self, args: &[&str]) -> Command {
        verk(&self.redis.url(), args)
    }

    pub(crate) fn output(&self, args: &[&str]) -> Printed {
        run(self.verk(args))
    }

    /// Runs a command that must succeed, and returns the objects that it prints.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let printed = run(self.verk(args).args(["-o", "json"]));
        assert_eq!(printed.code, 0, "{args:?}: {}", printed.stderr);
        let lines = printed.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Puts so many jobs into a queue, in one step.
    pub(crate) fn enqueue(&self, queue: &str, jobs: usize) {
        let key = format!("queue:{queue}");
        for first in (0..jobs).step_by(1_000) {
            let mut push = vec!["LPUSH".to_owned(), key.clone()];
            push.extend((first..jobs.min(first + 1_000)).map(|number| {
                format!(r#"{{"class":"A","jid":"j{number}","queue":"{queue}","args":[]}}"#)
            }));
            self.redis.command(&push);
        }
        self.redis.command(&["SADD", "queues", queue]);
    }

    /// Waits until `verk stats` shows what is wanted.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let mut stats = Value::Null;
        // Each is a process, so this is half a minute at least.
        for _ in 0..3_000 {
            stats = self.json(&["stats"]).remove(0);
            if wanted(&stats) {
                return;
            }
        }
        panic!("{what}: {stats}");
    }
}
