//! The signals that this process gets.

use std::{io, sync::Once, time::Duration};
#[cfg(unix)]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

#[cfg(unix)]
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag::register_conditional_shutdown,
};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::storage::ProcessSignal;
#[cfg(not(unix))]
use crate::time::clock::{Clock, SystemClock};

/// The signals that a process obeys, those of Sidekiq.
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

/// Within this time after a signal, another one counts as the same: a process gets a signal twice
/// if the sender signals both it and its process group.
const SAME_SIGNAL: Duration = Duration::from_millis(250);

/// The status of a process that ends at the second signal.
const STATUS: i32 = 1;

/// Lets the next TERM or INT end this process at once, from [`SAME_SIGNAL`] on, for as long as the
/// process lives. Jobs in progress are restored later.
///
/// The handler itself ends the process. tokio's handlers stay installed, but no task may be left to
/// receive the signal, and the runtime may be blocked or gone.
#[cfg(unix)]
pub(crate) fn end_at_next() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            let flag = Arc::clone(&armed);
            // It fails only where no handler can be installed, and there [`Signals::listen`] has
            // failed before.
            let _ = register_conditional_shutdown(signal, STATUS, flag);
        }
        // Not a task, because the runtime may be blocked.
        let arm_later = {
            let armed = Arc::clone(&armed);
            move || {
                thread::sleep(SAME_SIGNAL);
                armed.store(true, Ordering::SeqCst);
            }
        };
        let thread = thread::Builder::new().name("verk-signals".to_owned());
        if thread.spawn(arm_later).is_err() {
            armed.store(true, Ordering::SeqCst);
        }
    });
}

/// As on Unix, but for as long as this runtime lives and is not blocked.
#[cfg(not(unix))]
#[expect(clippy::exit, reason = "another signal asks for just that")]
pub(crate) fn end_at_next() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tokio::spawn(async {
            let clock: &dyn Clock = &SystemClock;
            clock.sleep(SAME_SIGNAL).await;
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(STATUS)
            }
        });
    });
}
