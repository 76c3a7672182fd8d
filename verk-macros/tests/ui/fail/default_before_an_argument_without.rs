#[verk::worker]
async fn import(#[arg(default)] line: u32, dry_run: Option<bool>, path: String) {
    drop((line, dry_run, path));
}

fn main() {}
