#[verk::worker]
async fn import(path: String, #[arg(defautl)] line: u32, #[arg(default = 7)] column: u32) {
    drop((path, line, column));
}

fn main() {}
