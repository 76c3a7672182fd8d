#[verk::worker(name = "mail::SendMail")]
async fn send() {}

fn main() {}
