fn first_line() -> String {
    "1".to_owned()
}

#[verk::worker]
async fn import(path: String, #[arg(default = first_line)] line: u32) {
    drop((path, line));
}

fn main() {}
