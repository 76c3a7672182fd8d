//! The connections to the server: its address, the pools, and the requests.

#[cfg(test)]
mod any_url;
pub(crate) mod asking;
pub(crate) mod cells;
mod cluster;
mod directory;
pub(crate) mod driven;
pub(crate) mod endpoint;
pub(crate) mod enqueue;
pub(crate) mod fleet;
pub(crate) mod identity;
pub(crate) mod link;
pub(crate) mod pool;
mod primaries;
mod push;
pub(crate) mod reply;
pub(crate) mod runtimes;
pub(crate) mod scripts;
mod sentinel;
pub(crate) mod server;
pub(crate) mod slot;
pub(crate) mod tags;
pub(crate) mod tls;
