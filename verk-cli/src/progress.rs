//! Long work, as a person sees it: [`Work`].

use std::fmt;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use verk_core::manage::{Progress, Selection};

use crate::{interrupt::Interrupt, output::Output};

/// A bar on the terminal while many jobs are counted or changed, and the Ctrl-C that ends it.
#[derive(Debug)]
pub(crate) struct Work {
    bar: ProgressBar,
    interrupt: Interrupt,
}

impl Work {
    /// Begins a work on a place with about `total` jobs.
    pub(crate) fn begin(output: &Output, what: &str, total: u64) -> Self {
        let target = if output.asks() {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{msg} {bar:24} {pos}/{len} jobs examined, {speed}/s, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key(
                "speed",
                |state: &ProgressState, to: &mut dyn fmt::Write| {
                    // A bar without a speed is a bar still.
                    let _ = write!(to, "{:.0}", state.per_sec());
                },
            ));
        }
        bar.set_message(what.to_owned());
        Self {
            bar,
            interrupt: output.interrupt.clone(),
        }
    }

    /// Lets the selection report to the bar, and end on Ctrl-C.
    pub(crate) fn watch(&self, selection: Selection) -> Selection {
        let (bar, interrupt) = (self.bar.clone(), self.interrupt.clone());
        selection
            .progress(move |progress: Progress| bar.set_position(progress.looked_at))
            .until(move || interrupt.is_pressed())
    }

    /// Sets how many jobs were examined, for a work without a selection.
    pub(crate) fn examined(&self, jobs: u64) {
        self.bar.set_position(jobs);
    }

    /// Sets how many of how many jobs were examined.
    pub(crate) fn examined_of(&self, jobs: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(jobs);
    }

    /// Shows what is done, how many jobs were examined, and of how many.
    pub(crate) fn reporter(&self) -> impl Fn(&str, u64, u64) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |what, jobs, of| {
            bar.set_message(what.to_owned());
            bar.set_length(of);
            bar.set_position(jobs);
        }
    }

    /// Whether Ctrl-C was pressed, as a function of its own.
    pub(crate) fn ended(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let interrupt = self.interrupt.clone();
        move || interrupt.is_pressed()
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.is_pressed()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
