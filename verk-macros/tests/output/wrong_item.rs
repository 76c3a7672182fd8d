struct Import {
    path: String,
}
::core::compile_error! {
    "a worker is an `async fn`, found `struct`: put `#[verk::worker]` on the function that does the work"
}
