//! The pauses between tries.

use std::time::Duration;

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause before the n-th try (from 1) of something that failed: 100 ms, doubled each time, at
/// most 5 s. It is up to half shorter, by chance, so that the nodes of a fleet do not all connect
/// to a server at the same moment.
pub(crate) fn pause_before_retry(tries: u32) -> Duration {
    longest_pause(tries).mul_f64(rand::random_range(0.5..=1.0))
}

fn longest_pause(tries: u32) -> Duration {
    Duration::from_millis(100)
        .saturating_mul(1 << tries.saturating_sub(1).min(6))
        .min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let longest: Vec<u128> = (1..=8).map(|n| longest_pause(n).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let pauses: Vec<Duration> = (0..100).map(|_| pause_before_retry(1)).collect();
        let (first, longest) = (pauses[0], longest_pause(1));
        assert!(pauses.iter().all(|it| (longest / 2..=longest).contains(it)));
        assert!(pauses.iter().any(|it| *it != first));
    }
}
