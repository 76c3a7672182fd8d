//! A worker is registered with the line of its function.

/// Documented.
#[verk::worker(queue = "low")]
/// More.
async fn locate() {}

#[test]
fn accepted() {
    let mut entries = verk::__private::inventory::iter::<verk::WorkerEntry>.into_iter();
    let entry = entries.find(|entry| entry.class() == "Locate").unwrap();
    assert_eq!(entry.options().queue, "low");
    assert!(
        entry.location().ends_with("location.rs:6"),
        "{}",
        entry.location()
    );
}
