//! Sums of counts. No I/O.

use bytes::Bytes;

use crate::{
    job::Job,
    storage::{StoredExecutions, StoredStats},
};

/// Adds the answers of the cells to the same questions, one each.
pub(super) fn each<T>(answers: Vec<Vec<T>>, add: impl Fn(&mut T, T)) -> Vec<T> {
    let mut answers = answers.into_iter();
    let mut sums = answers.next().unwrap_or_default();
    for more in answers {
        sums.iter_mut()
            .zip(more)
            .for_each(|(sum, more)| add(sum, more));
    }
    sums
}

/// The statistics of two cells for the same queues.
pub(super) fn stats(mut sum: StoredStats, more: StoredStats) -> StoredStats {
    sum.processed = sum.processed.saturating_add(more.processed);
    sum.failed = sum.failed.saturating_add(more.failed);
    sum.scheduled = sum.scheduled.saturating_add(more.scheduled);
    sum.retry = sum.retry.saturating_add(more.retry);
    sum.dead = sum.dead.saturating_add(more.dead);
    for (queue, more) in sum.queues.iter_mut().zip(more.queues) {
        queue.counts.add(more.counts);
        queue.enqueued = queue.enqueued.saturating_add(more.enqueued);
        queue.oldest = older(queue.oldest.take(), more.oldest);
    }
    sum
}

/// That which was enqueued first. One that does not say when comes after one that does.
fn older(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return one.or(other),
    };
    let enqueued_at = |payload: &Bytes| Job::decode(payload.clone()).ok()?.enqueued_at();
    match (enqueued_at(&one), enqueued_at(&other)) {
        (None, Some(_)) => Some(other),
        (Some(at), Some(other_at)) if other_at < at => Some(other),
        _ => Some(one),
    }
}

pub(super) fn executions(sum: &mut StoredExecutions, more: StoredExecutions) {
    for (class, counts) in more.classes {
        sum.classes.entry(class).or_default().add(counts);
    }
    sum.cut |= more.cut;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::StoredQueueStats;

    fn of_queue(enqueued: usize, oldest: Option<&str>) -> StoredStats {
        StoredStats {
            dead: 1,
            queues: vec![StoredQueueStats {
                enqueued,
                oldest: oldest.map(|job| job.to_owned().into()),
                ..StoredQueueStats::default()
            }],
            ..StoredStats::default()
        }
    }

    #[test]
    fn the_oldest_job_of_a_queue_is_that_of_all_cells() {
        let at =
            |second: u32| format!(r#"{{"jid":"a","class":"A","args":[],"enqueued_at":{second}}}"#);
        let (early, late) = (at(1_700_000_000), at(1_700_000_005));
        for (one, other, oldest) in [
            (Some(&*late), Some(&*early), Some(&*early)),
            (Some(&early), Some(&late), Some(&early)),
            (None, Some(&late), Some(&late)),
            (Some("{}"), Some(&late), Some(&late)),
            (Some("{}"), Some("[]"), Some("{}")),
            (None, None, None),
        ] {
            let sum = stats(of_queue(2, one), of_queue(3, other));
            assert_eq!((sum.dead, sum.queues[0].enqueued), (2, 5));
            assert_eq!(sum.queues[0].oldest.as_deref(), oldest.map(str::as_bytes));
        }
    }
}
