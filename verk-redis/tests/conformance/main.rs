//! The conformance suite on a real Redis: with the bare keys, under a prefix, with schedule keys of
//! its own, with queues that share one look instead of waiting on the server, as a user who has
//! only the rights that the guide lists, and in slots of a cluster.

mod cluster;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use verk_core::{
    config::ScheduleKeys,
    names::NodeId,
    storage::{Inprogress, JobSet, JobStore, LockId, Source, Storage, WaitingStore},
    time::{Clock, SystemClock},
};
use verk_redis::{RedisConfig, RedisStorage};
use verk_testing::{
    CuttingProxy, Key, Operation, RedisCluster, RedisCommand, RedisServer, Reply,
    conformance::{Dump, Harness, ScoredJob},
};

mod bare {
    verk_testing::storage_conformance!(super::RedisHarness::start("", 16).await);
}

mod prefixed {
    verk_testing::storage_conformance!(super::RedisHarness::start("app:", 16).await);
}

mod own_schedule_keys {
    verk_testing::storage_conformance!(super::RedisHarness::with_own_schedule_keys("app:").await);
}

mod quiet {
    verk_testing::storage_conformance!(super::RedisHarness::start("", 0).await);
}

mod restricted {
    verk_testing::storage_conformance!(super::RedisHarness::restricted().await);
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Random steps on Redis and on the storage in memory alike.
#[test]
fn redis_behaves_as_the_storage_in_memory() {
    let server = Arc::new(RedisServer::start());
    verk_testing::model::check(async || {
        server.command(&["FLUSHALL"]);
        RedisHarness::on(Arc::clone(&server), "", "app:", ScheduleKeys::Shared, 16).await
    });
}

#[tokio::test]
async fn the_user_of_the_guide_may_also_choose_a_database_and_delete_the_prefix() {
    let harness = RedisHarness::restricted().await;
    let config = RedisConfig::new(format!(
        "{}?user=verk&pass=password&db=3",
        harness.proxy.url()
    ));
    let other = RedisStorage::connect(config.prefix("shop".to_owned())).await;
    let other = other.expect("connect");
    let queue = "default".parse().expect("a name");
    for storage in [&other, &harness.storage] {
        storage
            .enqueue(&queue, &["{}".into()])
            .await
            .expect("enqueue");
    }
    other.delete_prefix().await.expect("delete");
    assert_eq!(
        other
            .len(&Source::Queue(queue.clone()))
            .await
            .expect("count"),
        0
    );
    assert_eq!(
        harness
            .storage
            .len(&Source::Queue(queue.clone()))
            .await
            .expect("count"),
        1
    );
}

/// A server of its own, or one of a cluster that is used alone.
enum Server {
    Alone(Arc<RedisServer>),
    /// By its place.
    InCluster(Arc<RedisCluster>, usize),
}

impl Server {
    fn get(&self) -> &RedisServer {
        match self {
            Self::Alone(server) => server,
            Self::InCluster(cluster, place) => &cluster.servers()[*place],
        }
    }
}

/// A server of its own, and a network in front of it that can break.
struct RedisHarness {
    server: Server,
    proxy: CuttingProxy,
    storage: RedisStorage,
    /// Before every key.
    prefix: &'static str,
    schedule_keys: ScheduleKeys,
    blocking_connections: usize,
}

impl RedisHarness {
    async fn start(prefix: &'static str, blocking_connections: usize) -> Self {
        Self::on(
            Arc::new(RedisServer::start()),
            "",
            prefix,
            ScheduleKeys::Shared,
            blocking_connections,
        )
        .await
    }

    async fn with_own_schedule_keys(prefix: &'static str) -> Self {
        let server = Arc::new(RedisServer::start());
        Self::on(server, "", prefix, ScheduleKeys::Own, 16).await
    }

    /// As the user of the guide.
    async fn restricted() -> Self {
        let server = RedisServer::start();
        allow(&server, &["shop:"]);
        Self::on(
            Arc::new(server),
            "?user=verk&pass=password",
            "shop:",
            ScheduleKeys::Shared,
            16,
        )
        .await
    }

    async fn on(
        server: Arc<RedisServer>,
        credentials: &str,
        prefix: &'static str,
        schedule_keys: ScheduleKeys,
        blocking_connections: usize,
    ) -> Self {
        let proxy = CuttingProxy::start(&server);
        let url = format!("{}{credentials}", proxy.url());
        let server = Server::Alone(server);
        Self::connect(
            server,
            proxy,
            &url,
            prefix,
            schedule_keys,
            blocking_connections,
        )
        .await
    }

    async fn connect(
        server: Server,
        proxy: CuttingProxy,
        url: &str,
        prefix: &'static str,
        schedule_keys: ScheduleKeys,
        blocking_connections: usize,
    ) -> Self {
        let config = RedisConfig::new(url)
            .prefix(prefix.to_owned())
            .schedule_keys(schedule_keys)
            .blocking_connections(blocking_connections)
            .connect_timeout(CONNECT_TIMEOUT);
        let storage = RedisStorage::connect(config).await.expect("connect");
        Self {
            server,
            proxy,
            storage,
            prefix,
            schedule_keys,
            blocking_connections,
        }
    }

    fn command<const N: usize>(&self, args: [&[u8]; N]) -> Reply {
        match self.server.get().command(&args) {
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
        self.key(match (self.schedule_keys, set) {
            (ScheduleKeys::Shared, JobSet::Schedule) => "schedule",
            (ScheduleKeys::Shared, JobSet::Retry) => "retry",
            (ScheduleKeys::Own, JobSet::Schedule) => "verk:schedule",
            (ScheduleKeys::Own, JobSet::Retry) => "verk:retry",
            (_, JobSet::Dead) => "dead",
        })
    }

    fn place(&self, key: &Key) -> Vec<u8> {
        match key {
            Key::Queue(queue) => self.key(format_args!("queue:{queue}")),
            Key::Inprogress(held) => {
                self.key(format_args!("inprogress:{}:{}", held.queue, held.node))
            }
            Key::Set(set) => self.set(*set),
            Key::Lock(lock) => self.key(format_args!("verk:unique:{lock}")),
            Key::Paused => self.key("paused"),
            Key::Cron => self.key("verk:cron"),
            Key::CronDue => self.key("verk:crondue"),
            Key::Processed => self.key("stat:processed"),
            Key::FailedOf(queue) => self.key(format_args!("stat:failed:{queue}")),
        }
    }

    /// How often the server was asked whether keys exist.
    fn exists_calls(&self) -> u64 {
        let stats = self.entries([b"INFO", b"commandstats"]);
        let stats = String::from_utf8_lossy(&stats[0]);
        let calls = stats.split("cmdstat_exists:calls=").nth(1);
        let calls = calls.and_then(|calls| calls.split(',').next()?.parse().ok());
        calls.unwrap_or_default()
    }

    /// Where a broken key is kept meanwhile.
    fn aside(&self, key: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"aside:", key].concat()
    }

    fn name(&self, node: &NodeId) -> Vec<u8> {
        self.key(format_args!("verk:name:{}", node.name()))
    }

    fn heartbeat(&self, node: &NodeId) -> Vec<u8> {
        self.key(format_args!("verk:node:{node}"))
    }
}

/// Makes the user of the guide, for the keys with these prefixes.
fn allow(server: &RedisServer, prefixes: &[&str]) {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/docs/redis.md");
    let guide = std::fs::read_to_string(guide).expect("the guide");
    let command = guide.split("```acl\n").nth(1).expect("a block with rights");
    let command = command.split("```").next().expect("the end of the block");
    let words = command.split_whitespace().flat_map(|word| match word {
        word if word.contains("shop:") => {
            let of_each = prefixes.iter().map(|prefix| word.replace("shop:", prefix));
            of_each.collect()
        }
        word => vec![word.to_owned()],
    });
    let words: Vec<_> = words.collect();
    assert_eq!(server.command(&words), Reply::Status("OK".to_owned()));
    // From Redis 7.2 on; before that there is none, and nobody asks for it.
    server.command(&["ACL", "SETUSER", "verk", "+client|setinfo"]);
}

impl Drop for RedisHarness {
    /// Finds every refusal of a user with too few rights, also where verk works without the right.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let refused = self.command([b"ACL", b"LOG"]);
            assert_eq!(refused, Reply::Array(Vec::new()));
        }
    }
}

#[async_trait]
impl Harness for RedisHarness {
    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(self.storage.clone())
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        // Of a server with other cells, only the keys of this one: this user may change no other.
        let keys = match self.server {
            Server::Alone(_) => b"*".to_vec(),
            Server::InCluster(..) => self.key("*"),
        };
        for key in self.entries([b"KEYS", &keys]) {
            let Reply::Status(kind) = self.command([b"TYPE", &key]) else {
                panic!("TYPE answers with a status");
            };
            let mut entries = match kind.as_str() {
                "list" => self.entries([b"LRANGE", &key, b"0", b"-1"]),
                "set" => self.entries([b"SMEMBERS", &key]),
                "hash" => {
                    let fields = self.entries([b"HGETALL", &key]);
                    let mut fields: Vec<_> = fields.chunks(2).map(<[Bytes]>::concat).collect();
                    fields.sort();
                    fields.into_iter().map(Bytes::from).collect()
                }
                "zset" => self.entries([b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
                _ => self.entries([b"GET", &key]),
            };
            if kind == "set" {
                entries.sort();
            }
            let name = String::from_utf8(key.to_vec()).expect("a readable key");
            assert!(name.starts_with(self.prefix), "{name}");
            if self.schedule_keys == ScheduleKeys::Own {
                let shared = ["schedule", "retry"].map(|name| self.key(name));
                assert!(!shared.contains(&key.to_vec()), "{name} is moved by others");
            }
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

    async fn expire_lock(&self, lock: LockId) {
        let key = self.place(&Key::Lock(lock));
        if self.command([b"PTTL", &key]).as_integer() > Some(0) {
            self.command([b"DEL", &key]);
            // Its member of the set of all locks stays until another lock begins or ends.
            let locks = self.key("verk:unique");
            self.command([b"ZADD", &locks, b"XX", b"1", lock.to_string().as_bytes()]);
        }
    }

    async fn expire_process(&self, identity: &str) {
        self.command([b"DEL", format!("{}{identity}", self.prefix).as_bytes()]);
    }

    async fn add_member(&self, set: JobSet, member: ScoredJob) {
        let score = member.score.to_string();
        self.command([b"ZADD", &self.set(set), score.as_bytes(), &member.job]);
    }

    async fn add_inprogress(&self, held: &Inprogress, job: Bytes) {
        let key = self.place(&Key::Inprogress(held.clone()));
        self.command([b"LPUSH", &key, &job]);
    }

    async fn dequeue_is_waiting(&self) {
        if self.blocking_connections == 0 {
            // One is the script's that looks before the wait, one the look that is shared.
            let looked = self.exists_calls() + 2;
            let clock: &dyn Clock = &SystemClock;
            while self.exists_calls() < looked {
                clock.sleep(Duration::from_millis(10)).await;
            }
            return;
        }
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
            self.command([b"RENAME", &key, &self.aside(&key)]);
        }
        self.command([b"SET", &key, b"broken"]);
    }

    async fn mend_key(&self, key: &Key) {
        let key = self.place(key);
        assert_eq!(self.entries([b"GET", &key]), ["broken"]);
        self.command([b"DEL", &key]);
        if self.command([b"EXISTS", &self.aside(&key)]).as_integer() == Some(1) {
            self.command([b"RENAME", &self.aside(&key), &key]);
        }
    }

    async fn fill(&self) {
        self.command([b"CONFIG", b"SET", b"maxmemory", b"1"]);
    }

    async fn make_room(&self) {
        self.command([b"CONFIG", b"SET", b"maxmemory", b"0"]);
    }

    async fn lose_reply(&self, operation: Operation) {
        let prefix = self.prefix;
        // The keys of a script show which one it is.
        let script = move |command: &RedisCommand, place: usize, is_it: fn(&str) -> bool| {
            let key = command.args().get(2 + place).map(|key| &key[..]);
            let key = key.and_then(|key| std::str::from_utf8(key).ok()?.strip_prefix(prefix));
            command.name() == "EVALSHA" && key.is_some_and(is_it)
        };
        self.proxy.lose_reply(move |command| match operation {
            Operation::Dequeue => {
                let from = command.args().get(1);
                let here = || from.is_some_and(|key| key.starts_with(prefix.as_bytes()));
                command.name() == "BLMOVE" && here()
                    || script(command, 1, |key| key.starts_with("queue:"))
            }
            Operation::Settle => script(command, 1, |key| key.starts_with("inprogress:")),
            Operation::MoveJobs => script(command, 2, |key| key == "dead"),
            Operation::RecordStats => script(command, 1, |key| key.ends_with(":stats")),
            // The next key of a tick is a set, and a change has none.
            Operation::TickCron => {
                script(command, 2, |key| key == "verk:crondue")
                    && script(command, 3, |key| key.ends_with("schedule"))
            }
            // Unlike a change, it looks at where the queue lies.
            Operation::UpsertCron => {
                script(command, 2, |key| key == "verk:crondue")
                    && script(command, 3, |key| key == "verk:moved")
            }
            Operation::EnqueueOnce => script(command, 1, |key| key.starts_with("verk:seen:")),
            Operation::CountDeaths => script(command, 2, |key| key.ends_with(":deaths")),
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
