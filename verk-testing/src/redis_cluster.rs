//! A real Redis Cluster for one test: [`RedisCluster`].

use std::{ops::RangeInclusive, time::Duration};

use crate::{RedisServer, Reply, within::poll};

/// How long the servers may take to agree, in real time.
const PATIENCE: Duration = Duration::from_secs(60);

const PRIMARIES: usize = 3;

/// The last slot.
const LAST_SLOT: u16 = 16383;

/// How many keys are moved at once.
const KEYS_AT_ONCE: &str = "100";

/// A cluster of its own, of three primaries with a replica each: empty, killed when dropped.
///
/// Its servers are [`RedisServer`]s on ports of 127.0.0.1, of Redis 7.0 or newer, or of Valkey. Its
/// methods block the thread until all servers know of the change.
///
/// # Example
///
/// ```no_run
/// use verk_testing::RedisCluster;
///
/// let cluster = RedisCluster::start();
/// // Connect the code under test to `cluster.url()`, with a prefix such as `{shop}`, then:
/// let slot = cluster.slot_of("{shop}");
/// let other = cluster.other_primary(slot);
/// cluster.migrate(slot, other).finish();
/// cluster.fail_over(slot);
/// ```
#[derive(Debug)]
pub struct RedisCluster {
    servers: Vec<RedisServer>,
    settings: Vec<(String, String)>,
}

/// Sets how a [`RedisCluster`] is started.
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisClusterBuilder {
    replicas: bool,
    settings: Vec<(String, String)>,
}

impl RedisClusterBuilder {
    /// Starts three primaries only.
    pub fn without_replicas(mut self) -> Self {
        self.replicas = false;
        self
    }

    /// Adds a setting of all servers, as in `redis.conf`. A failed primary is replaced after
    /// `cluster-node-timeout`, in milliseconds, which is 15 seconds at first.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the servers and waits until the cluster works.
    ///
    /// # Panics
    ///
    /// When a server does not start, see [`RedisServerBuilder::start`], or the cluster does not.
    ///
    /// [`RedisServerBuilder::start`]: crate::RedisServerBuilder::start
    #[must_use]
    pub fn start(self) -> RedisCluster {
        let count = if self.replicas { 2 } else { 1 } * PRIMARIES;
        let cluster = RedisCluster {
            servers: (0..count).map(|_| server(&self.settings)).collect(),
            settings: self.settings,
        };
        cluster.form();
        cluster
    }
}

impl RedisCluster {
    /// Starts a cluster without settings, with replicas.
    ///
    /// # Panics
    ///
    /// See [`RedisClusterBuilder::start`].
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder, to start a cluster with other settings.
    pub fn builder() -> RedisClusterBuilder {
        RedisClusterBuilder {
            replicas: true,
            settings: Vec::new(),
        }
    }

    /// Returns the address for a client, with all servers:
    /// `redis+cluster://127.0.0.1:PORT,127.0.0.1:PORT,...`.
    #[must_use]
    pub fn url(&self) -> String {
        let servers = self.servers.iter();
        let servers: Vec<_> = servers
            .map(|server| format!("127.0.0.1:{}", server.port()))
            .collect();
        format!("redis+cluster://{}", servers.join(","))
    }

    /// The servers: at first three primaries, then their replicas.
    #[must_use]
    pub fn servers(&self) -> &[RedisServer] {
        &self.servers
    }

    /// The slot of a key, or of a prefix with a hash tag.
    ///
    /// # Panics
    ///
    /// When no server runs.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u16 {
        let server = self.running().next().expect("a server that runs");
        let slot = server.command(&["CLUSTER", "KEYSLOT", key]).as_integer();
        let slot = slot.and_then(|slot| u16::try_from(slot).ok());
        slot.expect("a slot")
    }

    /// Waits until a primary says that it has the slot, and returns it.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[must_use]
    pub fn owner(&self, slot: u16) -> &RedisServer {
        self.wait_for("a primary that has the slot", || {
            let owners = self.running().filter_map(|server| {
                let me = Nodes::of(server).me()?;
                (me.is_primary() && me.has(slot)).then_some((me.epoch, server))
            });
            // After a failover, the old one may not know of the new one yet.
            Some(owners.max_by_key(|(epoch, _)| *epoch)?.1)
        })
    }

    /// A primary that does not have the slot.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[must_use]
    pub fn other_primary(&self, slot: u16) -> &RedisServer {
        self.wait_for("another primary", || {
            self.running().find(|server| {
                let me = Nodes::of(server).me();
                me.is_some_and(|me| me.is_primary() && !me.has(slot))
            })
        })
    }

    /// Waits until the owner of the slot has a replica that follows it, and returns the replica.
    ///
    /// # Panics
    ///
    /// When there is none in time.
    #[must_use]
    pub fn replica(&self, slot: u16) -> &RedisServer {
        let owner = id(self.owner(slot));
        self.wait_for("a replica of the owner", || {
            self.running().find(|server| {
                let me = Nodes::of(server).me();
                me.is_some_and(|me| me.primary == owner) && follows(server)
            })
        })
    }

    /// Adds a primary that has no slot yet and no replica, and waits until all servers know it. It
    /// is the last of the [servers](Self::servers), and [`url`](Self::url) names it from now on.
    ///
    /// # Panics
    ///
    /// When it does not start, or a server does not get to know it in time.
    pub fn add_primary(&mut self) -> &RedisServer {
        self.servers.push(server(&self.settings));
        self.meet(self.servers.len() - 1);
        self.wait_until_all_know_each_other();
        &self.servers[self.servers.len() - 1]
    }

    /// Begins to move a slot to another primary: from now on, keys are moved one by one.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub fn migrate<'a>(&'a self, slot: u16, to: &'a RedisServer) -> Migration<'a> {
        let migration = Migration {
            cluster: self,
            slot,
            from: self.owner(slot),
            to,
        };
        let (from_id, to_id) = (id(migration.from), id(to));
        self.wait_until_known(slot, &from_id);
        self.wait_for("servers that know the new primary", || {
            let all = Nodes::of(migration.from);
            let is_primary = all.all().any(|node| node.id == to_id && node.is_primary());
            is_primary.then_some(())
        });
        migration.set(to, &["IMPORTING", &from_id]);
        migration.set(migration.from, &["MIGRATING", &to_id]);
        migration
    }

    /// Lets the replica of the owner of a slot take its place, without a loss (`CLUSTER FAILOVER`),
    /// and waits until all servers know.
    ///
    /// # Panics
    ///
    /// When there is no replica, or it refuses.
    pub fn fail_over(&self, slot: u16) {
        let (old, new) = (self.owner(slot), self.replica(slot));
        accepted(new, &["CLUSTER", "FAILOVER"]);
        let mut look = || {
            let done = Nodes::of(new).me()?.is_primary() && !Nodes::of(old).me()?.is_primary();
            done.then_some(())
        };
        // A replica that is slow gives up after five seconds. Until then, another request would
        // only delay it.
        for _ in 1..6 {
            if poll(PATIENCE / 6, &mut look).is_some() {
                break;
            }
            new.command(&["CLUSTER", "FAILOVER"]);
        }
        self.wait_for("a failover", look);
        self.wait_until_known(slot, &id(new));
    }

    fn wait_until_known(&self, slot: u16, owner: &str) {
        self.wait_for("servers that know the owner", || {
            let knows = |server: &RedisServer| Nodes::of(server).owner(slot) == owner;
            self.running().all(knows).then_some(())
        });
    }

    fn running(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.iter().filter(|server| server.pid().is_some())
    }

    /// Makes a cluster of the servers, which know nothing of each other.
    fn form(&self) {
        let (primaries, replicas) = self.servers.split_at(PRIMARIES);
        for (place, primary) in primaries.iter().enumerate() {
            // Different ones, so that no two of them have to be made different first.
            accepted(
                primary,
                &["CLUSTER", "SET-CONFIG-EPOCH", &(place + 1).to_string()],
            );
            let slots = slots(place);
            let (first, last) = (slots.start().to_string(), slots.end().to_string());
            accepted(primary, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for place in 1..self.servers.len() {
            self.meet(place);
        }
        self.wait_until_all_know_each_other();
        for (primary, replica) in primaries.iter().zip(replicas) {
            accepted(replica, &["CLUSTER", "REPLICATE", &id(primary)]);
        }
        self.wait_for("a cluster that works", || {
            let works = |server: &RedisServer| info(server).contains("cluster_state:ok");
            let all_work = self.servers.iter().all(works);
            (all_work && replicas.iter().all(follows)).then_some(())
        });
    }

    /// Lets a server meet those before it.
    fn meet(&self, place: usize) {
        let server = &self.servers[place];
        for other in &self.servers[..place] {
            let (port, bus_port) = (other.port().to_string(), other.bus_port().to_string());
            accepted(server, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]);
        }
    }

    fn wait_until_all_know_each_other(&self) {
        self.wait_for("servers that know each other", || {
            let know = |server: &RedisServer| Nodes::of(server).know_each_other(self.servers.len());
            self.servers.iter().all(know).then_some(())
        });
    }

    fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        poll(PATIENCE, look).unwrap_or_else(|| {
            let nodes: Vec<_> = self.running().map(|server| Nodes::of(server).0).collect();
            panic!(
                "no {what} within {PATIENCE:?}; servers say:\n{}",
                nodes.join("\n")
            )
        })
    }
}

/// A slot that is being moved: see [`RedisCluster::migrate`]. Dropping it leaves it so.
#[derive(Debug)]
pub struct Migration<'a> {
    cluster: &'a RedisCluster,
    slot: u16,
    from: &'a RedisServer,
    to: &'a RedisServer,
}

impl Migration<'_> {
    /// Moves a key; returns whether it was there.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub fn move_key(&self, key: &str) -> bool {
        self.send_keys(&[key.as_bytes().into()])
    }

    /// Moves all keys that are left.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub fn move_keys(&self) {
        let slot = self.slot.to_string();
        loop {
            let keys = self
                .from
                .command(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS_AT_ONCE]);
            let keys = keys.into_array().expect("keys").into_iter();
            let keys: Vec<Vec<u8>> = keys
                .filter_map(Reply::into_bytes)
                .map(|key| key.to_vec())
                .collect();
            if keys.is_empty() {
                return;
            }
            self.send_keys(&keys);
        }
    }

    /// Moves what is left, and gives the slot to the new primary; returns when all servers know.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub fn finish(self) {
        self.move_keys();
        let to = id(self.to);
        self.set(self.to, &["NODE", &to]);
        self.set(self.from, &["NODE", &to]);
        self.cluster.wait_until_known(self.slot, &to);
    }

    /// Lets both servers forget the migration. Only before a key was moved.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub fn cancel(self) {
        for server in [self.from, self.to] {
            self.set(server, &["STABLE"]);
        }
    }

    fn set(&self, server: &RedisServer, state: &[&str]) {
        let slot = self.slot.to_string();
        accepted(server, &[&["CLUSTER", "SETSLOT", &slot], state].concat());
    }

    fn send_keys(&self, keys: &[Vec<u8>]) -> bool {
        let port = self.to.port().to_string();
        let timeout = PATIENCE.as_millis().to_string();
        let mut command: Vec<&[u8]> = vec![b"MIGRATE", b"127.0.0.1", port.as_bytes()];
        command.extend([b"".as_slice(), b"0", timeout.as_bytes(), b"KEYS"]);
        command.extend(keys.iter().map(|key| &key[..]));
        match self.from.command(&command) {
            Reply::Status(status) => status == "OK",
            reply => panic!("MIGRATE was answered with {reply:?}"),
        }
    }
}

/// One that knows no other, with these settings.
fn server(settings: &[(String, String)]) -> RedisServer {
    let server = RedisServer::builder()
        .cluster()
        .setting("cluster-allow-replica-migration", "no")
        .setting("repl-diskless-sync-delay", "0");
    let settings = settings.iter();
    let server = settings.fold(server, |it, (name, value)| it.setting(name, value));
    server.start()
}

/// The slots of one of the primaries at first.
fn slots(place: usize) -> RangeInclusive<u16> {
    let count = LAST_SLOT / 3 + 1;
    let first = [0, count, 2 * count][place];
    first..=(first + count - 1).min(LAST_SLOT)
}

fn accepted(server: &RedisServer, command: &[&str]) {
    match server.command(command) {
        Reply::Status(status) if status == "OK" => {}
        reply => panic!("{command:?} was answered with {reply:?}"),
    }
}

fn text(server: &RedisServer, command: &[&str]) -> String {
    readable(server.command(command))
}

fn readable(reply: Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        reply => panic!("a text is expected, and the answer is {reply:?}"),
    }
}

fn id(server: &RedisServer) -> String {
    text(server, &["CLUSTER", "MYID"])
}

fn info(server: &RedisServer) -> String {
    text(server, &["CLUSTER", "INFO"])
}

/// Whether a replica has what its primary had, and hears of each change.
fn follows(replica: &RedisServer) -> bool {
    replica
        .info("replication")
        .contains("master_link_status:up")
}

/// The servers as one of them knows them: the answer to `CLUSTER NODES`.
struct Nodes(String);

/// One line of it.
struct Node {
    id: String,
    flags: String,
    /// The id of its primary; a hyphen without one.
    primary: String,
    epoch: u64,
    is_connected: bool,
    slots: Vec<String>,
}

impl Nodes {
    /// A server that loads the data of its primary knows nobody.
    fn of(server: &RedisServer) -> Self {
        match server.command(&["CLUSTER", "NODES"]) {
            Reply::Error(error) if error.starts_with("LOADING") => Self(String::new()),
            reply => Self(readable(reply)),
        }
    }

    fn all(&self) -> impl Iterator<Item = Node> {
        self.0.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let mut word = || words.next().map(str::to_owned);
            let (id, _address, flags, primary) = (word()?, word()?, word()?, word()?);
            let (_pinged, _answered, epoch) = (word()?, word()?, word()?.parse().ok()?);
            Some(Node {
                id,
                flags,
                primary,
                epoch,
                is_connected: word()? == "connected",
                slots: words.map(str::to_owned).collect(),
            })
        })
    }

    /// The one that was asked.
    fn me(&self) -> Option<Node> {
        self.all().find(|node| node.flags.contains("myself"))
    }

    /// The id of the owner of a slot; empty if it is not known.
    fn owner(&self, slot: u16) -> String {
        let owner = self.all().find(|node| node.has(slot));
        owner.map_or_else(String::new, |node| node.id)
    }

    fn know_each_other(&self, count: usize) -> bool {
        let known = self.all().filter(|node| {
            node.is_connected
                && !["handshake", "fail", "noaddr"]
                    .iter()
                    .any(|it| node.flags.contains(it))
        });
        known.count() == count && self.0.lines().count() == count
    }
}

impl Node {
    fn is_primary(&self) -> bool {
        self.flags.contains("master")
    }

    fn has(&self, slot: u16) -> bool {
        let slots = self.slots.iter().filter(|slots| !slots.starts_with('['));
        slots
            .filter_map(|slots| {
                let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
                Some(first.parse().ok()?..=last.parse::<u16>().ok()?)
            })
            .any(|slots| slots.contains(&slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_slots_have_an_owner_at_first() {
        assert_eq!(slots(0), 0..=5461);
        assert_eq!(slots(1), 5462..=10923);
        assert_eq!(slots(2), 10924..=16383);
    }

    #[test]
    fn a_slot_moves_with_its_keys_and_fails_over() {
        let cluster = RedisCluster::start();
        let slot = cluster.slot_of("{shop}");
        let (old, new) = (cluster.owner(slot), cluster.other_primary(slot));
        for key in ["{shop}:a", "{shop}:b"] {
            accepted(old, &["SET", key, "1"]);
        }
        let migration = cluster.migrate(slot, new);
        assert!(migration.move_key("{shop}:a") && !migration.move_key("{shop}:a"));
        let reply = old.command(&["GET", "{shop}:a"]);
        assert!(
            matches!(&reply, Reply::Error(error) if error.starts_with("ASK")),
            "{reply:?}"
        );
        let reply = old.command(&["EXISTS", "{shop}:a", "{shop}:b"]);
        assert!(
            matches!(&reply, Reply::Error(error) if error.starts_with("TRYAGAIN")),
            "{reply:?}"
        );
        migration.finish();
        assert_eq!(cluster.owner(slot).port(), new.port());
        assert_eq!(
            new.command(&["EXISTS", "{shop}:a", "{shop}:b"])
                .as_integer(),
            Some(2)
        );

        cluster.migrate(slot, old).cancel();
        let replica = cluster.replica(slot).port();
        cluster.fail_over(slot);
        let owner = cluster.owner(slot);
        assert_eq!(owner.port(), replica);
        assert_eq!(owner.command(&["GET", "{shop}:b"]), Reply::Bulk("1".into()));
        assert_eq!(cluster.replica(slot).port(), new.port());
    }
}
