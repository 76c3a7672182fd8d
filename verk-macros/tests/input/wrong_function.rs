#[verk::worker(queue = "low")]
fn import<T>(path: &str, name: String, list: Vec<T>, State(pool): State<PgPool>) {}
