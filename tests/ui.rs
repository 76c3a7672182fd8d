//! What `#[verk::worker]` accepts, and what it says otherwise.
//!
//! One mistake for each file of `tests/ui/fail`. `TRYBUILD=overwrite cargo test --test ui` writes the messages anew: read them as a
//! user would before you commit them.

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("tests/ui/pass/*.rs");
}

#[test]
fn rejected() {
    trybuild::TestCases::new().compile_fail("tests/ui/fail/*.rs");
}
