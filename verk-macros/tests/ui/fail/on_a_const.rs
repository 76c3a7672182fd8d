#[verk::worker]
const IMPORT: u8 = 1;

fn main() {
    let _ = IMPORT;
}
