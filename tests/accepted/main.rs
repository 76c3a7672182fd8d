//! Accepted uses of `#[verk::worker]`, and what they do: one file for each subject.

#![allow(
    dead_code,
    clippy::drop_non_drop,
    clippy::let_underscore_future,
    clippy::ptr_arg,
    clippy::too_many_arguments,
    reason = "most workers only have to compile, in each form that somebody may write"
)]

mod arguments;
mod by_name;
mod described_errors;
mod extractors;
mod location;
mod names_are_taken;
/// Public, so that the compiler asks for the documentation of what the macro generates.
pub mod options;
/// Public as well.
#[cfg(feature = "cron")]
pub mod periodic;
/// Public as well.
pub mod places;
mod return_types;
/// Public as well.
pub mod unique;
