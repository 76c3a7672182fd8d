//! When a periodic job of [verk](https://docs.rs/verk) is due: cron expressions in a time zone, and
//! periods. There is no clock in here, and nothing waits.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use verk_cron::Schedule;
//!
//! let weekdays = Schedule::cron("0 7 * * MON-FRI", "Europe/Berlin")?;
//! // 2024-11-15 06:00 in UTC is a Friday, 07:00 in Berlin: the next time is on Monday.
//! let friday = SystemTime::UNIX_EPOCH + Duration::from_secs(1_731_650_400);
//! let monday = friday + Duration::from_secs(3 * 86_400);
//! assert_eq!(weekdays.next(friday, friday), Some(monday));
//! # Ok::<(), verk_cron::InvalidSchedule>(())
//! ```
//!
//! # Expressions
//!
//! Five fields, or six with seconds first. Names in any case.
//!
//! | field | values | besides `*`, `1,2`, `1-5`, `*/5` and `1-9/2` |
//! |---|---|---|
//! | second, optional | 0 to 59 | |
//! | minute | 0 to 59 | |
//! | hour | 0 to 23 | |
//! | day of month | 1 to 31 | `L`, the last; `15W`, the weekday nearest to the 15th; `LW`, the last weekday; `?`, as `*` |
//! | month | 1 to 12, `JAN` to `DEC` | |
//! | day of week | 0 to 7, `SUN` to `SAT`; 0 and 7 are Sunday | `FRI#2`, the second Friday of the month; `FRIL`, the last; `?`, as `*` |
//!
//! If neither day is `*`, a day that fits one of them is enough. With `+` in front of the day of
//! week it must fit both. `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are `0 * * * *`,
//! `0 0 * * *`, `0 0 * * SUN`, `0 0 1 * *` and `0 0 1 1 *`.
//!
//! # When the clocks change
//!
//! Times are *fixed* if the second, the minute and the hour have neither `*` nor `/`. The others
//! *repeat*.
//!
//! | the local time of a zone | fixed: `30 2 * * *` | repeating: `*/15 * * * *` |
//! |---|---|---|
//! | skips an hour, or half of one | the times that are skipped are due once, at the first instant after them | follows real time: every 15 minutes, and 92 times that day |
//! | skips it across midnight | the same, also if the expression has only the day that ends | the same |
//! | repeats an hour | due once, the first time | follows real time: 100 times that day |
//! | skips a whole day | not due | follows real time |
//! | moves for good, by any amount | as above | as above |
//!
//! No two due times of a schedule are one instant.
//!
//! # Zones
//!
//! Zones have the names of the IANA database, as `Europe/Berlin`, and `UTC`. Their rules come from
//! the system: the folder `TZDIR`, or `/usr/share/zoneinfo`. What the system does not have comes
//! from a copy in this crate, so that a container needs no files. [`ZoneData`] says which is used.
//! A schedule keeps the rules that it began with.

mod civil;
mod error;
mod expression;
mod schedule;
mod words;
mod zone;

pub use error::{Field, InvalidSchedule, Why};
pub use schedule::Schedule;
pub use zone::ZoneData;
