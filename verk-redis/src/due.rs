//! Due jobs, and the limits of the dead set.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bb8_redis::redis::Value;
use verk_core::{
    StorageError,
    names::NodeId,
    storage::{
        DeadLimits, DuePage, DueSet, DueStore, JobSet, Lease, MAX_BATCH_BYTES, MAX_CUT_BY_TRIM,
        Page, SchedulePoll, cron_next,
    },
    time::unix_seconds,
};

use crate::{
    batch,
    connect::{
        reply,
        scripts::{self, arg, milliseconds},
    },
    error::Failure,
    storage::{RedisStorage, bounds},
};

#[async_trait]
impl DueStore for RedisStorage {
    async fn due(&self, set: DueSet, now: SystemTime, page: Page) -> Result<DuePage, StorageError> {
        let [offset, limit] = bounds(page);
        let args = [arg(unix_seconds(now)), offset, limit, arg(MAX_BATCH_BYTES)];
        let key = self.link.keys.set(set.into());
        let reply = self.link.ask_script(&scripts::DUE, key, &args).await;
        let page = reply.and_then(|reply| match <[Value; 2]>::try_from(reply::array(reply)?) {
            Ok([jobs, next]) => Ok(DuePage {
                jobs: reply::payloads(jobs)?,
                next: reply::due_time(next)?,
            }),
            Err(_) => Err(Failure::unexpected_reply("jobs and a score")),
        });
        page.map_err(|failure| failure.during("look for due jobs"))
    }

    async fn poll_schedule(
        &self,
        node: &NodeId,
        ttl: Duration,
    ) -> Result<SchedulePoll, StorageError> {
        let keys = &self.link.keys;
        let keys = [
            keys.lease(),
            keys.set(JobSet::Schedule),
            keys.set(JobSet::Retry),
            keys.cron_due(),
            keys.suspects(),
            keys.set(JobSet::Dead),
        ];
        let args = [arg(node), arg(milliseconds(ttl))];
        let reply = (self.link.run(&scripts::POLL_SCHEDULE, &keys, &args)).await;
        let poll = reply.and_then(|reply| match <[Value; 7]>::try_from(reply::array(reply)?) {
            Ok([left, schedule, retry, cron, suspects, first_death, dead]) => Ok(SchedulePoll {
                lease: match u64::try_from(reply::integer(left)?) {
                    Ok(left) => Lease::Held {
                        ttl: Duration::from_millis(left),
                    },
                    Err(_) => Lease::Granted,
                },
                schedule: reply::due_time(schedule)?,
                retry: reply::due_time(retry)?,
                cron: match cron {
                    Value::Nil => None,
                    first => cron_next(reply::score(first)?),
                },
                has_suspects: suspects != Value::Nil,
                dead: reply::count(dead)?,
                first_death: reply::due_time(first_death)?,
            }),
            Err(_) => Err(Failure::unexpected_reply("a lease, scores and a count")),
        });
        poll.map_err(|failure| failure.during("look when a job is due"))
    }

    async fn trim_dead(&self, now: SystemTime, limits: DeadLimits) -> Result<bool, StorageError> {
        let keys = [self.link.keys.set(JobSet::Dead)];
        let [oldest, max_jobs] = batch::dead_limits(now, limits);
        let args = [oldest, max_jobs, arg(MAX_CUT_BY_TRIM)];
        let reply = self.link.run(&scripts::TRIM_DEAD, &keys, &args).await;
        reply
            .and_then(|more| Ok(reply::integer(more)? == 1))
            .map_err(|failure| failure.during("cut the dead set"))
    }
}
