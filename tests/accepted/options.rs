#![forbid(unsafe_code)]
#![deny(missing_docs, unreachable_pub, warnings)]
//! Every option, with a public worker.
use std::time::{Duration, SystemTime};

use verk::prelude::*;

/// What went wrong.
#[derive(Debug)]
pub struct MailError;

impl std::fmt::Display for MailError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no mail")
    }
}

impl std::error::Error for MailError {}

fn in_an_hour(failed_at: SystemTime, _failures: u32) -> SystemTime {
    failed_at + Duration::from_secs(3600)
}

fn by_error(_attempt: u32, _error: &MailError) -> RetryIn {
    RetryIn::Kill
}

fn class_of(error: &dyn std::error::Error) -> String {
    error.to_string()
}

/// Sends the welcome mail.
#[verk::worker(
    queue = "mailers",
    max_retry_count = 5,
    class = "Mailers::Welcome",
    retry_at = in_an_hour,
    timeout = "1h30m",
    dead = false,
    tags = ["mail", "slow"],
    backtrace = false,
    error_class = class_of,
)]
pub async fn send_welcome(email: String) -> Result<(), MailError> {
    drop(email);
    Ok(())
}

/// Sends another.
#[verk::worker(retry_in = by_error)]
pub async fn send_other() -> Result<(), MailError> {
    Ok(())
}

/// Its struct would hide `Send`.
#[verk::worker(name = "SendMail")]
pub async fn send() {}

#[test]
fn accepted() {
    use verk::Worker;
    assert_eq!(SendMail::CLASS, "SendMail");
    assert_eq!(SendWelcome::CLASS, "Mailers::Welcome");
    let options = SendWelcome::OPTIONS;
    assert_eq!(options.queue, "mailers");
    assert_eq!(options.max_retry_count, Some(5));
    assert_eq!(
        options.retry_at.unwrap()(SystemTime::UNIX_EPOCH, 1),
        SystemTime::UNIX_EPOCH + Duration::from_secs(3600)
    );
    assert_eq!(options.timeout, Some(Duration::from_secs(5400)));
    assert!(!options.dead);
    assert_eq!(options.tags, ["mail", "slow"]);
    assert!(!options.backtrace);
    assert_eq!(SendOther::CLASS, "SendOther");
    assert_eq!(SendOther::OPTIONS.queue, "default");
    assert_eq!(SendWelcome::new("ada").encode_args().unwrap(), r#"["ada"]"#);
}
