#[verk::worker]
struct Import {
    path: String,
}

fn main() {
    let _ = Import { path: String::new() }.path;
}
