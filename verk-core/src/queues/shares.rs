//! How the permits of a queue are divided between the cells in which it has jobs. No I/O.

/// How many jobs of a queue may run in each cell, of `total` at once. `homes` are the cells in
/// which the queue lies, at most `total` of them, and `has_jobs` says which cells have jobs of it.
///
/// 1. The cells in which the queue does not lie, but has jobs, together get at most half of
///    `total`. A queue that runs one job at once runs those of the first such cell first: they are
///    few.
/// 2. Each home gets one permit, to find out whether there are jobs.
/// 3. The homes with jobs get the rest in equal parts; all homes, if none has jobs.
pub(super) fn shares(total: usize, homes: &[usize], has_jobs: &[bool]) -> Vec<usize> {
    let cells = 0..has_jobs.len();
    let strays: Vec<usize> = cells
        .filter(|cell| has_jobs[*cell] && !homes.contains(cell))
        .collect();
    let busy: Vec<usize> = homes
        .iter()
        .copied()
        .filter(|cell| has_jobs[*cell])
        .collect();
    let lent = match (homes.len(), strays.len()) {
        (_, 0) => 0,
        (1, _) => (total / 2).max(total.min(1)),
        (homes, _) => (total / 2).min(total - homes.min(total)),
    };
    let mut shares = vec![0; has_jobs.len()];
    deal(&mut shares, &strays, lent);
    let for_each = homes.len().min(total - lent);
    deal(&mut shares, homes, for_each);
    let rest = total - lent - for_each;
    deal(
        &mut shares,
        if busy.is_empty() { homes } else { &busy },
        rest,
    );
    shares
}

/// Adds so many permits to these cells, in equal parts. The first ones get what is left over.
fn deal(shares: &mut [usize], cells: &[usize], permits: usize) {
    for (place, cell) in cells.iter().enumerate() {
        let is_first = place < permits % cells.len();
        shares[*cell] += permits / cells.len() + usize::from(is_first);
    }
}

/// What each cell may have now. `wanted` are the shares that it should have, `in_use` how many jobs
/// run there at most now. A share shrinks at once, and grows when others have shrunk: so never more
/// than `total` run.
pub(super) fn next_step(total: usize, wanted: &[usize], in_use: &[usize]) -> Vec<usize> {
    let mut used: usize = in_use.iter().sum();
    let step = wanted.iter().zip(in_use).map(|(&wanted, &in_use)| {
        let more = wanted
            .saturating_sub(in_use)
            .min(total.saturating_sub(used));
        used += more;
        wanted.min(in_use + more)
    });
    step.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_get_at_most_half() {
        for (total, has_jobs, expected) in [
            (10, [true, false, false], [10, 0, 0]),
            (10, [false, false, false], [10, 0, 0]),
            (10, [true, true, false], [5, 5, 0]),
            (10, [false, true, true], [5, 3, 2]),
            (3, [true, true, true], [2, 1, 0]),
            (2, [true, false, true], [1, 0, 1]),
            (1, [true, true, true], [0, 1, 0]),
            (1, [true, false, false], [1, 0, 0]),
            (0, [true, true, false], [0, 0, 0]),
        ] {
            assert_eq!(
                shares(total, &[0], &has_jobs),
                expected,
                "{total} {has_jobs:?}"
            );
        }
        assert_eq!(shares(4, &[1], &[true, true, true]), [1, 2, 1]);
    }

    #[test]
    fn homes_without_jobs_keep_one_permit() {
        for (total, has_jobs, expected) in [
            (10, [false, false, false, false], [4, 3, 3, 0]),
            (10, [true, true, true, false], [4, 3, 3, 0]),
            (10, [true, false, false, false], [8, 1, 1, 0]),
            (10, [false, true, true, false], [1, 5, 4, 0]),
            (10, [false, true, false, true], [1, 3, 1, 5]),
            (4, [true, true, true, true], [1, 1, 1, 1]),
            (3, [true, true, true, true], [1, 1, 1, 0]),
        ] {
            let shares = shares(total, &[0, 1, 2], &has_jobs);
            assert_eq!(shares, expected, "{total} {has_jobs:?}");
        }
    }

    #[test]
    fn a_share_grows_only_when_others_have_shrunk() {
        // The home still runs ten, or has not seen that it may not.
        assert_eq!(next_step(10, &[5, 5], &[10, 0]), [5, 0]);
        assert_eq!(next_step(10, &[5, 5], &[7, 0]), [5, 3]);
        assert_eq!(next_step(10, &[5, 5], &[5, 3]), [5, 5]);
        assert_eq!(next_step(10, &[10, 0], &[5, 5]), [5, 0]);
        assert_eq!(next_step(10, &[10, 0], &[5, 0]), [10, 0]);
        // The total shrank.
        assert_eq!(next_step(2, &[1, 1], &[5, 5]), [1, 1]);
    }

    #[test]
    fn no_order_of_steps_exceeds_the_total() {
        let mut seed = 1_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for _ in 0..2_000 {
            let total = 1 + random(12);
            let mut in_use = vec![total, 0, 0, 0];
            for _ in 0..20 {
                let has_jobs: Vec<bool> = (0..4).map(|_| random(2) == 0).collect();
                let wanted = shares(total, &[0, 2][..total.min(2)], &has_jobs);
                let step = next_step(total, &wanted, &in_use);
                for (in_use, share) in in_use.iter_mut().zip(&step) {
                    // Some managers see a smaller share late.
                    *in_use = if *share < *in_use && random(2) == 0 {
                        *in_use
                    } else {
                        *share
                    };
                }
                assert!(in_use.iter().sum::<usize>() <= total);
            }
        }
    }
}
