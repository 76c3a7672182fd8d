//! Jobs that are enqueued again and again: what an entry of the timetable is, what is due, and how
//! the nodes of a fleet take each run once.
//!
//! An entry is stored in the [`CronStore`](crate::storage::CronStore). Here its definition is read,
//! and what follows from the time is decided. The node that moves due jobs also takes the runs, so
//! that one node does the work. That is not what keeps a run from being taken twice: each node may
//! try, and the storage compares. A node without that lease takes runs that are late.

pub(crate) mod periodic;
pub(crate) mod tick;

#[cfg(feature = "cron")]
pub(crate) mod decide;
#[cfg(feature = "cron")]
mod declared;
#[cfg(feature = "cron")]
pub(crate) mod definition;
#[cfg(feature = "cron")]
mod keeper;
#[cfg(feature = "cron")]
mod orphans;
#[cfg(feature = "cron")]
mod ticks;
#[cfg(not(feature = "cron"))]
mod without;

pub(crate) use self::tick::Tick;
#[cfg(not(feature = "cron"))]
pub(crate) use self::without::{Declared, Keeper};
#[cfg(feature = "cron")]
pub(crate) use self::{
    declared::{Declared, declared_by_live_nodes, last_due, next_after_last, upsert},
    keeper::Keeper,
};
