#[derive(Clone, Debug)]
struct PgPool;

#[verk::worker]
async fn import(pool: PgPool, path: String) {
    drop((pool, path));
}

fn main() {
    let _ = import(PgPool, String::new());
}
