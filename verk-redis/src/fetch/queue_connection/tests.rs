use tokio_util::sync::CancellationToken;
use verk_core::{names::NodeId, storage::Server};
use verk_testing::{RedisServer, within};

use super::*;
use crate::RedisStorage;

const PATIENCE: Duration = Duration::from_secs(30);

async fn open(server: &RedisServer) -> (RedisQueueConnection, DequeueRequest) {
    let storage = RedisStorage::connect(server.url()).await.unwrap();
    let inprogress = Inprogress {
        queue: "default".parse().unwrap(),
        node: NodeId::from("web"),
    };
    storage.server_time().await.unwrap();
    let queues = Arc::clone(&storage.queues);
    let connection = RedisQueueConnection::open(queues, &inprogress)
        .await
        .unwrap();
    let request = DequeueRequest {
        max_jobs: 1,
        max_bytes: 1,
        prefetched: 0,
        wait: Duration::from_secs(300),
        interrupt: CancellationToken::new(),
    };
    (connection, request)
}

async fn until_info_has(server: &RedisServer, section: &str, text: &str) {
    let look = async {
        loop {
            if server.info(section).contains(text) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within(PATIENCE, look).await;
}

#[tokio::test]
async fn an_interrupt_of_a_server_that_is_paused_does_no_harm() {
    let server = RedisServer::start();
    let (mut connection, request) = open(&server).await;
    let held = connection.line.hold().await.unwrap().unwrap();
    server.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let interrupt = request.interrupt.clone();
    let (answer, ()) = within(PATIENCE, async {
        tokio::join!(connection.block(held, &request), async {
            interrupt.cancel();
            until_info_has(&server, "commandstats", "cmdstat_multi:calls=1").await;
            assert!(server.command(&["CLIENT", "LIST"]).into_bytes().is_some());
            server.command(&["CLIENT", "UNPAUSE"]);
        })
    })
    .await;
    assert_eq!(answer.unwrap(), Dequeued::Jobs(Vec::new()));
}

#[tokio::test]
async fn a_block_that_begins_after_the_interrupt_is_ended_too() {
    let server = RedisServer::start();
    let (connection, request) = open(&server).await;
    let blocked = connection.queues.link.connector.connect().await.unwrap();
    request.interrupt.cancel();
    let block = async {
        let unblocked = "cmdstat_client|unblock:calls=1";
        until_info_has(&server, "commandstats", unblocked).await;
        let mut block = redis::cmd("BLPOP");
        block.arg("nothing").arg(0);
        blocked.clone().query(&block).await
    };
    let both = async {
        tokio::join!(
            block,
            connection.unblock_when_interrupted(&blocked, &request)
        )
        .0
    };
    assert_eq!(within(PATIENCE, both).await.unwrap(), Value::Nil);
}
