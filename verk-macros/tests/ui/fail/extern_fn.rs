#[verk::worker]
async extern "C" fn import(path: String) {
    drop(path);
}

fn main() {
    let _ = Import::enqueue("a");
}
