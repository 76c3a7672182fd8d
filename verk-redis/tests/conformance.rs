//! The conformance suite on a real Redis: with the bare keys, and under a prefix.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    NodeId, Storage,
    storage::{JobSet, ScoredJob},
};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{
    CuttingProxy, Key, Operation, RedisCommand, RedisServer, Reply,
    conformance::{Dump, Harness},
};

mod bare {
    verk_testing::storage_conformance!(super::RedisHarness::start("").await);
}

mod prefixed {
    verk_testing::storage_conformance!(super::RedisHarness::start("app:").await);
}

/// A server of its own, and a network in front of it that can break.
struct RedisHarness {
    server: RedisServer,
    proxy: CuttingProxy,
    storage: RedisStorage,
    /// Before every key.
    prefix: &'static str,
}

impl RedisHarness {
    async fn start(prefix: &'static str) -> Self {
        let server = RedisServer::start();
        let proxy = CuttingProxy::start(&server);
        let config = RedisConfig::new(proxy.url())
            .prefix(prefix.to_owned())
            .connect_timeout(Duration::from_secs(2));
        let storage = RedisStorage::connect(config).await.expect("connect");
        Self {
            server,
            proxy,
            storage,
            prefix,
        }
    }

    fn command<const N: usize>(&self, args: [&[u8]; N]) -> Reply {
        match self.server.command(&args) {
            Reply::Error(error) => panic!("{error}"),
            reply => reply,
        }
    }

    fn entries<const N: usize>(&self, args: [&[u8]; N]) -> Vec<Bytes> {
        match self.command(args) {
            Reply::Bulk(bytes) => vec![bytes],
            reply => reply
                .into_array()
                .expect("an array")
                .into_iter()
                .filter_map(Reply::into_bytes)
                .collect(),
        }
    }

    fn key(&self, name: impl std::fmt::Display) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    fn set(&self, set: JobSet) -> Vec<u8> {
        self.key(match set {
            JobSet::Schedule => "schedule",
            JobSet::Retry => "retry",
            JobSet::Dead => "dead",
        })
    }

    fn place(&self, key: &Key) -> Vec<u8> {
        match key {
            Key::Queue(queue) => self.key(format_args!("queue:{queue}")),
            Key::Inprogress(held) => {
                self.key(format_args!("inprogress:{}:{}", held.queue, held.node))
            }
            Key::Set(set) => self.set(*set),
            Key::Processed => self.key("stat:processed"),
            Key::FailedOf(queue) => self.key(format_args!("stat:failed:{queue}")),
        }
    }

    fn name(&self, node: &NodeId) -> Vec<u8> {
        self.key(format_args!("verk:name:{}", node.name()))
    }

    fn heartbeat(&self, node: &NodeId) -> Vec<u8> {
        self.key(format_args!("verk:node:{node}"))
    }
}

/// Where a broken key is kept meanwhile.
fn aside(key: &[u8]) -> Vec<u8> {
    [b"aside:", key].concat()
}

#[async_trait]
impl Harness for RedisHarness {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        for key in self.entries([b"KEYS", b"*"]) {
            let Reply::Status(kind) = self.command([b"TYPE", &key]) else {
                panic!("TYPE answers with a status");
            };
            let mut entries = match kind.as_str() {
                "list" => self.entries([b"LRANGE", &key, b"0", b"-1"]),
                "set" => self.entries([b"SMEMBERS", &key]),
                "hash" => self.entries([b"HGETALL", &key]),
                "zset" => self.entries([b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
                _ => self.entries([b"GET", &key]),
            };
            if kind == "set" {
                entries.sort();
            }
            let name = String::from_utf8(key.to_vec()).expect("a readable key");
            assert!(name.starts_with(self.prefix), "{name}");
            dump.add(name, entries);
        }
        dump
    }

    async fn expire_heartbeat(&self, node: &NodeId) {
        self.command([b"DEL", &self.heartbeat(node)]);
    }

    async fn heartbeat_ttl(&self, node: &NodeId) -> Option<Duration> {
        let ttl = self
            .command([b"PTTL", &self.heartbeat(node)])
            .as_integer()?;
        assert_ne!(ttl, -1, "a heartbeat without a time to live");
        u64::try_from(ttl).ok().map(Duration::from_millis)
    }

    async fn expire_name(&self, node: &NodeId) {
        self.command([b"DEL", &self.name(node)]);
    }

    async fn expire_process(&self, identity: &str) {
        self.command([b"DEL", format!("{}{identity}", self.prefix).as_bytes()]);
    }

    async fn add_member(&self, set: JobSet, member: ScoredJob) {
        let score = member.score.to_string();
        self.command([b"ZADD", &self.set(set), score.as_bytes(), &member.job]);
    }

    async fn dequeue_is_waiting(&self) {
        loop {
            let info = self.entries([b"INFO", b"clients"]);
            if !String::from_utf8_lossy(&info[0]).contains("blocked_clients:0") {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn break_key(&self, key: &Key) {
        let key = self.place(key);
        if self.command([b"EXISTS", &key]).as_integer() == Some(1) {
            self.command([b"RENAME", &key, &aside(&key)]);
        }
        self.command([b"SET", &key, b"broken"]);
    }

    async fn mend_key(&self, key: &Key) {
        let key = self.place(key);
        assert_eq!(self.entries([b"GET", &key]), ["broken"]);
        self.command([b"DEL", &key]);
        if self.command([b"EXISTS", &aside(&key)]).as_integer() == Some(1) {
            self.command([b"RENAME", &aside(&key), &key]);
        }
    }

    async fn fill(&self) {
        self.command([b"CONFIG", b"SET", b"maxmemory", b"1"]);
    }

    async fn make_room(&self) {
        self.command([b"CONFIG", b"SET", b"maxmemory", b"0"]);
    }

    async fn lose_reply(&self, operation: Operation) {
        // The scripts are told apart by how many keys they have.
        let script = |command: &RedisCommand, keys: &str| {
            command.name() == "EVALSHA" && command.args().get(2).is_some_and(|n| n == keys)
        };
        self.proxy.lose_reply(move |command| match operation {
            Operation::Dequeue => command.name() == "BLMOVE" || script(command, "5"),
            Operation::Settle => script(command, "6"),
            // The length of this one depends on what was counted.
            Operation::RecordStats => {
                let first_key = command.args().get(3);
                command.name() == "EVALSHA" && first_key.is_some_and(|key| key.ends_with(b":stats"))
            }
        });
    }

    async fn disconnect(&self) {
        self.proxy.set_refusing(true);
        self.proxy.cut();
        self.proxy.wait_for_connections(|open| open == 0).await;
    }

    async fn reconnect(&self) {
        self.proxy.heal();
    }
}
