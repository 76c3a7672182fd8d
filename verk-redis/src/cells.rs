//! What a storage keeps as one of several cells.

use async_trait::async_trait;
use bb8_redis::redis::{self, Value};
use verk_core::{
    QueueName, StorageError,
    storage::{CellStore, Gate, MovedQueue},
};

use crate::{
    connect::{
        reply,
        scripts::{self, arg, borrowed},
    },
    error::{Failure, cut},
    storage::RedisStorage,
};

#[async_trait]
impl CellStore for RedisStorage {
    async fn claim_layout(&self, layout: &str) -> Result<String, StorageError> {
        let key = self.link.keys.layout();
        let args = [borrowed(layout)];
        // Twice is as good as once, so a broken connection is no error.
        let found = self.link.ask_script(&scripts::CLAIM_LAYOUT, key, &args);
        (found.await.and_then(reply::text))
            .map(|found| cut(&found))
            .map_err(|failure| failure.during("keep which cell this is"))
    }

    async fn moved_queues(&self) -> Result<Vec<MovedQueue>, StorageError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.link.keys.moved());
        let moved = self.link.ask(&command).await;
        moved
            .and_then(read_moved)
            .map_err(|failure| failure.during("read which queues moved"))
    }

    async fn record_move(&self, moved: &MovedQueue, seen: u64) -> Result<bool, StorageError> {
        let args = [
            borrowed(moved.queue.as_str()),
            arg(seen),
            borrowed(moved.gate.as_str()),
            arg(moved.revision),
            borrowed(&moved.place),
        ];
        let key = [self.link.keys.moved()];
        let recorded = self.link.run(&scripts::RECORD_MOVE, &key, &args).await;
        recorded
            .and_then(|recorded| Ok(reply::integer(recorded)? == 1))
            .map_err(|failure| failure.during("record where a queue lies"))
    }
}

/// The fields of `verk:moved`, without those that are none.
fn read_moved(reply: Value) -> Result<Vec<MovedQueue>, Failure> {
    let mut all = Vec::new();
    for (queue, value) in reply::pairs(reply)? {
        let (queue, value) = (reply::text(queue)?, reply::text(value)?);
        let words: Vec<&str> = value.splitn(3, ' ').collect();
        if let [gate, revision, place] = words[..]
            && let (Ok(queue), Some(gate), Ok(revision)) =
                (QueueName::new(&queue), Gate::parse(gate), revision.parse())
        {
            all.push(MovedQueue {
                queue,
                revision,
                gate,
                place: place.to_owned(),
            });
        }
    }
    Ok(all)
}
