#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Order {
    number: u64,
}

#[verk::worker]
async fn charge(cents: u64, #[args] order: Order, verk::State(bank): verk::State<u8>, #[args] rest: Order) {
    drop((cents, order, bank, rest));
}

fn main() {}
