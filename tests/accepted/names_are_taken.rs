//! A module in which every name that generated code might use means something else.
#![deny(warnings)]
#![allow(dead_code)]

struct Result;
struct Option;
struct Vec;
struct Box;
struct Some;
struct None;
struct Ok;
struct Err;
trait Into {}
trait From {}
trait Clone {}
trait Debug {}
trait Send {}
trait Future {}
trait Worker {}
trait Serialize {}
trait Deserialize {}
trait Iterator {}
type Outcome = ();
type RetryIn = ();
mod serde {}
mod inventory {}
mod core_ {}
mod std_ {}

#[derive(std::clone::Clone, std::fmt::Debug, ::serde::Serialize, ::serde::Deserialize)]
pub(crate) struct A;
#[derive(std::clone::Clone, std::fmt::Debug, ::serde::Serialize, ::serde::Deserialize)]
pub(crate) struct D;

#[verk::worker]
pub(crate) async fn s(a: A, d: D) {
    drop((a, d));
}

#[verk::worker]
async fn fields() {}

fn ctx(_: u32, _: &std::string::String) -> verk::RetryIn {
    verk::RetryIn::Default
}

fn described(error: &std::string::String) -> std::string::String {
    error.to_owned()
}

#[verk::worker(retry_in = ctx, error_class = described)]
async fn answer(
    answer: String,
    args: u8,
    map: u8,
    name: u8,
    fields: u8,
    serializer: u8,
    seq: u8,
    error: u8,
    verk: u8,
    #[extract] ctx: verk::JobContext,
) -> std::result::Result<(), String> {
    drop((
        answer, args, map, name, fields, serializer, seq, error, verk, ctx,
    ));
    std::result::Result::Ok(())
}

#[test]
fn accepted() {
    let S { a: A, d: D } = S::new(A, D);
    let Fields = Fields::new();
    let job = Answer::new("a", 1, 2, 3, 4, 5, 6, 7, 8);
    let json = ::serde_json::to_string(&job).unwrap();
    let job: Answer = ::serde_json::from_str(&json).unwrap();
    assert_eq!((job.map, job.seq), (2, 6));
}
