//! One request with the jobs of several calls: [`send`].

use std::sync::atomic::Ordering;

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

/// Sends pushes in one request. Each has its own answer.
///
/// Each command of the request changes one key, so a server takes it or not as a whole. In a
/// cluster, the commands that no server has taken are sent again, and no others.
pub(crate) async fn send(
    local: &Local,
    mut connection: Connection,
    pushes: &[Push<'_>],
) -> Vec<Result<(), StorageError>> {
    let request = Request { local, pushes };
    let count = request.count();
    let replies = connection.query_all(&request.commands(0..count)).await;
    let is_silence = replies.as_ref().is_err_and(Failure::is_silence);
    local.enqueues.silent.store(is_silence, Ordering::Relaxed);
    let mut results = vec![Ok(()); count];
    let redirected = request.note(replies, 0..count, &mut results);
    if !redirected.is_empty() {
        request.repeat(redirected, &mut results).await;
    }
    let mut results = results.into_iter();
    let unnamed = results.next().and_then(Result::err);
    let results: Vec<_> = results.collect();
    if let Some(error) = unnamed {
        tell_unnamed(pushes, &results, &error);
    }
    results
}

/// The commands for some pushes: the first adds their queues to the list of queues, and each other
/// is one push.
struct Request<'a> {
    local: &'a Local,
    pushes: &'a [Push<'a>],
}

type Results = [Result<(), StorageError>];

/// A command that a server of a cluster did not take, by its place.
type Redirected = (usize, Failure);

impl Request<'_> {
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

    fn commands(&self, places: impl ExactSizeIterator<Item = usize>) -> Pipeline {
        let mut commands = Pipeline::with_capacity(places.len());
        for place in places {
            commands.add_command(self.command(place));
        }
        commands
    }

    /// Notes the answers to the commands at these places, and returns those that a server of a
    /// cluster did not take.
    fn note(
        &self,
        replies: Result<Vec<Result<Value, Failure>>, Failure>,
        places: impl Iterator<Item = usize>,
        results: &mut Results,
    ) -> Vec<Redirected> {
        let op = |place| if place == 0 { NAME_QUEUES } else { OP };
        let replies = match replies {
            Ok(replies) => replies,
            Err(failure) => {
                let error = failure.during(OP);
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
            let commands = self.commands(places.iter().copied());
            let replies = connection.query_all(&commands).await;
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
        others.extend(self.note(replies, places.into_iter(), results));
        others
    }
}

fn tell_unnamed(pushes: &[Push<'_>], results: &Results, error: &StorageError) {
    for (push, _) in pushes.iter().zip(results).filter(|(_, it)| it.is_ok()) {
        let queue = push.queue;
        log::warn!(%queue, error = %error, "jobs are enqueued, but their queue may not be listed");
    }
}

const NAME_QUEUES: &str = "add queues to the list of queues";
const LPUSH: &str = "LPUSH";
