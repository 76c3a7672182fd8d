#[verk::worker(name = "Option")]
async fn choose(number: Option<u32>) {
    drop(number);
}

fn main() {}
