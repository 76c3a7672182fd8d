/// Sends the welcome mail.
#[verk::worker(queue = "mailers", max_retry_count = 5)]
pub async fn send_welcome(
    email: String,
    plan: Plan,
    State(pool): State<PgPool>,
    ctx: JobContext,
) -> Result<(), MailError> {
    pool.send(ctx, email, plan).await
}
