#[verk::worker(error_class = "MailError")]
async fn import(path: String) {
    drop(path);
}

fn main() {}
