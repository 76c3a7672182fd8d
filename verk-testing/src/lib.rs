//! What tests of verk need: a storage in memory, a clock that a test turns, and the conformance suite for
//! backends.
//!
//! - [`MemoryStorage`] holds jobs without a server, with the semantics of Redis; its [`Faults`] let it fail
//!   like one.
//! - [`VirtualClock`] stands still until it is told to move.
//! - [`conformance`] has the tests that every [`Storage`](verk_core::Storage) passes;
//!   [`storage_conformance!`] runs them.

mod clock;
pub mod conformance;
mod memory;
mod within;

pub use clock::VirtualClock;
pub use memory::{Fault, Faults, Key, MemoryStorage, Operation};
pub use within::within;
