//! The signals that end the program: [`Signals`].

use std::io;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Exit;

/// Listens to the signals, so that the terminal is put back before the process ends.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    listening: [(u8, Signal); 3],
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            listening: [
                (1, signal(SignalKind::hangup())?),
                (2, signal(SignalKind::interrupt())?),
                (15, signal(SignalKind::terminate())?),
            ],
        })
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The exit code of a process that the next signal ended.
    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Exit {
        let [
            (hangup, on_hangup),
            (interrupt, on_interrupt),
            (terminate, on_terminate),
        ] = &mut self.listening;
        let number = tokio::select! {
            _ = on_hangup.recv() => *hangup,
            _ = on_interrupt.recv() => *interrupt,
            _ = on_terminate.recv() => *terminate,
        };
        Exit(128 + number)
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> Exit {
        std::future::pending().await
    }
}
