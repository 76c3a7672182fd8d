//! A worker is registered with the line of its function.

/// Documented.
#[verk::worker(
    queue = "low",
)]
/// More.
async fn import() {}

fn main() {
    let entries: Vec<_> = verk::__private::inventory::iter::<verk::WorkerEntry>.into_iter().collect();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.class(), "Import");
    assert_eq!(entry.options().queue, "low");
    assert!(entry.location().ends_with("location.rs:8"), "{}", entry.location());
}
