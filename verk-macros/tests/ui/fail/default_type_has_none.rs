#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum Plan {
    Free,
}

#[verk::worker]
async fn greet(name: String, #[arg(default)] plan: Plan) {
    drop((name, plan));
}

fn main() {}
