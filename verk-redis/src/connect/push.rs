//! One request with the jobs of several calls, of one cell or of several: [`send`].

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bb8_redis::redis::{self, Cmd, Pipeline, Value};
use bytes::Bytes;
use verk_core::{QueueName, StorageError, log};

use crate::{
    connect::{asking, enqueue::OP, pool::Connection, runtimes::Local, slot::Repeats},
    error::{Failure, redirect::Redirect},
    keys::Keys,
};

/// What goes to one queue.
pub(crate) struct Push<'a> {
    /// Of its cell.
    pub(crate) local: &'a Arc<Local>,
    pub(crate) queue: &'a QueueName,
    /// Of each call.
    pub(crate) jobs: Vec<&'a [Bytes]>,
}

impl Push<'_> {
    fn command(&self, keys: &Keys) -> Cmd {
        let jobs = || self.jobs.iter().copied().flatten();
        let key = keys.queue(self.queue);
        let bytes = jobs().map(Bytes::len).sum::<usize>() + key.len() + LPUSH.len();
        let mut command = Cmd::with_capacity(jobs().count() + 2, bytes);
        command.arg(LPUSH).arg(key);
        for job in jobs() {
            command.arg(&job[..]);
        }
        command
    }
}

/// The pushes to the queues of one cell. The first command adds their queues to the list of queues,
/// and each other is one push.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) local: &'a Arc<Local>,
    pub(crate) pushes: &'a [Push<'a>],
}

/// What servers have answered to the commands of a [`Part`].
pub(crate) struct Sent {
    /// Of each command that a server has taken or refused for good.
    results: Vec<Result<(), StorageError>>,
    redirected: Vec<Redirected>,
}

/// A command that a server of a cluster did not take, by its place.
type Redirected = (usize, Failure);

/// Sends the pushes of several cells in one request. Each has its own answer.
///
/// Each command of the request changes one key, so a server takes it or not as a whole. In a
/// cluster, the commands that no server has taken [can be sent again](Part::finish), and no others.
pub(crate) async fn send(
    mut connection: Connection,
    silent: &AtomicBool,
    parts: &[Part<'_>],
) -> Vec<Sent> {
    let count = parts.iter().map(Part::count).sum();
    let mut commands = Pipeline::with_capacity(count);
    for part in parts {
        part.add(&mut commands, 0..part.count());
    }
    let replies = connection.query_each(&commands).await;
    let is_silence = replies.as_ref().is_err_and(Failure::is_silence);
    silent.store(is_silence, Ordering::Relaxed);
    let replies = replies.map_err(|failure| failure.during(OP));
    let mut replies = replies.map(Vec::into_iter);
    let sent = |part: &Part<'_>| {
        let count = part.count();
        let replies = replies.as_mut().map_err(|error| error.clone());
        let replies = replies.map(|all| {
            all.take(count)
                .map(|reply| connection.answer_for(&part.local.pool, reply))
                .collect()
        });
        let mut results = vec![Ok(()); count];
        let redirected = part.note(replies, 0..count, &mut results);
        Sent {
            results,
            redirected,
        }
    };
    parts.iter().map(sent).collect()
}

impl Sent {
    /// Whether no command has to be sent again.
    pub(crate) fn is_settled(&self) -> bool {
        self.redirected.is_empty()
    }
}

impl<'a> Part<'a> {
    /// One, of pushes of one cell.
    pub(crate) fn of(pushes: &'a [Push<'a>]) -> Self {
        Self {
            local: pushes[0].local,
            pushes,
        }
    }

    /// That of each cell. The pushes of one cell are neighbours.
    pub(crate) fn each(pushes: &'a [Push<'a>]) -> impl Iterator<Item = Self> {
        let same_cell = |one: &Push<'_>, other: &Push<'_>| Arc::ptr_eq(one.local, other.local);
        pushes.chunk_by(same_cell).map(Self::of)
    }

    /// How many calls it is of.
    pub(crate) fn calls(&self) -> usize {
        self.pushes.iter().map(|push| push.jobs.len()).sum()
    }

    /// Sends those commands again that no server has taken. Returns the result of each push.
    pub(crate) async fn finish(&self, mut sent: Sent) -> Vec<Result<(), StorageError>> {
        if !sent.is_settled() {
            let _repeating = Repeating::new(&self.local.enqueues.repeating);
            let redirected = mem::take(&mut sent.redirected);
            self.repeat(redirected, &mut sent.results).await;
        }
        self.results(sent)
    }

    /// The result of each push.
    pub(crate) fn results(&self, sent: Sent) -> Vec<Result<(), StorageError>> {
        let mut results = sent.results.into_iter();
        let unnamed = results.next().and_then(Result::err);
        let results: Vec<_> = results.collect();
        if let Some(error) = unnamed {
            tell_unnamed(self.pushes, &results, &error);
        }
        results
    }

    fn count(&self) -> usize {
        self.pushes.len() + 1
    }

    fn command(&self, place: usize) -> Cmd {
        if let Some(push) = place.checked_sub(1) {
            return self.pushes[push].command(&self.local.keys);
        }
        let mut name = redis::cmd("SADD");
        name.arg(self.local.keys.queues());
        for push in self.pushes {
            name.arg(push.queue.as_str());
        }
        name
    }

    fn add(&self, commands: &mut Pipeline, places: impl Iterator<Item = usize>) {
        for place in places {
            commands.add_command(self.command(place));
        }
    }

    /// Notes the answers to the commands at these places, and returns those that a server of a
    /// cluster did not take.
    fn note(
        &self,
        replies: Result<Vec<Result<Value, Failure>>, StorageError>,
        places: impl Iterator<Item = usize>,
        results: &mut Results,
    ) -> Vec<Redirected> {
        let op = |place| if place == 0 { NAME_QUEUES } else { OP };
        let replies = match replies {
            Ok(replies) => replies,
            Err(error) => {
                for place in places {
                    results[place] = Err(error.clone());
                }
                return Vec::new();
            }
        };
        let is_cluster = self.local.pool.connector().slot().is_some();
        let mut redirected = Vec::new();
        for (place, reply) in places.zip(replies) {
            results[place] = match reply {
                Ok(_) => Ok(()),
                Err(failure) if is_cluster && failure.redirect().is_some() => {
                    redirected.push((place, failure));
                    continue;
                }
                Err(failure) => Err(failure.during(op(place))),
            };
        }
        redirected
    }

    /// Sends these commands again until servers have taken them, or time has run out.
    async fn repeat(&self, mut redirected: Vec<Redirected>, results: &mut Results) {
        let mut repeats = Repeats::new(self.local.pool.connector());
        loop {
            redirected = self.ask(redirected, results).await;
            let Some((_, failure)) = redirected.first() else {
                return;
            };
            if !repeats.after(failure).await {
                break;
            }
            let Ok(mut connection) = self.local.pool.get().await else {
                break;
            };
            let places: Vec<usize> = redirected.iter().map(|(place, _)| *place).collect();
            let mut commands = Pipeline::with_capacity(places.len());
            self.add(&mut commands, places.iter().copied());
            let replies = connection.query_all(&commands).await;
            let replies = replies.map_err(|failure| failure.during(OP));
            redirected = self.note(replies, places.into_iter(), results);
        }
        for (place, failure) in redirected {
            results[place] = Err(failure.during(OP));
        }
    }

    /// Sends the commands whose key is already where a migration brings the slot to that server.
    /// Returns those that no server has taken.
    async fn ask(&self, redirected: Vec<Redirected>, results: &mut Results) -> Vec<Redirected> {
        let address = redirected
            .iter()
            .find_map(|(_, failure)| match failure.redirect() {
                Some(Redirect::Ask(address)) => Some(address.to_owned()),
                _ => None,
            });
        let Some(address) = address else {
            return redirected;
        };
        let mut connection = match self.local.asking.connection(&address).await {
            Ok(connection) => connection,
            // It may have failed. Then another server gets the slot.
            Err(_) => return redirected,
        };
        let (asked, mut others): (Vec<_>, Vec<_>) = redirected
            .into_iter()
            .partition(|(_, failure)| matches!(failure.redirect(), Some(Redirect::Ask(_))));
        let places: Vec<usize> = asked.iter().map(|(place, _)| *place).collect();
        let commands = places.iter().map(|place| self.command(*place));
        let replies = asking::query_all(&mut connection, commands).await;
        let replies = replies.map_err(|failure| failure.during(OP));
        others.extend(self.note(replies, places.into_iter(), results));
        others
    }
}

/// Counts a request that is being sent again.
struct Repeating<'a>(&'a AtomicUsize);

impl<'a> Repeating<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Repeating<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Results = [Result<(), StorageError>];

fn tell_unnamed(pushes: &[Push<'_>], results: &Results, error: &StorageError) {
    for (push, _) in pushes.iter().zip(results).filter(|(_, it)| it.is_ok()) {
        let queue = push.queue;
        log::warn!(%queue, error = %error, "jobs are enqueued, but their queue may not be listed");
    }
}

const NAME_QUEUES: &str = "add queues to the list of queues";
const LPUSH: &str = "LPUSH";
