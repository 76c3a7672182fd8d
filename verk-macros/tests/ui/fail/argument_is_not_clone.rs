#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Plan;

#[verk::worker]
async fn import(plan: Vec<Plan>) {
    drop(plan);
}

fn main() {}
