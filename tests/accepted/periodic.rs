#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub, warnings)]
//! Every option of `cron`.
use std::time::Duration;

use verk::{
    Worker,
    cron::{CatchUp, Overlap, Periodic, Timing},
    prelude::*,
};

/// Each option.
#[verk::worker(
    class = "Reports::Daily",
    cron(
        "0 7 * * MON-FRI",
        tz = "Europe/Berlin",
        overlap = "queue_one",
        catch_up = "none",
        within = "2h",
        splay = "30s",
        args = (7, "weekday"),
    ),
    cron(every = "10m", args = (i32::MAX.unsigned_abs().into(), kind()), name = "often"),
    cron("0 0 0 L * ?", args = (9, "month"))
)]
pub async fn report(user: u64, tick: Tick, kind: String) {
    drop((user, tick, kind));
}

fn kind() -> &'static str {
    "of a function"
}

/// One argument, and an optional tick.
#[verk::worker(cron("@hourly", overlap = "allow", catch_up = "all", args = (1)))]
pub async fn one(user: u8, tick: Option<Tick>) {
    drop((user, tick));
}

/// No argument.
#[verk::worker(every = "1day")]
#[deprecated]
pub async fn idle(tick: Option<verk::cron::Tick>) {
    drop(tick);
}

/// From a macro.
macro_rules! often {
    ($often:expr, $args:expr) => {
        /// From a macro.
        #[verk::worker(cron(every = $often, overlap = "queue_one", args = $args))]
        pub async fn often(user: u8) {
            let _ = user;
        }
    };
}
often!("1s", (7,));

fn args(entry: &Periodic) -> String {
    (entry.args)().unwrap()
}

#[test]
fn accepted() {
    let [daily, often, monthly] = Report::OPTIONS.cron else {
        panic!("three entries")
    };
    let berlin = Timing::Cron {
        expression: "0 7 * * MON-FRI",
        zone: "Europe/Berlin",
    };
    assert_eq!((daily.name, daily.timing), ("Reports::Daily", berlin));
    assert_eq!(
        (daily.overlap, daily.catch_up),
        (Overlap::QueueOne, CatchUp::None)
    );
    assert_eq!(daily.within, Duration::from_secs(7_200));
    assert_eq!(daily.splay, Duration::from_secs(30));
    assert_eq!(args(daily), r#"[7,"weekday"]"#);
    assert_eq!(often.name, "often");
    assert_eq!(often.timing, Timing::Every(Duration::from_secs(600)));
    assert_eq!(
        (often.overlap, often.catch_up),
        (Overlap::Skip, CatchUp::Last)
    );
    assert_eq!(
        (often.within, often.splay),
        (Periodic::WITHIN, Duration::ZERO)
    );
    assert_eq!(args(often), r#"[2147483647,"of a function"]"#);
    assert_eq!(monthly.name, "Reports::Daily#3");
    assert_eq!(args(&One::OPTIONS.cron[0]), "[1]");
    assert_eq!(args(&Often::OPTIONS.cron[0]), "[7]");
    let idle = Idle::OPTIONS.cron;
    assert_eq!(args(&idle[0]), "[]");
}
