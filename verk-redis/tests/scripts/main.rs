//! What only a real server shows: scripts that are flushed, connections that end, rights that are
//! missing.

mod idle;
mod pauses;
mod payloads;
mod shown;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use verk_core::{
    StorageError,
    error::Applied,
    names::NodeId,
    storage::{
        DequeueRequest, Dequeued, Due, Inprogress, JobSet, JobStore, NodeStore, Page, PauseStore,
        QueueConnection, Server, Settled, Settlement, Source, Target, WaitingStore,
    },
};
use verk_redis::{Error, RedisConfig, RedisStorage};
use verk_testing::{RedisServer, Reply, within};

const PATIENCE: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(300);
const ALL: Page = Page {
    offset: 0,
    limit: 1000,
};

/// A registered node with an open queue.
struct Setup {
    server: RedisServer,
    storage: RedisStorage,
    held: Inprogress,
    connection: Box<dyn QueueConnection>,
}

impl Setup {
    async fn start() -> Self {
        let server = RedisServer::start();
        let config = RedisConfig::new(server.url());
        Self::connect(server, config).await
    }

    async fn connect(server: RedisServer, config: RedisConfig) -> Self {
        let storage = RedisStorage::connect(config).await.unwrap();
        let held = Inprogress {
            queue: "default".parse().unwrap(),
            node: NodeId::register("web").unwrap(),
        };
        storage
            .register(
                &held.node,
                std::slice::from_ref(&held.queue),
                LONG,
                &Default::default(),
            )
            .await
            .unwrap();
        let connection = storage.open_queue(&held).await.unwrap();
        Self {
            server,
            storage,
            held,
            connection,
        }
    }

    async fn enqueue(&self, jobs: &[&'static str]) {
        let jobs = bytes(jobs);
        self.storage.enqueue(&self.held.queue, &jobs).await.unwrap();
    }

    async fn dequeue(&mut self) -> Result<Vec<Bytes>, StorageError> {
        let answer = self.connection.dequeue(request(Duration::ZERO)).await?;
        Ok(jobs(answer))
    }

    async fn settle(&self, settlements: &[(&'static str, Target)]) -> Vec<Settled> {
        let settlements: Vec<Settlement> = settlements
            .iter()
            .map(|(held, to)| Settlement::new(Bytes::from_static(held.as_bytes()), to.clone()))
            .collect();
        self.storage.settle(&self.held, &settlements).await
    }

    async fn in_progress(&self) -> Vec<Bytes> {
        self.storage.inprogress(&self.held, ALL).await.unwrap()
    }
}

/// Completes once so many commands block on the server.
async fn blocked(server: &RedisServer, count: usize) {
    let expected = format!("blocked_clients:{count}\r\n");
    let look = async {
        while !text(server.command(&["INFO", "clients"])).contains(&expected) {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, look).await;
}

/// The commands that the server runs, those inside of scripts too, one a line.
struct Monitor {
    lines: BufReader<UnixStream>,
}

impl Monitor {
    fn start(server: &RedisServer) -> Self {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut lines = BufReader::new(stream);
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert_eq!(first, "+OK\r\n");
        Self { lines }
    }

    /// How many entries of `key` were asked for, by each `LRANGE` or `ZRANGE` since the last call.
    fn reads_of(&mut self, key: &str, server: &RedisServer) -> Vec<i64> {
        let lines = self.lines_so_far(server);
        let reads = lines.iter().filter_map(|line| {
            let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            let [command, of, first, last, ..] = words[..] else {
                return None;
            };
            let place = |text: &str| text.parse::<i64>().unwrap();
            (of == key && matches!(command, "LRANGE" | "ZRANGE"))
                .then(|| place(last) - place(first) + 1)
        });
        reads.collect()
    }

    /// The names of the commands that were sent since the last call, a script as one.
    fn sent(&mut self, server: &RedisServer) -> Vec<String> {
        let lines = self.lines_so_far(server);
        let sent = lines.iter().filter(|line| !line.contains(" lua] "));
        let names = sent.filter_map(|line| line.split('"').nth(1));
        names.map(str::to_owned).collect()
    }

    /// What the server ran since the last call.
    fn lines_so_far(&mut self, server: &RedisServer) -> Vec<String> {
        server.command(&["ECHO", "so far"]);
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            self.lines.read_until(b'\n', &mut line).unwrap();
            let line = String::from_utf8_lossy(&line).into_owned();
            if line.contains(r#""ECHO" "so far""#) {
                return lines;
            }
            lines.push(line);
        }
    }
}

/// The ids of all connections but that of the one who asks.
fn client_ids(server: &RedisServer) -> Vec<String> {
    text(server.command(&["CLIENT", "LIST"]))
        .lines()
        .filter(|line| !line.contains("cmd=client|list"))
        .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
        .collect()
}

fn bytes(jobs: &[&'static str]) -> Vec<Bytes> {
    jobs.iter()
        .map(|job| Bytes::from_static(job.as_bytes()))
        .collect()
}

fn text(reply: Reply) -> String {
    String::from_utf8(reply.into_bytes().expect("a text").to_vec()).unwrap()
}

fn request(wait: Duration) -> DequeueRequest {
    DequeueRequest {
        max_jobs: 10,
        max_bytes: 1024 * 1024,
        prefetched: 0,
        wait,
        interrupt: CancellationToken::new(),
    }
}

fn jobs(answer: Dequeued) -> Vec<Bytes> {
    match answer {
        Dequeued::Jobs(jobs) => jobs,
        Dequeued::Paused(_) => panic!("the queue is paused"),
        Dequeued::NodeGone => panic!("the node is gone"),
    }
}

/// The whole text of an error: what a log would show.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error} {error:?}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let mut setup = Setup::start().await;
    let mut heartbeat = setup
        .storage
        .open_heartbeat(&setup.held.node, LONG)
        .await
        .unwrap();
    for _ in 0..3 {
        setup.server.command(&["SCRIPT", "FLUSH"]);
        setup.enqueue(&["a"]).await;
        assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
        let settled = setup.settle(&[("a", Target::Ack)]).await;
        assert!(matches!(settled[..], [Settled::Done]), "{settled:?}");
        assert!(heartbeat.beat().await.unwrap().alive);
    }
}

#[tokio::test]
async fn questions_are_asked_again_over_another_connection() {
    let setup = Setup::start().await;
    for _ in 0..20 {
        let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
        setup.server.command(&kill);
        // Nobody here has seen the end of the connections yet.
        setup.storage.server_time().await.unwrap();
        assert_eq!(setup.storage.nodes().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_wait_is_interrupted_at_once_and_again() {
    let mut setup = Setup::start().await;
    for round in 0..50 {
        let request = request(LONG);
        let interrupt = request.interrupt.clone();
        let early = round % 2 == 0;
        let interrupter = async {
            if early {
                tokio::task::yield_now().await;
            } else {
                blocked(&setup.server, 1).await;
            }
            interrupt.cancel();
        };
        let fetch = setup.connection.dequeue(request);
        let started = async { tokio::join!(fetch, interrupter).0 };
        // The longest block is 5 s: an interrupt that is missed shows.
        let answer = within(Duration::from_secs(4), started).await;
        assert_eq!(jobs(answer.unwrap()), bytes(&[]), "round {round}");
    }
    setup.enqueue(&["a"]).await;
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
}

#[tokio::test]
async fn a_dropped_wait_moves_no_job_after_a_reset() {
    let mut setup = Setup::start().await;
    for last_step in ["reset", "dequeue"] {
        let fetch = setup.connection.dequeue(request(LONG));
        let mut fetch = Box::pin(fetch);
        tokio::select! {
            answer = &mut fetch => panic!("{answer:?}"),
            () = blocked(&setup.server, 1) => {}
        }
        drop(fetch);
        if last_step == "reset" {
            setup.connection.reset().await.unwrap();
            setup.connection.reset().await.unwrap();
        } else {
            assert_eq!(setup.dequeue().await.unwrap(), bytes(&[]));
        }
        blocked(&setup.server, 0).await;
        setup.enqueue(&["a"]).await;
        assert_eq!(setup.in_progress().await, bytes(&[]));
        assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
        setup.settle(&[("a", Target::Ack)]).await;
    }
}

#[tokio::test]
async fn a_stalled_fetch_moves_nothing_after_a_reset() {
    let server = RedisServer::start();
    let config = RedisConfig::new(server.url()).response_timeout(Duration::from_secs(1));
    let mut setup = Setup::connect(server, config).await;
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&[]));
    setup.enqueue(&["a"]).await;
    setup
        .server
        .command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let error = setup.dequeue().await.unwrap_err();
    assert_eq!(error.applied(), Applied::Unknown);
    setup.connection.reset().await.unwrap();
    setup.server.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(setup.in_progress().await, bytes(&[]));
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
}

#[tokio::test]
async fn a_reset_after_a_restart_ends_no_other_connection() {
    let mut setup = Setup::start().await;
    setup.storage.server_time().await.unwrap();
    for _ in 0..3 {
        let restart = async {
            blocked(&setup.server, 1).await;
            setup.server.restart();
        };
        let fetch = setup.connection.dequeue(request(LONG));
        let (answer, ()) = within(PATIENCE, async { tokio::join!(fetch, restart) }).await;
        assert_eq!(answer.unwrap_err().applied(), Applied::Unknown);
        // Connections with small ids, such as the one before the restart had.
        let mut others = Vec::new();
        for _ in 0..10 {
            let node = &setup.held.node;
            others.push(setup.storage.open_heartbeat(node, LONG).await.unwrap());
        }
        let before = client_ids(&setup.server);
        setup.connection.reset().await.unwrap();
        let after = client_ids(&setup.server);
        let ended: Vec<&String> = before.iter().filter(|id| !after.contains(id)).collect();
        assert!(ended.is_empty(), "{ended:?}");
        let queues = std::slice::from_ref(&setup.held.queue);
        setup
            .storage
            .register(&setup.held.node, queues, LONG, &Default::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn without_the_right_to_end_connections_a_reset_waits() {
    let server = RedisServer::start();
    server.command(&[
        "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-client", "-info",
    ]);
    let path = server.socket();
    let url = format!("redis+unix://{}?user=app&pass=secret", path.display());
    let config = RedisConfig::new(url).response_timeout(Duration::from_secs(1));
    let mut setup = Setup::connect(server, config).await;
    setup.enqueue(&["a"]).await;
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
    setup.settle(&[("a", Target::Requeue)]).await;

    setup
        .server
        .command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let error = setup.dequeue().await.unwrap_err();
    assert_eq!(error.applied(), Applied::Unknown);
    within(PATIENCE, setup.connection.reset()).await.unwrap();
    setup.server.command(&["CLIENT", "UNPAUSE"]);
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));

    let request = request(Duration::from_millis(200));
    request.interrupt.cancel();
    let answer = setup.connection.dequeue(request).await;
    assert_eq!(jobs(answer.unwrap()), bytes(&[]));
}

#[tokio::test]
async fn without_the_right_to_announce_pauses_they_are_read_all_the_same() {
    let server = RedisServer::start();
    let rights = [
        "on",
        ">secret",
        "~*",
        "+@all",
        "-subscribe",
        "resetchannels",
    ];
    server.command(&[&["ACL", "SETUSER", "app"], &rights[..]].concat());
    let path = server.socket();
    let url = format!("redis+unix://{}?user=app&pass=secret", path.display());
    let mut setup = Setup::connect(server, RedisConfig::new(url)).await;
    let mut listener = setup.storage.open_pause_listener().await.unwrap();
    let queue = setup.held.queue.clone();
    assert!(setup.storage.pause(&queue, &Bytes::new()).await.unwrap());
    assert!(listener.paused().await.unwrap().contains(&queue));
    let answer = setup.connection.dequeue(request(LONG)).await.unwrap();
    assert_eq!(answer, Dequeued::Paused(Vec::new()));
}

#[tokio::test]
async fn a_full_server_refuses_to_wait_but_hands_out_what_is_there() {
    let mut setup = Setup::start().await;
    setup.enqueue(&["a"]).await;
    setup.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let answer = setup.connection.dequeue(request(LONG)).await;
    assert_eq!(jobs(answer.unwrap()), bytes(&["a"]));
    let error = setup.connection.dequeue(request(LONG)).await.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied, "{error:?}");
    assert!(chain(&error).contains("OOM"), "{error:?}");
    setup.server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&[]));
}

#[tokio::test]
async fn a_replica_refuses_without_doubt() {
    let mut setup = Setup::start().await;
    setup.enqueue(&["a", "b"]).await;
    assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a", "b"]));
    setup.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let settled = setup
        .settle(&[("a", Target::Ack), ("b", Target::Requeue)])
        .await;
    for settled in &settled {
        let Settled::Failed(error) = settled else {
            panic!("{settled:?}");
        };
        assert_eq!(error.applied(), Applied::NotApplied, "{error:?}");
    }
    let error = setup.dequeue().await.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied, "{error:?}");
    setup.server.command(&["REPLICAOF", "NO", "ONE"]);
    let settled = setup.settle(&[("a", Target::Ack)]).await;
    assert!(matches!(settled[..], [Settled::Done]), "{settled:?}");
}

#[tokio::test]
async fn of_two_settlements_for_one_job_the_first_counts() {
    let mut setup = Setup::start().await;
    let retry = Target::Retry(Due {
        at: UNIX_EPOCH + Duration::from_millis(1_500),
        job: Bytes::from_static(b"a, retried"),
    });
    for (first, second) in [
        (Target::Requeue, Target::Ack),
        (Target::Requeue, retry.clone()),
        (Target::Requeue, Target::Requeue),
        (Target::Ack, Target::Requeue),
        (retry, Target::Requeue),
    ] {
        setup.enqueue(&["a"]).await;
        assert_eq!(setup.dequeue().await.unwrap(), bytes(&["a"]));
        let requeued = usize::from(first == Target::Requeue);
        let settled = setup.settle(&[("a", first), ("a", second)]).await;
        assert!(
            matches!(settled[..], [Settled::Done, Settled::NotHeld]),
            "{settled:?}"
        );
        assert_eq!(setup.dequeue().await.unwrap().len(), requeued);
        setup.settle(&[("a", Target::Ack)]).await;
    }
    let scores = setup.server.command(&["ZSCORE", "retry", "a, retried"]);
    assert_eq!(scores, Reply::Bulk("1.5".into()));
    assert_eq!(
        setup
            .storage
            .len(&Source::Set(JobSet::Retry))
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named_without_the_password() {
    let config = RedisConfig::new("redis://user:secret@127.0.0.1:1/0")
        .connect_timeout(Duration::from_secs(2));
    let error = RedisStorage::connect(config).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    // It lets clients connect, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let config =
        RedisConfig::new(format!("redis://{address}")).connect_timeout(Duration::from_millis(200));
    let error = within(PATIENCE, RedisStorage::connect(config))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_shows_the_password() {
    let server = RedisServer::start();
    let user = ["ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all"];
    server.command(&user);
    let url = |pass| {
        format!(
            "redis+unix://{}?user=app&pass={pass}",
            server.socket().display()
        )
    };

    let error = RedisStorage::connect(url("wrong-secret"))
        .await
        .unwrap_err();
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    let error = RedisStorage::connect("rediss://:secret@127.0.0.1:1")
        .await
        .unwrap_err();
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));

    let storage = RedisStorage::connect(url("secret")).await.unwrap();
    assert!(!format!("{storage:#?}").contains("secret"), "{storage:#?}");
    server.command(&["ACL", "SETUSER", "app", "-time"]);
    let error = storage.server_time().await.unwrap_err();
    assert_eq!(error.applied(), Applied::NotApplied);
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
}

#[tokio::test]
async fn a_prefix_is_deleted_and_nothing_else() {
    let server = RedisServer::start();
    let connect = async |prefix: Option<String>| {
        let config = RedisConfig::new(server.url()).prefix(prefix);
        RedisStorage::connect(config).await.unwrap()
    };
    let queue = "default".parse().unwrap();
    let prefixes = [None, Some("a*".to_owned()), Some("ab".to_owned())];
    let mut storages = Vec::new();
    for prefix in prefixes {
        let storage = connect(prefix).await;
        storage.enqueue(&queue, &bytes(&["job"])).await.unwrap();
        storages.push(storage);
    }
    assert!(matches!(
        storages[0].delete_prefix().await,
        Err(Error::NoPrefix)
    ));
    storages[1].delete_prefix().await.unwrap();
    for (storage, expected) in storages.iter().zip([1, 0, 1]) {
        assert_eq!(
            storage.len(&Source::Queue(queue.clone())).await.unwrap(),
            expected
        );
    }
    assert_eq!(server.command(&["DBSIZE"]).as_integer(), Some(4));
}

#[tokio::test]
async fn however_many_nodes_live_a_look_for_dead_ones_is_two_commands() {
    let setup = Setup::start().await;
    let mut nodes = Vec::new();
    for _ in 0..50 {
        let node = NodeId::register("other").unwrap();
        let queues = std::slice::from_ref(&setup.held.queue);
        let registered = setup
            .storage
            .register(&node, queues, LONG, &Default::default())
            .await;
        registered.unwrap();
        nodes.push(node);
    }
    setup.server.command(&["CONFIG", "RESETSTAT"]);
    assert_eq!(setup.storage.silent_nodes().await.unwrap(), []);
    let Reply::Bulk(stats) = setup.server.command(&["INFO", "commandstats"]) else {
        panic!("INFO gives a text");
    };
    let stats = String::from_utf8(stats.to_vec()).unwrap();
    let mut calls: Vec<&str> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split(',').next())
        .filter(|line| !line.starts_with("config"))
        .collect();
    calls.sort_unstable();
    assert_eq!(calls, ["exists:calls=1", "smembers:calls=1"]);

    setup
        .server
        .command(&["DEL", &format!("verk:node:{}", nodes[7])]);
    let silent = setup.storage.silent_nodes().await.unwrap();
    assert_eq!(silent.len(), 1);
    assert_eq!((&silent[0].id, silent[0].alive), (&nodes[7], false));
    assert_eq!(silent[0].queues, std::slice::from_ref(&setup.held.queue));
}
