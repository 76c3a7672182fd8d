//! What `#[verk::worker]` accepts, and what becomes of it: one file for each subject.

#![allow(
    dead_code,
    reason = "most workers only have to compile: none of them runs"
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
pub mod places;
mod return_types;
