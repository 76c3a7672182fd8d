#[verk::worker(class = Mailers::Welcome)]
async fn import(path: String) {
    drop(path);
}

fn main() {}
