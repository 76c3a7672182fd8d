//! Ctrl-C: [`Interrupt`].

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::failure::Failure;

/// Whether a person pressed Ctrl-C. The first one ends the work after the step that it is at; at a
/// question, and when it is pressed again, the process ends at once.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    pressed: watch::Receiver<bool>,
    asking: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let (press, pressed) = watch::channel(false);
        let asking = Arc::new(AtomicBool::new(false));
        let at_question = Arc::clone(&asking);
        tokio::spawn(async move {
            // Without signals, nobody presses it.
            while tokio::signal::ctrl_c().await.is_ok() {
                let again = press.send_replace(true);
                if again || at_question.load(Ordering::Relaxed) {
                    end();
                }
            }
            // The receivers wait for as long as this lives.
            std::future::pending::<()>().await;
        });
        Self { pressed, asking }
    }

    /// One that was pressed, or never is.
    #[cfg(test)]
    pub(crate) fn of_test(pressed: bool) -> Self {
        let (press, pressed) = watch::channel(pressed);
        // It lives as long as the process.
        Box::leak(Box::new(press));
        Self {
            pressed,
            asking: Arc::default(),
        }
    }

    pub(crate) fn is_pressed(&self) -> bool {
        *self.pressed.borrow()
    }

    /// Waits until it is pressed.
    pub(crate) async fn wait(&self) {
        let mut pressed = self.pressed.clone();
        if pressed.wait_for(|pressed| *pressed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the process if it is pressed while `ask` waits for a person.
    pub(crate) fn at_question<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.asking.store(true, Ordering::Relaxed);
        let answer = ask();
        self.asking.store(false, Ordering::Relaxed);
        answer
    }
}

#[expect(clippy::exit, reason = "a second Ctrl-C waits for nothing")]
fn end() -> ! {
    process::exit(i32::from(Failure::Interrupted(String::new()).exit()))
}
