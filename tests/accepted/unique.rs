#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub, warnings)]
//! Every option of `unique`.
use std::time::Duration;

use verk::{OnConflict, Unique, Until, Worker, prelude::*};

const HOUR: Duration = Duration::from_secs(3600);

/// All arguments.
#[verk::worker(unique)]
pub async fn all(user: u64) {
    let _ = user;
}

/// Each option but the times.
#[verk::worker(unique(
    by = (kind, user),
    until = done_or("1h"),
    on_conflict = "replace",
    hold_when_dead = "1h",
    across_queues,
))]
pub async fn each(user: u64, State(_pool): State<u8>, note: String, kind: String) {
    drop((user, note, kind));
}

/// No argument.
#[verk::worker(unique(by = (), debounce = "1s", max_wait = "1h"))]
pub async fn last(user: u64) {
    let _ = user;
}

/// A raw name.
#[verk::worker(unique(by = r#type, throttle = "1h"))]
pub async fn first(r#type: u64) {
    let _ = r#type;
}

/// From a macro.
macro_rules! start {
    ($time:expr, $by:ident) => {
        /// From a macro.
        #[verk::worker(unique(until = $time, by = $by))]
        pub async fn start($by: u8) {
            let _ = $by;
        }
    };
}
start!("start", user);

#[test]
fn accepted() {
    assert_eq!(All::OPTIONS.unique, Some(Unique::new()));
    let each = Unique::new()
        .by(&[2, 0])
        .until(Until::DoneOr(HOUR))
        .on_conflict(OnConflict::Replace)
        .hold_when_dead(HOUR)
        .across_queues();
    assert_eq!(Each::OPTIONS.unique, Some(each));
    let last = Unique::new()
        .by(&[])
        .debounce(Duration::from_secs(1))
        .max_wait(HOUR);
    assert_eq!(Last::OPTIONS.unique, Some(last));
    let first = Unique::new().by(&[0]).throttle(HOUR);
    assert_eq!(First::OPTIONS.unique, Some(first));
    let start = Unique::new().by(&[0]).until(Until::Start);
    assert_eq!(Start::OPTIONS.unique, Some(start));
}
