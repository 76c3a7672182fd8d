//! The pauses between tries.

use std::time::Duration;

/// The pause before the n-th try (from 1) of something that failed: 100 ms, doubled each time, at most 5 s.
pub(crate) fn pause_before_retry(tries: u32) -> Duration {
    Duration::from_millis(100)
        .saturating_mul(1 << tries.saturating_sub(1).min(6))
        .min(Duration::from_secs(5))
}
