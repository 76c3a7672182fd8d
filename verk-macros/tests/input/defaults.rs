#[verk::worker]
pub async fn import(
    path: String,
    #[arg(default)] line: u32,
    /// For the log.
    #[arg(default = some::label)]
    label: String,
    dry_run: Option<bool>,
) {
    run(path, line, label, dry_run).await;
}
