//! The messages of `#[verk::worker]` for an error, one for each file of `ui/fail`. Accepted uses
//! are in the root's `tests/accepted`.
//!
//! `TRYBUILD=overwrite cargo test -p verk-macros --test ui` writes the messages again: read them as
//! a user would before you commit them. Trybuild compiles every dependency of this crate for
//! itself, with those of tests: add none without need.

#[test]
fn rejected() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
