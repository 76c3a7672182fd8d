trait Importer {
    #[verk::worker]
    async fn import(path: String);
}

fn main() {}
