//! One message for each, and none that follows from another.

#[verk::worker(queu = "low", timeout = 30, max_retry_count = -1)]
fn import(path: &str, (line, column): (u32, u32)) {
    let _ = (path, line, column);
}

fn main() {
    let _ = Import::enqueue("a", (1, 2));
}
