//! The dashboard as a browser and a program see it, on the storage in memory.

mod actions;
mod api;
mod hostile;
mod live;
mod locks;
mod pages;
mod support;
