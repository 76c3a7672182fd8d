#[verk::worker]
async fn import(path: String) -> Option<String> {
    Some(path)
}

fn main() {}
