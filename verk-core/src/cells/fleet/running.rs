//! The running jobs of several cells, by process: [`merge`]. No I/O.

use std::cmp::Ordering;

use crate::storage::{MAX_BATCH_BYTES, MAX_BATCH_JOBS, ShownWork, WorkPage, WorkPlace};

/// How many jobs each cell is asked for, so that all of them together return about `limit`.
pub(super) fn share(limit: usize, cells: usize) -> usize {
    let most = limit.clamp(1, MAX_BATCH_JOBS);
    (2 * most / cells.max(1)).clamp(1, most)
}

/// Merges what the cells answered to the same request. Only a place that a cell returned leads
/// into the jobs of a process, so the page ends there, or before a process.
pub(super) fn merge(pages: Vec<WorkPage>, limit: usize) -> WorkPage {
    // The first place that was not read. All that comes before it was.
    let next = pages.iter().filter_map(|page| page.next.clone());
    let next = next.min_by(|one, other| one.identity.cmp(&other.identity));
    let owner = pages.iter().position(|page| page.next == next);
    let mut all: Vec<ShownWork> = Vec::new();
    for (number, page) in pages.into_iter().enumerate() {
        let is_read = |work: &ShownWork| match &next {
            None => true,
            Some(next) => match work.identity.cmp(&next.identity) {
                Ordering::Less => true,
                Ordering::Equal => owner == Some(number),
                Ordering::Greater => false,
            },
        };
        all.extend(page.work.into_iter().filter(is_read));
    }
    // Stable: within a process they stay in their order.
    all.sort_by(|one, other| one.identity.cmp(&other.identity));
    let mut bytes = 0_usize;
    let mut fits = |work: &ShownWork| {
        bytes = bytes.saturating_add(work.work.len());
        bytes <= MAX_BATCH_BYTES
    };
    let fitting = all
        .iter()
        .take(limit.clamp(1, MAX_BATCH_JOBS))
        .take_while(|work| fits(work));
    let fitting = fitting.count();
    let Some(cut) = all.get(fitting).map(|work| work.identity.clone()) else {
        return WorkPage { work: all, next };
    };
    // Processes are not cut, and the first has no more than one page.
    let mut end = all.partition_point(|work| work.identity < cut);
    if end == 0 {
        end = all.partition_point(|work| work.identity <= cut);
    }
    let next = match all.get(end) {
        Some(work) => Some(WorkPlace {
            identity: work.identity.clone(),
            cursor: 0,
        }),
        None => next,
    };
    all.truncate(end);
    WorkPage { work: all, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(identity: &str, threads: std::ops::Range<u64>) -> Vec<ShownWork> {
        let of_thread = |thread: u64| ShownWork {
            identity: identity.to_owned(),
            thread: thread.to_string(),
            work: "{}".into(),
        };
        threads.map(of_thread).collect()
    }

    /// A backend that counts its jobs, from a place on.
    fn page(processes: &[(&str, u64)], from: Option<&WorkPlace>, limit: usize) -> WorkPage {
        let mut all = Vec::new();
        for (identity, jobs) in processes {
            let start = match from {
                Some(from) if *identity < from.identity.as_str() => continue,
                Some(from) if *identity == from.identity => from.cursor,
                _ => 0,
            };
            all.extend(work(identity, start..*jobs));
        }
        let next = all.get(limit).map(|work| WorkPlace {
            identity: work.identity.clone(),
            cursor: work.thread.parse().unwrap(),
        });
        all.truncate(limit);
        WorkPage { work: all, next }
    }

    #[test]
    fn every_job_is_read_once_and_in_order() {
        let cells: [&[(&str, u64)]; 3] = [
            &[("a", 3), ("d", 40), ("g", 0)],
            &[],
            &[("b", 17), ("e", 2)],
        ];
        for limit in [0, 1, 2, 5, 10, 25, 100, usize::MAX] {
            let (mut seen, mut from) = (Vec::new(), None);
            loop {
                let share = share(limit, cells.len());
                let pages = cells.map(|cell| page(cell, from.as_ref(), share));
                let merged = merge(pages.into(), limit);
                assert!(merged.work.len() <= limit.clamp(share, 100), "{limit}");
                seen.extend(merged.work);
                match merged.next {
                    Some(next) => from = Some(next),
                    None => break,
                }
            }
            let expected = [("a", 3), ("b", 17), ("d", 40), ("e", 2)];
            let expected: Vec<_> = (expected.into_iter())
                .flat_map(|(identity, jobs)| work(identity, 0..jobs))
                .collect();
            assert_eq!(seen, expected, "{limit}");
        }
    }
}
