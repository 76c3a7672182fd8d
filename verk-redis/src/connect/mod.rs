//! The connections to the server: its address, the pools, and the requests.

#[cfg(test)]
mod any_url;
pub(crate) mod driven;
pub(crate) mod endpoint;
pub(crate) mod enqueue;
pub(crate) mod identity;
pub(crate) mod link;
pub(crate) mod pool;
pub(crate) mod reply;
pub(crate) mod runtimes;
pub(crate) mod scripts;
mod sentinel;
pub(crate) mod server;
pub(crate) mod tls;
