//! Connections that end, and servers that refuse.

use bb8_redis::redis;
use verk_core::error::StorageErrorKind;
use verk_testing::{RedisServer, within};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

fn connector(server: &RedisServer) -> Connector {
    let config = RedisConfig::new(server.url()).response_timeout(Duration::from_secs(1));
    Connector::new(&config).unwrap()
}

#[tokio::test]
async fn connections_that_end_while_idle_are_replaced_before_they_are_used() {
    let server = RedisServer::start();
    let connector = connector(&server);
    let pool = Pool::new(connector.clone(), 3);
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut connection = pool.get().await.unwrap();
        connection.query(&redis::cmd("PING")).await.unwrap();
        idle.push(connection);
    }
    server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let noticed = async {
        while !idle.iter().all(Connection::is_broken) {
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, noticed).await;
    assert_eq!(connector.lost(), 3);
    for _ in 0..6 {
        let mut connection = pool.get().await.unwrap();
        connection.query(&redis::cmd("PING")).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_without_a_reply_is_given_up() {
    let server = RedisServer::start();
    let pool = Pool::new(connector(&server), 1);
    let mut connection = pool.get().await.unwrap();
    let mut block = redis::cmd("BLPOP");
    block.arg("nothing").arg(0);
    let failure = connection.query(&block).await.unwrap_err();
    assert_eq!(failure.applied(), Applied::Unknown);
    assert!(connection.is_broken());
    let mut connection = pool.get().await.unwrap();
    connection.query(&redis::cmd("PING")).await.unwrap();
}

#[tokio::test]
async fn what_the_server_refuses_breaks_nothing() {
    let server = RedisServer::start();
    server.command(&["SET", "text", "x"]);
    let mut connection = connector(&server).connect().await.unwrap();
    for command in [vec!["LLEN", "text"], vec!["NONSENSE"]] {
        let mut wrong = redis::cmd(command[0]);
        wrong.arg(&command[1..]);
        let failure = connection.query(&wrong).await.unwrap_err();
        assert_eq!(failure.applied(), Applied::NotApplied);
        assert!(!connection.is_broken());
    }
}

#[tokio::test]
async fn a_server_that_became_a_replica_is_left() {
    let server = RedisServer::start();
    let mut connection = connector(&server).connect().await.unwrap();
    let mut pipelined = connection.clone();
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut write = redis::cmd("SADD");
    write.arg("key").arg("member");
    let failure = connection.query(&write).await.unwrap_err();
    assert_eq!(failure.applied(), Applied::NotApplied);
    assert!(
        connection.is_broken(),
        "another server may be the master now"
    );

    pipelined.broken.is = Arc::default();
    let mut writes = redis::pipe();
    writes.cmd("SADD").arg("key").arg("member");
    let replies = pipelined.query_all(&writes).await.unwrap();
    assert!(replies[0].is_err() && pipelined.is_broken());
}

#[tokio::test]
async fn an_empty_password_hides_no_error() {
    let connector = Connector::new(&RedisConfig::new("redis://:@127.0.0.1:1")).unwrap();
    let error = connector.connect().await.unwrap_err();
    assert!(error.is_connection_refusal(), "{error}");
}

#[tokio::test]
async fn a_pool_says_why_there_is_no_connection() {
    let server = RedisServer::start();
    server.stop();
    let config = RedisConfig::new(server.url()).connect_timeout(Duration::from_secs(1));
    let pool = Pool::new(Connector::new(&config).unwrap(), 1);
    let failure = pool.get().await.unwrap_err();
    assert_eq!(failure.applied(), Applied::NotApplied);
    let error = failure.during("try");
    assert_eq!(error.kind(), StorageErrorKind::Unreachable);
    let error = error.to_string();
    assert!(
        error.contains("(nothing was sent)")
            && error.contains("redis.sock")
            && error.contains("nobody listens there"),
        "{error}"
    );
}
