//! What a user can rely on, end to end: real workers, real managers, a real storage.

mod build;
mod faults;
mod lifecycle;
mod shutdown;
mod support;
