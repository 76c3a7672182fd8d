#[verk::worker]
async fn _2fa(code: String) {
    drop(code);
}

fn main() {}
