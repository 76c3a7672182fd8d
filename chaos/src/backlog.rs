//! Many jobs that wait in one slot while everything breaks, and run afterwards: [`Backlog`].

use std::time::Duration;

use tokio::task::block_in_place;
use verk::{
    BoxError, EnqueueExt, QueueName,
    cells::Cells,
    client::IntoJob,
    time::{Clock, SystemClock},
};
use verk_testing::{MemoryStorage, RedisServer};

use crate::{
    fleet::Fleet,
    kind::{Kind, QUEUE},
    ledger::Record,
    payload,
    producer::Producer,
    store::Place,
};

/// A paused queue. It lies in the slot of the first queue, so that this slot has both a backlog and
/// a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    pub(crate) queue: String,
    jobs: usize,
}

/// How many jobs are stored at once.
const AT_ONCE: usize = 1000;

impl Backlog {
    /// That of a place, if it has one.
    pub(crate) fn of(place: Place) -> Option<Self> {
        let Place::Cluster { cells, backlog } = place else {
            return None;
        };
        if backlog == 0 {
            return None;
        }
        let cells: Cells = (0..cells).map(|_| MemoryStorage::default()).collect();
        let cell_of = |queue: &str| QueueName::new(queue).map(|queue| cells.of(&queue)).ok();
        let queue = (0..)
            .map(|number| format!("backlog-{number}"))
            .find(|queue| cell_of(queue) == cell_of(QUEUE))?;
        Some(Self {
            queue,
            jobs: backlog,
        })
    }

    /// Its key, without the prefix.
    pub(crate) fn key(&self) -> String {
        format!("queue:{}", self.queue)
    }
}

impl Producer {
    /// Pauses the queue of the backlog, and enqueues its jobs.
    pub(crate) async fn store(&self, backlog: &Backlog) -> Result<(), BoxError> {
        let admin = self.verk.client().admin();
        admin.pause_queue_everywhere(&backlog.queue).await?;
        for first in (0..backlog.jobs).step_by(AT_ONCE) {
            let count = AT_ONCE.min(backlog.jobs - first);
            let jobs: Vec<_> = (0..count).map(|_| payload::job(Kind::Backlog)).collect();
            let jids: Vec<_> = jobs.iter().map(|job| job.jid().to_string()).collect();
            for jid in &jids {
                self.sent(jid, Kind::Backlog);
            }
            let jobs = jobs.into_iter();
            let jobs = jobs.map(|job| job.into_job().queue(&backlog.queue));
            self.verk.enqueue_all(jobs).await?;
            for jid in jids {
                self.ledger.write(&Record::Stored(jid));
            }
        }
        Ok(())
    }

    /// Lets the jobs of the backlog run.
    pub(crate) async fn release(&self, backlog: &Backlog) {
        let clock: &dyn Clock = &SystemClock;
        let admin = self.verk.client().admin();
        while (admin.resume_queue_everywhere(&backlog.queue).await).is_err() {
            clock.sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Fleet {
    /// Moves the slot of the backlog to another primary and back. Each time the slot stays between
    /// both for a while: the list with the backlog is at the new primary, and other keys are not.
    /// Returns whether the whole backlog was there at first and after each move.
    ///
    /// # Panics
    ///
    /// When a server refuses.
    pub(crate) async fn move_backlog(&self, between: Duration) -> bool {
        let clock: &dyn Clock = &SystemClock;
        let Some((key, home)) = block_in_place(|| self.whole_backlog()) else {
            return false;
        };
        let cluster = self.cluster();
        let slot = cluster.slot_of(&key);
        for to in [cluster.other_primary(slot), home] {
            let migration = block_in_place(|| cluster.migrate(slot, to));
            let moved = block_in_place(|| migration.move_key(&key));
            clock.sleep(between).await;
            block_in_place(|| migration.finish());
            let there = block_in_place(|| self.whole_backlog());
            if !moved || there.is_none_or(|(_, server)| server.port() != to.port()) {
                return false;
            }
            // The queues of this slot continue at this primary.
            clock.sleep(between).await;
        }
        true
    }

    /// The key and the server of the backlog, if all of its jobs are there.
    fn whole_backlog(&self) -> Option<(String, &RedisServer)> {
        let backlog = self.backlog.as_ref()?;
        self.cells().into_iter().find_map(|(server, prefix)| {
            let key = format!("{prefix}{}", backlog.key());
            let length = server.command(&["LLEN", &key]).as_integer()?;
            (usize::try_from(length) == Ok(backlog.jobs)).then_some((key, server))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_is_in_the_slot_of_the_first_queue() {
        let queue = |cells, backlog| {
            let backlog = Backlog::of(Place::Cluster { cells, backlog });
            backlog.map(|it| it.queue)
        };
        assert_eq!(queue(1, 7).as_deref(), Some("backlog-0"));
        let cells: Cells = (0..16).map(|_| MemoryStorage::default()).collect();
        let cell_of = |queue: &str| cells.of(&queue.parse().unwrap());
        assert_eq!(cell_of(&queue(16, 7).unwrap()), cell_of(QUEUE));
        assert_eq!(queue(16, 0), None);
        assert_eq!(Backlog::of(Place::Server), None);
    }
}
