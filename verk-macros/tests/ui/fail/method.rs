struct Importer;

impl Importer {
    #[verk::worker]
    async fn import(&self, path: String) {
        drop(path);
    }
}

fn main() {
    drop(Importer.import(String::new()));
}
