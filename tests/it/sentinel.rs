//! A primary that Sentinels know, and failovers that they decide on.

use std::{collections::BTreeSet, time::Duration};

use verk::{
    Verk,
    prelude::*,
    redis::{Error, RedisConfig, RedisStorage},
    storage::JobStore,
};
use verk_testing::{RedisServer, Reply, within};

use crate::support::{Gate, Log, PATIENCE, States, a_moment, offset, until_slowly, wait_for};

#[verk::worker(timeout = "60s")]
async fn watched_number(number: u32, State(log): State<Log>, State(gate): State<Gate>) {
    gate.pass().await;
    log.push(number.to_string());
}

/// A primary with a replica, and three Sentinels of which two decide.
struct Watched {
    primary: RedisServer,
    replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    async fn start() -> Self {
        let server = || {
            RedisServer::builder()
                .tcp()
                .setting("repl-diskless-sync-delay", "0")
        };
        // Without its replica it takes no writes, which would be lost.
        let primary = server().setting("min-replicas-to-write", "1").start();
        let replica = server().start();
        let port = primary.port().to_string();
        replica.command(&["REPLICAOF", "127.0.0.1", &port]);
        until_slowly(|| {
            replica
                .info("replication")
                .contains("master_link_status:up")
        })
        .await;
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(&primary, "2")).collect();
        // They learn of each other and of the replica.
        until_slowly(|| {
            sentinels.iter().all(|sentinel| {
                let info = sentinel.info("sentinel");
                info.contains("slaves=1") && info.contains("sentinels=3")
            })
        })
        .await;
        Self {
            primary,
            replica,
            sentinels,
        }
    }

    fn config(&self) -> RedisConfig {
        RedisConfig::new(url(&self.sentinels)).connect_timeout(Duration::from_secs(4))
    }
}

fn url(sentinels: &[RedisServer]) -> String {
    let hosts: Vec<_> = sentinels
        .iter()
        .map(|it| format!("127.0.0.1:{}", it.port()))
        .collect();
    format!("redis+sentinel://{}/main", hosts.join(","))
}

fn sentinel(primary: &RedisServer, quorum: &str) -> RedisServer {
    let sentinel = RedisServer::builder().sentinel().start();
    let port = primary.port().to_string();
    for command in [
        ["MONITOR", "main", "127.0.0.1", &port, quorum].as_slice(),
        &["SET", "main", "down-after-milliseconds", "1000"],
        &["SET", "main", "failover-timeout", "5000"],
    ] {
        let command = [&["SENTINEL"], command].concat();
        assert_eq!(sentinel.command(&command), Reply::Status("OK".to_owned()));
    }
    sentinel
}

#[tokio::test]
async fn after_the_primary_died_all_goes_on_at_the_new_one() {
    fail_over(|watched| watched.primary.stop()).await;
}

#[tokio::test]
async fn after_a_switch_on_request_all_goes_on_at_the_new_primary() {
    fail_over(|watched| {
        let request = ["SENTINEL", "FAILOVER", "main"];
        // It may not have heard from the replica lately.
        while watched.sentinels[0].command(&request) != Reply::Status("OK".to_owned()) {}
    })
    .await;
}

/// A node works through a failover, and nothing that the replica had is lost.
async fn fail_over(begin: impl FnOnce(&Watched)) {
    let watched = Watched::start().await;
    let states = States::new();
    let builder = Verk::builder()
        .redis(watched.config())
        .queue("default", 10)
        .heartbeat(Duration::from_secs(2));
    let verk = states.give(builder).build().await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    let jobs = (0..40).map(WatchedNumber::new);
    verk.client().enqueue_all(jobs).await.unwrap();
    for _ in 0..15 {
        states.gate.open_once();
    }
    while states.log.entries().len() < 15 {
        wait_for(&mut events, Some).await;
    }
    // Writes that no replica has are lost with the primary, for every client: not here.
    let written = offset(&watched.primary);
    until_slowly(|| offset(&watched.replica) >= written).await;

    begin(&watched);
    let new = watched.replica.port().to_string();
    until_slowly(|| {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"];
        let address = watched.sentinels[0].command(&question);
        address.into_array().unwrap()[1] == Reply::Bulk(new.clone().into())
    })
    .await;
    within(PATIENCE, async {
        while verk.enqueue(WatchedNumber::new(40)).await.is_err() {
            a_moment().await;
        }
    })
    .await;
    states.gate.open();
    let ran = || -> BTreeSet<u32> {
        let ran = states.log.entries();
        ran.iter().map(|number| number.parse().unwrap()).collect()
    };
    while ran().len() < 41 {
        wait_for(&mut events, Some).await;
    }
    verk.shutdown().await;
    let left = watched.replica.command(&["KEYS", "*:default*"]);
    let left = left.into_array().unwrap().into_iter();
    let left: Vec<_> = left.map(|key| key.into_bytes().unwrap()).collect();
    assert!(left.iter().all(|key| key.starts_with(b"stat:")), "{left:?}");
}

#[tokio::test]
async fn a_sentinel_that_is_behind_or_gone_misleads_nobody() {
    let (old, new) = (
        RedisServer::builder().tcp().start(),
        RedisServer::builder().tcp().start(),
    );
    let gone = sentinel(&new, "2");
    let sentinels = [
        sentinel(&old, "2"),
        sentinel(&new, "2"),
        sentinel(&new, "2"),
        gone,
    ];
    sentinels[3].stop();
    let storage = RedisStorage::connect(url(&sentinels)).await.unwrap();
    let queue = "default".parse().unwrap();
    storage.enqueue(&queue, &["{}".into()]).await.unwrap();
    assert_eq!(
        new.command(&["LLEN", "queue:default"]).as_integer(),
        Some(1)
    );
}

#[tokio::test]
async fn passwords_of_the_sentinels_and_of_the_primary_are_apart() {
    let primary = RedisServer::builder().tcp().start();
    let sentinel = sentinel(&primary, "1");
    sentinel.command(&["SENTINEL", "SET", "main", "auth-user", "watch"]);
    sentinel.command(&["SENTINEL", "SET", "main", "auth-pass", "watching"]);
    primary.command(&[
        "ACL",
        "SETUSER",
        "watch",
        "on",
        ">watching",
        "~*",
        "&*",
        "+@all",
    ]);
    primary.command(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pri@mary",
        "~*",
        "&*",
        "+@all",
    ]);
    primary.command(&["ACL", "SETUSER", "default", "-@all", "+acl|log", "+dbsize"]);
    sentinel.command(&["ACL", "SETUSER", "who", "on", ">asks", "&*", "+@all"]);
    sentinel.command(&["ACL", "SETUSER", "default", "off"]);
    let url = |user: &str, asks: &str| {
        let port = sentinel.port();
        RedisConfig::new(format!(
            "redis+sentinel://app:{user}@127.0.0.1:{port}/main/3?sentinel_user=who&sentinel_pass={asks}"
        ))
    };
    let storage = RedisStorage::connect(url("pri%40mary", "asks"))
        .await
        .unwrap();
    let queue = "default".parse().unwrap();
    storage.enqueue(&queue, &["{}".into()]).await.unwrap();

    for config in [url("wrong-one", "asks"), url("pri%40mary", "wrong-one")] {
        let error = RedisStorage::connect(config).await.unwrap_err();
        let text = format!("{error:?} {error}");
        assert!(matches!(error, Error::Connect { .. }), "{text}");
        assert!(
            text.contains("WRONGPASS") || text.contains("AuthenticationFailed"),
            "{text}"
        );
        assert!(
            !text.contains("wrong-one") && !text.contains("asks"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_name_that_nobody_watches_and_a_replica_are_refused() {
    let watched = RedisServer::builder().tcp().start();
    let sentinel = sentinel(&watched, "1");
    let port = sentinel.port();
    let error = RedisStorage::connect(format!("redis+sentinel://127.0.0.1:{port}/other"));
    let error = format!("{:?}", error.await.unwrap_err());
    assert!(
        error.contains("watches no primary") && error.contains("other"),
        "{error}"
    );

    watched.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = RedisStorage::connect(format!("redis+sentinel://127.0.0.1:{port}/main"));
    let error = format!("{:?}", error.await.unwrap_err());
    assert!(error.contains("is no primary"), "{error}");
}
