//! The fetching side of one queue: [`RedisQueueConnection`].
//!
//! Jobs are fetched over the shared connections. If there are none, a queue that had a job lately
//! waits on the server, and any other in [`QuietQueues`].

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use bytes::Bytes;
use verk_core::{
    StorageError,
    error::Applied,
    storage::{
        DequeueRequest, Dequeued, Inprogress, JobSet, MAX_BATCH_BYTES, MAX_BATCH_JOBS,
        QueueConnection, Settled, Settlement,
    },
};

use crate::{
    batch::{self, push_settlements},
    connect::{
        identity::Identity,
        pool::Connection,
        reply,
        scripts::{self, Arg, arg, borrowed},
        slot::Repeats,
    },
    effect_args,
    error::Failure,
    fetch::{
        OpenQueues,
        line::{Held, Line},
        quiet::QuietQueues,
    },
    keys::{Key, KeyList},
};

const DEQUEUE: &str = "dequeue jobs";
const SETTLE: &str = "settle jobs";
const RESET: &str = "reset the connection of a queue";

/// The longest wait. For a longer one, call again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The shortest block, because zero would mean forever.
const SHORTEST_BLOCK: Duration = Duration::from_millis(1);

/// How late the server may be with ending a block.
const BLOCK_SLACK: Duration = Duration::from_secs(1);

/// How long it may take until an unused connection is closed.
const CLOSE_SLACK: Duration = Duration::from_millis(100);

/// How long a check after a wait counts as the look before the next one.
const CHECK_HOLDS: Duration = Duration::from_secs(1);

/// How long to wait before trying again to end a block that has not begun yet.
const UNBLOCK_AGAIN: Duration = Duration::from_millis(5);

/// Moves the jobs of one queue into the list of one node.
#[derive(Debug)]
pub(crate) struct RedisQueueConnection {
    queues: Arc<OpenQueues>,
    line: Arc<Line>,
    /// The keys of the script; the last ones are for settlements.
    keys: [Key; 12],
    /// The node and the queue, as the script takes them.
    names: Arc<[Arg<'static>; 2]>,
    /// The average size of the jobs of the last fetch; 0 while that is not known.
    mean_bytes: usize,
    /// The size of the largest job that this connection fetched.
    largest_bytes: usize,
    /// Whether the last call ended in a wait among the quiet queues. If the queue is not empty, the
    /// shared poll finds it.
    quiet: bool,
    /// Whether the last call settled jobs, and found no job to take.
    found_empty: bool,
    /// Set if the last call waited and no job came, and the check after its wait found all in
    /// order.
    checked: Option<Check>,
    /// Set while a command is in flight, and kept if its reply did not come.
    doubt: Option<UnansweredCommand>,
}

/// The check after a wait: the node was registered for the queue, and the queue was not paused.
#[derive(Debug)]
struct Check {
    on: Identity,
    at: Instant,
}

/// A command whose reply was not seen: the server may still move a job for it.
#[derive(Debug)]
struct UnansweredCommand {
    /// The connection of the command, until it is given up.
    connection: Option<Connection>,
    /// How the server knows it.
    identity: Option<Identity>,
    /// When the server has given up on it by itself.
    over_at: Instant,
}

impl RedisQueueConnection {
    pub(crate) async fn open(
        queues: Arc<OpenQueues>,
        inprogress: &Inprogress,
    ) -> Result<Self, StorageError> {
        let (queue, node) = (&inprogress.queue, &inprogress.node);
        let keys = [
            queues.link.keys.queue(queue),
            queues.link.keys.inprogress(queue, node),
            queues.link.keys.heartbeat(node),
            queues.link.keys.nodes(),
            queues.link.keys.node_queues(node),
            queues.link.keys.paused(),
            queues.link.keys.prefetched(queue, node),
            queues.link.keys.restored(queue),
            queues.link.keys.queues(),
            queues.link.keys.set(JobSet::Retry),
            queues.link.keys.set(JobSet::Schedule),
            queues.link.keys.set(JobSet::Dead),
        ];
        match queues.link.connection().await {
            Ok(_) => Ok(Self {
                line: Line::of(&queues, inprogress),
                queues,
                keys,
                names: Arc::new([arg(node), arg(queue)]),
                mean_bytes: 0,
                largest_bytes: 0,
                quiet: false,
                found_empty: false,
                checked: None,
                doubt: None,
            }),
            Err(failure) => Err(failure.during("open the connection of a queue")),
        }
    }

    async fn try_dequeue(&mut self, request: &DequeueRequest) -> Result<Dequeued, Failure> {
        let waits = !request.wait.is_zero() && !request.interrupt.is_cancelled();
        let held = if waits { self.line.hold().await? } else { None };
        let found_empty = std::mem::take(&mut self.found_empty);
        let check = self.checked.take();
        let check_holds = (check.as_ref().zip(held.as_ref()))
            .is_some_and(|(check, held)| self.holds(check, &held.connection, request));
        let looked = found_empty || check_holds || (self.quiet && held.is_none());
        if !waits || !looked {
            let fetched = self.fetch(request, held.as_ref()).await?;
            if !waits || !is_none(&fetched) {
                return Ok(fetched);
            }
        }
        let dequeued = match held {
            Some(held) => self.block(held, request).await,
            None => self.wait_quietly(request).await,
        };
        if found_empty {
            // The settlement's look may have noted a job that is not started.
            self.checked = None;
        }
        dequeued
    }

    /// Whether the check after the last wait replaces the fetch before the next one. A fetch also
    /// notes how many jobs are not started: after such a wait that is none.
    fn holds(&self, check: &Check, connection: &Connection, request: &DequeueRequest) -> bool {
        let now = self.queues.link.clock.instant();
        connection.identity() == Some(&check.on)
            && now.saturating_duration_since(check.at) <= CHECK_HOLDS
            && starts_at_once(request)
    }

    /// Looks once, without waiting.
    async fn fetch(
        &mut self,
        request: &DequeueRequest,
        held: Option<&Arc<Held>>,
    ) -> Result<Dequeued, Failure> {
        let (_, taken) = self.run(&[], request, held).await?;
        self.taken(taken)
    }

    /// How many jobs the script reads at first: as many as fit if they are as large as those of the
    /// last fetch.
    fn first_page(&self, max_jobs: usize, max_bytes: usize) -> usize {
        let fitting = max_bytes.checked_div(self.mean_bytes).unwrap_or(1);
        fitting.min(max_jobs).max(1)
    }

    fn taken(&mut self, taken: Value) -> Result<Dequeued, Failure> {
        let dequeued = match taken {
            Value::Int(NODE_GONE) => Dequeued::NodeGone,
            Value::Int(PAUSED) => Dequeued::Paused(Vec::new()),
            Value::BulkString(error) => return Err(Failure::refused(&error)),
            jobs => Dequeued::Jobs(reply::payloads(jobs)?),
        };
        self.had_jobs(&dequeued);
        Ok(dequeued)
    }

    fn had_jobs(&mut self, dequeued: &Dequeued) {
        if let Dequeued::Jobs(jobs) = dequeued
            && !jobs.is_empty()
        {
            let (mut bytes, mut largest) = (0, self.largest_bytes);
            for size in jobs.iter().map(Bytes::len) {
                bytes += size;
                largest = largest.max(size);
            }
            self.mean_bytes = bytes.div_ceil(jobs.len());
            self.largest_bytes = largest;
            self.queues.blocking.had_jobs(self.line.id);
        }
    }

    /// Runs the script, on the connection of the queue or on a shared one. Returns the results of
    /// the settlements, and the jobs that it took.
    async fn run(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
        held: Option<&Arc<Held>>,
    ) -> Result<(Value, Value), Failure> {
        let names = Arc::clone(&self.names);
        let [node, queue] = &*names;
        let max_jobs = request.max_jobs.min(MAX_BATCH_JOBS);
        let left_out = request.max_jobs - max_jobs;
        let max_bytes = request.max_bytes.min(MAX_BATCH_BYTES);
        let mut args = vec![
            arg(max_jobs),
            arg(max_bytes),
            borrowed(node),
            borrowed(queue),
            arg(request.prefetched.saturating_sub(left_out)),
            arg(self.first_page(max_jobs, max_bytes)),
        ];
        // Most batches have no effects, and need no other keys than those of the connection.
        let mut others = None;
        if settlements.iter().any(|one| !one.effects.is_empty()) {
            let all = &self.queues.link.keys;
            let list = others.insert(KeyList::new(self.keys.to_vec()));
            effect_args::push(
                &mut args,
                all,
                list,
                settlements.iter().map(|one| &one.effects[..]),
            );
        }
        push_settlements(&mut args, settlements, self.largest_bytes);
        self.quiet = false;
        let mut connection = match held {
            Some(held) => held.connection.clone(),
            None => self.queues.link.connection().await?,
        };
        self.begin(&connection, held, Duration::ZERO);
        let keys = match (settlements, &others) {
            ([], _) => &self.keys[..FIRST_KEY_TO_SETTLE],
            (_, None) => &self.keys,
            (_, Some(others)) => &others.keys,
        };
        let reply = scripts::DEQUEUE
            .run(&mut connection, keys, &args)
            .await
            .and_then(|reply| {
                <[Value; 2]>::try_from(reply::array(reply)?)
                    .map(|[settled, taken]| (settled, taken))
                    .map_err(|_| Failure::unexpected_reply("what was settled and what was taken"))
            });
        self.end(reply, held)
    }

    /// As [`run`](Self::run). In a cluster, it is sent again as long as no server has taken it.
    async fn exchange(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> Result<(Value, Value), Failure> {
        let queues = Arc::clone(&self.queues);
        let mut repeats = Repeats::new(&queues.link.connector);
        loop {
            let held = self.line.hold().await?;
            match self.run(settlements, request, held.as_ref()).await {
                Err(failure) if repeats.before(&request.interrupt, &failure).await => {}
                reply => return reply,
            }
        }
    }

    /// Waits on the server for one job.
    async fn block(
        &mut self,
        held: Arc<Held>,
        request: &DequeueRequest,
    ) -> Result<Dequeued, Failure> {
        let connector = &self.queues.link.connector;
        let block = request.wait.clamp(SHORTEST_BLOCK, LONGEST_WAIT);
        let patience = connector.response_timeout().max(BLOCK_SLACK);
        let connection = &held.connection;
        let mut blocked = connection
            .clone()
            .with_response_timeout(block.saturating_add(patience));
        // The server checks whether the queue is paused after the move. The check costs no round
        // trip, and is never too early. If no job came, it is also the look before the next wait.
        let keys = [2, 3, 4, 5].map(|key| self.keys[key].clone());
        let names = Arc::clone(&self.names);
        let mut checking = connection.clone();
        let check = scripts::AFTER_WAIT
            .call(&mut checking, &keys, &*names)
            .await?;
        let mut commands = redis::pipe();
        commands
            .cmd("BLMOVE")
            .arg(&self.keys[0])
            .arg(&self.keys[1])
            .arg("RIGHT")
            .arg("LEFT")
            .arg(block.as_secs_f64())
            .add_command(check);

        self.begin(connection, Some(&held), block);
        let replies = {
            let mut replies = pin!(blocked.query_all(&commands));
            tokio::select! {
                biased;
                replies = &mut replies => replies,
                () = self.unblock_when_interrupted(connection, request) => replies.await,
            }
        };
        let (jobs, check) = self.end(replies.and_then(read_block), Some(&held))?;
        let check = match check {
            // The server may have lost the script.
            Err(_) => scripts::AFTER_WAIT.run(&mut checking, &keys, &*names).await,
            check => check,
        };
        // If the keys cannot be read, the next look stops. These jobs may run.
        let check = check.and_then(reply::integer).ok();
        if jobs.is_empty() && check == Some(IN_ORDER) && starts_at_once(request) {
            let at = self.queues.link.clock.instant();
            let on = connection.identity().cloned();
            self.checked = on.map(|on| Check { on, at });
        }
        let dequeued = if check == Some(PAUSED) {
            Dequeued::Paused(jobs)
        } else {
            Dequeued::Jobs(jobs)
        };
        self.had_jobs(&dequeued);
        Ok(dequeued)
    }

    /// Completes once the block was ended on the server, or cannot be ended. Before that, the block
    /// may not have begun.
    async fn unblock_when_interrupted(&self, connection: &Connection, request: &DequeueRequest) {
        request.interrupt.cancelled().await;
        let Some(identity) = connection.identity() else {
            return;
        };
        // A paused server (`CLIENT PAUSE`, `FAILOVER`) delays the move, and Redis 7.0 crashes when
        // a client in that state is unblocked. It also delays a transaction with a write, so a
        // transaction unblocks the client after the pause. The write changes nothing.
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
        let link = &self.queues.link;
        loop {
            let unblocked = match link.connection().await {
                Ok(mut other) => {
                    // The slot may have moved, and another server knows others by these ids.
                    if link.connector.slot().is_some()
                        && !matches!(identity.is_known_to(&mut other).await, Ok(true))
                    {
                        return;
                    }
                    other.query_transaction(&commands).await
                }
                Err(failure) => Err(failure),
            };
            match unblocked.as_deref() {
                Ok([Value::Int(0)]) => link.clock.sleep(UNBLOCK_AGAIN).await,
                _ => return,
            }
        }
    }

    /// Waits without a command of its own, and fetches when the queue is not empty. The next call
    /// continues the wait: a queue that was polled all the time needs no other check.
    async fn wait_quietly(&mut self, request: &DequeueRequest) -> Result<Dequeued, Failure> {
        let clock = Arc::clone(&self.queues.link.clock);
        let until = clock.instant() + request.wait.min(LONGEST_WAIT);
        loop {
            self.quiet = false;
            tokio::select! {
                biased;
                () = request.interrupt.cancelled() => break,
                filled = QuietQueues::until_filled(&self.queues, self.line.id, &self.keys[0]) => filled?,
                () = clock.sleep_until(until) => break,
            }
            let fetched = self.fetch(request, None).await?;
            if !is_none(&fetched) {
                return Ok(fetched);
            }
        }
        self.quiet = true;
        Ok(Dequeued::Jobs(Vec::new()))
    }

    fn begin(&mut self, connection: &Connection, held: Option<&Arc<Held>>, block: Duration) {
        if let Some(held) = held {
            held.begin();
        }
        self.doubt = Some(UnansweredCommand {
            identity: connection.identity().cloned(),
            connection: Some(connection.clone()),
            over_at: self.queues.link.clock.instant() + block + BLOCK_SLACK,
        });
    }

    fn end<T>(
        &mut self,
        reply: Result<T, Failure>,
        held: Option<&Arc<Held>>,
    ) -> Result<T, Failure> {
        if !matches!(&reply, Err(failure) if failure.applied() == Applied::Unknown) {
            self.doubt = None;
            if let Some(held) = held {
                held.end();
            }
        }
        reply
    }

    async fn server_answers(&self) -> bool {
        let mut command = redis::cmd("EXISTS");
        command.arg(&self.keys[2]);
        self.queues.link.ask(&command).await.is_ok()
    }
}

#[async_trait]
impl QueueConnection for RedisQueueConnection {
    async fn dequeue(&mut self, request: DequeueRequest) -> Result<Dequeued, StorageError> {
        self.reset().await?;
        let queues = Arc::clone(&self.queues);
        let mut repeats = Repeats::new(&queues.link.connector);
        loop {
            match self.try_dequeue(&request).await {
                Err(failure) if repeats.before(&request.interrupt, &failure).await => {}
                dequeued => return dequeued.map_err(|failure| failure.during(DEQUEUE)),
            }
        }
    }

    async fn settle_and_dequeue(
        &mut self,
        settlements: &[Settlement],
        request: &DequeueRequest,
    ) -> (Vec<Settled>, Result<Dequeued, StorageError>) {
        let reply = match self.reset().await {
            Ok(()) => self.exchange(settlements, request).await,
            Err(error) => Err(Failure::not_sent(error)),
        };
        match reply {
            Ok((settled, taken)) => {
                let settled = batch::answers(SETTLE, Ok(settled), settlements.len());
                let taken = self.taken(taken);
                self.found_empty = request.max_jobs > 0 && taken.as_ref().is_ok_and(is_none);
                (settled, taken.map_err(|failure| failure.during(DEQUEUE)))
            }
            Err(failure) => {
                let error = failure.during("settle jobs and dequeue others");
                let failed = vec![Settled::Failed(error.clone()); settlements.len()];
                (failed, Err(error))
            }
        }
    }

    async fn reset(&mut self) -> Result<(), StorageError> {
        let Some(doubt) = &mut self.doubt else {
            return Ok(());
        };
        if let Some(connection) = doubt.connection.take() {
            connection.give_up();
        }
        let ended = match &doubt.identity {
            Some(identity) => identity.end(&self.queues.link).await,
            None => Err(Failure::not_sent("the server does not tell who is who")),
        };
        if let Err(failure) = ended {
            // No new call uses the connection, and those that use it get no reply within their
            // time: then it closes.
            let queues = &self.queues;
            let dropped = queues.link.drop_broken().await;
            dropped.map_err(|failure| failure.during(RESET))?;
            let closed_at = queues.link.clock.instant() + queues.link.connector.response_timeout();
            let over_at = doubt.over_at.max(closed_at + CLOSE_SLACK);
            queues.link.clock.sleep_until(over_at).await;
            // The server has seen the end of the connection, and has finished the commands that it
            // had begun for it.
            if !self.server_answers().await {
                return Err(failure.during(RESET));
            }
        }
        self.doubt = None;
        Ok(())
    }
}

/// How many of the keys the script needs when there is nothing to settle.
const FIRST_KEY_TO_SETTLE: usize = 8;

/// What the script answers instead of jobs.
const NODE_GONE: i64 = -1;
const PAUSED: i64 = -2;

/// What the check after a wait answers if the next wait needs no look.
const IN_ORDER: i64 = 1;

fn is_none(dequeued: &Dequeued) -> bool {
    matches!(dequeued, Dequeued::Jobs(jobs) if jobs.is_empty())
}

/// Whether a job that comes while the caller waits is started at once, and so are all before it.
fn starts_at_once(request: &DequeueRequest) -> bool {
    request.prefetched < request.max_jobs
}

/// Reads the replies to a move and to the check after it.
fn read_block(
    replies: Vec<Result<Value, Failure>>,
) -> Result<(Vec<Bytes>, Result<Value, Failure>), Failure> {
    let [moved, check] =
        <[_; 2]>::try_from(replies).map_err(|_| Failure::unexpected_reply("two replies"))?;
    let jobs = match moved? {
        Value::Nil => Vec::new(),
        job => vec![reply::payload(job)?],
    };
    Ok((jobs, check))
}

#[cfg(test)]
mod tests;
