#[verk::worker]
async fn import(path: std::borrow::Cow<'_, str>) {
    drop(path);
}

fn main() {}
