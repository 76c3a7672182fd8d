//! The signals that this process gets.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{log, storage::ProcessSignal};

/// The signals that ask something of a process, those of Sidekiq.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    quiet: Signal,
    #[cfg(unix)]
    dump: Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quiet: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            dump: signal(SignalKind::from_raw(libc::SIGTTIN))?,
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> ProcessSignal {
        tokio::select! {
            _ = self.terminate.recv() => ProcessSignal::Stop,
            _ = self.interrupt.recv() => ProcessSignal::Stop,
            _ = self.quiet.recv() => ProcessSignal::Quiet,
            _ = self.dump.recv() => ProcessSignal::Dump,
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> ProcessSignal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        ProcessSignal::Stop
    }
}

/// Ends the process without waiting for anything: what is in progress is restored later.
#[expect(clippy::exit, reason = "another signal asks for just that")]
pub(crate) fn exit_at_once() -> ! {
    log::warn!(
        "another signal: ending at once; running jobs are restored by another node, or at the next start"
    );
    std::process::exit(1)
}
