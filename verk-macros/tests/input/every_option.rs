#[verk::worker(
    queue = "low",
    max_retry_count = 0,
    class = "Reports::Yearly",
    name = "YearlyReport",
    retry_in = after,
    timeout = "1h30m 500ms",
    dead = false,
    tags = ["slow", "report"],
    backtrace = false,
    error_class = class_of,
    crate = "jobs::verk"
)]
pub(crate) async fn r#yield(
    /// The year.
    mut r#type: std::string::String,
    #[extract] now: Now,
    #[arg] state: maps::State,
) -> Result<Outcome, Error> {
    report(r#type, now, state).await
}
