pub struct MailError;

#[verk::worker]
async fn import() -> Result<(), MailError> {
    Ok(())
}

fn main() {}
