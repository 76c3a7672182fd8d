struct PgPool;

#[verk::worker]
async fn import(#[extract] pool: Box<PgPool>, path: String) {
    drop((pool, path));
}

fn main() {}
