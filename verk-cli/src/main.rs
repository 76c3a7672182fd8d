//! The command `verk`, for any Redis that verk, Sidekiq or Elixir's Verk uses.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    verk_cli::standalone().await
}
