#[verk::worker]
struct Import {
    path: String,
}
