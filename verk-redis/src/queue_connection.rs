//! The fetching side of one queue, on a connection of its own: [`RedisQueueConnection`].

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use verk_core::{
    Applied, Jid, StorageError,
    storage::{
        DequeueRequest, Dequeued, Inprogress, MAX_BATCH_BYTES, MAX_BATCH_JOBS, QueueConnection,
    },
};

use crate::{
    error::Failure,
    keys::Key,
    pool::Connection,
    reply,
    scripts::{self, Arg, arg},
    shared::Shared,
};

const DEQUEUE: &str = "dequeue jobs";
const RESET: &str = "reset the connection of a queue";

/// The longest that one command blocks; who wants to wait longer asks again.
const LONGEST_BLOCK: Duration = Duration::from_secs(5);

/// The shortest block: zero would be for ever.
const SHORTEST_BLOCK: Duration = Duration::from_millis(1);

/// How late the server may be with ending a block.
const BLOCK_SLACK: Duration = Duration::from_secs(1);

/// How long to wait before trying again to end a block that has not begun yet.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(5);

/// Moves the jobs of one queue into the list of one node.
#[derive(Debug)]
pub(crate) struct RedisQueueConnection {
    shared: Arc<Shared>,
    /// Those of the script.
    keys: [Key; 6],
    names: [Arg<'static>; 2],
    link: Option<Link>,
    /// Set while a command is under way, and left when its reply did not come.
    doubt: Option<Doubt>,
}

/// A connection, and how the server knows it.
#[derive(Clone, Debug)]
struct Link {
    connection: Connection,
    identity: Option<Arc<Identity>>,
}

/// The id alone is not enough to end a connection: a server that was restarted gives it to another.
#[derive(Clone, Debug)]
struct Identity {
    id: i64,
    name: String,
}

/// A command whose reply nobody saw: the server may still move a job for it.
#[derive(Debug)]
struct Doubt {
    identity: Option<Arc<Identity>>,
    /// When the server has given up on it by itself.
    over_at: Instant,
}

impl RedisQueueConnection {
    pub(crate) async fn open(
        shared: Arc<Shared>,
        inprogress: &Inprogress,
    ) -> Result<Self, StorageError> {
        let (queue, node) = (&inprogress.queue, &inprogress.node);
        let keys = [
            shared.keys.queue(queue),
            shared.keys.inprogress(queue, node),
            shared.keys.heartbeat(node),
            shared.keys.nodes(),
            shared.keys.node_queues(node),
            shared.keys.prefetched(queue, node),
        ];
        let mut connection = Self {
            shared,
            keys,
            names: [arg(node), arg(queue)],
            link: None,
            doubt: None,
        };
        match connection.link().await {
            Ok(_) => Ok(connection),
            Err(failure) => Err(failure.during("open the connection of a queue")),
        }
    }

    /// The connection, made anew when there is none or it ended.
    async fn link(&mut self) -> Result<Link, Failure> {
        match &self.link {
            Some(link) if !link.connection.is_broken() => Ok(link.clone()),
            _ => {
                self.link = None;
                let connected = self.shared.connector.connect().await;
                let mut connection = connected.map_err(Failure::not_sent)?;
                let identity = introduce(&mut connection)
                    .await
                    .map_err(Failure::before_sending)?;
                let link = Link {
                    connection,
                    identity: identity.map(Arc::new),
                };
                self.link = Some(link.clone());
                Ok(link)
            }
        }
    }

    /// Looks once, without waiting.
    async fn fetch(
        &mut self,
        link: &mut Link,
        request: &DequeueRequest,
    ) -> Result<Dequeued, Failure> {
        let [node, queue] = self.names.clone();
        let max_jobs = request.max_jobs.clamp(1, MAX_BATCH_JOBS);
        let left_out = request.max_jobs.saturating_sub(max_jobs);
        let args = [
            arg(max_jobs),
            arg(request.max_bytes.min(MAX_BATCH_BYTES)),
            node,
            queue,
            arg(request.prefetched.saturating_sub(left_out)),
        ];
        self.begin(link, Duration::ZERO);
        let reply = scripts::DEQUEUE
            .run(&mut link.connection, &self.keys, &args)
            .await
            .and_then(|reply| match reply {
                Value::Int(_) => Ok(Dequeued::NodeGone),
                jobs => reply::payloads(jobs).map(Dequeued::Jobs),
            });
        self.end(reply)
    }

    /// Waits for one job.
    async fn wait(&mut self, link: &Link, request: &DequeueRequest) -> Result<Dequeued, Failure> {
        let block = request.wait.clamp(SHORTEST_BLOCK, LONGEST_BLOCK);
        let patience = self.shared.connector.response_timeout().max(BLOCK_SLACK);
        let mut connection = link
            .connection
            .clone()
            .with_response_timeout(block.saturating_add(patience));
        let mut command = redis::cmd("BLMOVE");
        command
            .arg(&self.keys[0])
            .arg(&self.keys[1])
            .arg("RIGHT")
            .arg("LEFT")
            .arg(block.as_secs_f64());

        self.begin(link, block);
        let reply = {
            let mut reply = pin!(connection.query(&command));
            tokio::select! {
                biased;
                reply = &mut reply => reply,
                () = self.unblock_when_interrupted(link, request) => reply.await,
            }
        };
        let jobs = reply.and_then(|reply| match reply {
            Value::Nil => Ok(Vec::new()),
            job => reply::payload(job).map(|job| vec![job]),
        });
        self.end(jobs.map(Dequeued::Jobs))
    }

    /// Completes once the block was ended on the server, or can't be. Until then it may be that it has not begun.
    async fn unblock_when_interrupted(&self, link: &Link, request: &DequeueRequest) {
        request.interrupt.cancelled().await;
        let Some(identity) = &link.identity else {
            return;
        };
        // A server that is paused (`CLIENT PAUSE`, `FAILOVER`) holds the move back, and Redis 7.0 crashes when
        // a client in that state is unblocked. It holds back a transaction with a write as well, so in one
        // the client is unblocked after the pause. The write changes nothing.
        let mut commands = redis::pipe();
        commands
            .atomic()
            .cmd("LTRIM")
            .arg(&self.keys[0])
            .arg(0)
            .arg(-1)
            .ignore()
            .cmd("CLIENT")
            .arg("UNBLOCK")
            .arg(identity.id);
        loop {
            let unblocked = match self.shared.pool.get().await {
                Ok(mut connection) => connection.query_transaction(&commands).await,
                Err(failure) => Err(failure),
            };
            match unblocked.as_deref() {
                Ok([Value::Int(0)]) => self.shared.clock.sleep(UNBLOCK_AGAIN).await,
                _ => return,
            }
        }
    }

    fn begin(&mut self, link: &Link, block: Duration) {
        self.doubt = Some(Doubt {
            identity: link.identity.clone(),
            over_at: self.shared.clock.instant() + block + BLOCK_SLACK,
        });
    }

    fn end<T>(&mut self, reply: Result<T, Failure>) -> Result<T, Failure> {
        if !matches!(&reply, Err(failure) if failure.applied() == Applied::Unknown) {
            self.doubt = None;
        }
        reply
    }

    async fn try_dequeue(&mut self, request: &DequeueRequest) -> Result<Dequeued, Failure> {
        let mut link = self.link().await?;
        let fetched = self.fetch(&mut link, request).await?;
        let none = matches!(&fetched, Dequeued::Jobs(jobs) if jobs.is_empty());
        if !none || request.wait.is_zero() || request.interrupt.is_cancelled() {
            return Ok(fetched);
        }
        self.wait(&link, request).await
    }

    async fn server_answers(&self) -> bool {
        let mut command = redis::cmd("EXISTS");
        command.arg(&self.keys[2]);
        self.shared.ask(&command).await.is_ok()
    }

    /// Ends the connection of `identity` on the server, if it is there.
    async fn kill(&self, identity: &Identity) -> Result<(), Failure> {
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg("ID").arg(identity.id);
        let clients = reply::text(self.shared.ask(&list).await?)?;
        let name = format!("name={}", identity.name);
        if !clients.split_whitespace().any(|field| field == name) {
            return Ok(());
        }
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(identity.id);
        self.shared.ask(&kill).await.map(|_| ())
    }
}

#[async_trait]
impl QueueConnection for RedisQueueConnection {
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError> {
        self.reset().await?;
        self.try_dequeue(&request)
            .await
            .map_err(|failure| failure.during(DEQUEUE))
    }

    async fn reset(&mut self) -> Result<(), StorageError> {
        let Some(doubt) = &self.doubt else {
            return Ok(());
        };
        self.link = None;
        let killed = match &doubt.identity {
            Some(identity) => self.kill(identity).await,
            None => Err(Failure::not_sent("the server does not tell who is who")),
        };
        if let Err(failure) = killed {
            if !self.server_answers().await {
                return Err(failure.during(RESET));
            }
            // It has seen the end of the connection; what it had begun for it is over when its time is.
            self.shared.clock.sleep_until(doubt.over_at).await;
        }
        self.doubt = None;
        Ok(())
    }
}

/// Gives the connection a name and asks for its id; `None` when the server does not allow that.
async fn introduce(connection: &mut Connection) -> Result<Option<Identity>, Failure> {
    let name = format!("verk-{}", Jid::random());
    let mut commands = redis::pipe();
    commands
        .cmd("CLIENT")
        .arg("SETNAME")
        .arg(&name)
        .cmd("CLIENT")
        .arg("ID");
    let replies = connection.query_all(&commands).await?;
    match <[_; 2]>::try_from(replies) {
        Ok([Ok(_), Ok(id)]) => {
            let id = reply::integer(id)?;
            Ok(Some(Identity { id, name }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;
    use verk_core::{NodeId, Storage};
    use verk_testing::{RedisServer, within};

    use super::*;
    use crate::RedisStorage;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn open(server: &RedisServer) -> (RedisQueueConnection, Link, DequeueRequest) {
        let storage = RedisStorage::connect(server.url()).await.unwrap();
        let inprogress = Inprogress {
            queue: "default".parse().unwrap(),
            node: NodeId::from("web"),
        };
        storage.server_time().await.unwrap();
        let shared = Arc::clone(storage.shared());
        let mut connection = RedisQueueConnection::open(shared, &inprogress)
            .await
            .unwrap();
        let link = connection.link().await.unwrap();
        let request = DequeueRequest {
            max_jobs: 1,
            max_bytes: 1,
            prefetched: 0,
            wait: Duration::from_secs(300),
            interrupt: CancellationToken::new(),
        };
        (connection, link, request)
    }

    async fn until_info_has(server: &RedisServer, section: &str, text: &str) {
        let look = async {
            loop {
                let info = server.command(&["INFO", section]).into_bytes().unwrap();
                if String::from_utf8_lossy(&info).contains(text) {
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
        let (mut connection, link, request) = open(&server).await;
        server.command(&["CLIENT", "PAUSE", "600000", "WRITE"]);
        let interrupt = request.interrupt.clone();
        let (answer, ()) = within(PATIENCE, async {
            tokio::join!(connection.wait(&link, &request), async {
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
        let (connection, link, request) = open(&server).await;
        request.interrupt.cancel();
        let block = async {
            let unblocked = "cmdstat_client|unblock:calls=1";
            until_info_has(&server, "commandstats", unblocked).await;
            let mut block = redis::cmd("BLPOP");
            block.arg("nothing").arg(0);
            link.connection.clone().query(&block).await
        };
        let both =
            async { tokio::join!(block, connection.unblock_when_interrupted(&link, &request)).0 };
        assert_eq!(within(PATIENCE, both).await.unwrap(), Value::Nil);
    }
}
