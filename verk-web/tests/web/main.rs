//! The dashboard as a browser and a program see it, on the storage in memory.

mod actions;
mod api;
#[cfg(feature = "cron")]
mod cron;
mod hostile;
mod live;
mod locks;
mod pages;
mod support;
