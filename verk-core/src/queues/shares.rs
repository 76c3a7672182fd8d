//! How the permits of a queue are divided between the cells in which it has jobs. No I/O.

/// How many jobs of a queue may run in each cell, of `total` at once. `has_jobs` says in which cells
/// the queue has jobs, besides `home`, the one in which it lies.
///
/// The home gets what the others leave, and the others together at most half of `total`. A queue
/// that runs one job at once runs those of the first other cell first: they are few.
pub(super) fn shares(total: usize, home: usize, has_jobs: &[bool]) -> Vec<usize> {
    let is_other = |cell: usize| cell != home && has_jobs[cell];
    let others = (0..has_jobs.len()).filter(|cell| is_other(*cell)).count();
    let lent = (total / 2).max(others.min(total).min(1));
    let mut shares = vec![0; has_jobs.len()];
    if let Some(each) = lent.checked_div(others) {
        let mut left = lent - each * others;
        for cell in (0..has_jobs.len()).filter(|cell| is_other(*cell)) {
            shares[cell] = each + usize::from(left > 0);
            left = left.saturating_sub(1);
        }
    }
    shares[home] = total - shares.iter().sum::<usize>();
    shares
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
                shares(total, 0, &has_jobs),
                expected,
                "{total} {has_jobs:?}"
            );
        }
        assert_eq!(shares(4, 1, &[true, true, true]), [1, 2, 1]);
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
                let wanted = shares(total, 0, &has_jobs);
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
