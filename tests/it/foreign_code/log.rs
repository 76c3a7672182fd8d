//! A subscriber of `tracing` that panics at what verk logs.

use std::{
    env, fs,
    io::Write,
    panic::panic_any,
    path::PathBuf,
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing::{Event, Subscriber, level_filters::LevelFilter, span, subscriber::DefaultGuard};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use super::Bomb;
use crate::support::Logged;

/// Names a directory: then every test runs with a log that panics at each line of verk, and notes
/// there which lines that were. `script/foreign-code` does so.
pub(super) const ASKED: &str = "VERK_PANICKING_LOG";

/// What a subscriber is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    NewSpan,
    Enter,
    Exit,
    Event,
    Close,
    #[cfg(feature = "otel")]
    Record,
}

pub(super) const CALLS: &[Call] = &[
    Call::NewSpan,
    Call::Enter,
    Call::Exit,
    Call::Event,
    Call::Close,
    #[cfg(feature = "otel")]
    Call::Record,
];

/// Panics at each call of one kind, with a payload that panics as well.
pub(super) struct PanickingLog {
    panicked: Arc<AtomicUsize>,
    _default: DefaultGuard,
}

impl PanickingLog {
    /// For this thread, on which all of a test runs.
    pub(super) fn install(call: Call) -> Self {
        let panicked = Arc::new(AtomicUsize::new(0));
        let layer = Panicking {
            call,
            panicked: Arc::clone(&panicked),
        };
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(LevelFilter::TRACE));
        Self {
            panicked,
            _default: tracing::subscriber::set_default(subscriber),
        }
    }

    /// How often it did.
    pub(super) fn panicked(&self) -> usize {
        self.panicked.load(Ordering::SeqCst)
    }
}

impl Drop for PanickingLog {
    fn drop(&mut self) {
        keep_places();
    }
}

struct Panicking {
    call: Call,
    panicked: Arc<AtomicUsize>,
}

impl Panicking {
    fn called(&self, call: Call) {
        if call == self.call {
            self.panicked.fetch_add(1, Ordering::SeqCst);
            panic_any(Bomb);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Panicking {
    fn on_new_span(&self, _: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.called(Call::NewSpan);
    }

    fn on_enter(&self, _: &span::Id, _: Context<'_, S>) {
        self.called(Call::Enter);
    }

    fn on_exit(&self, _: &span::Id, _: Context<'_, S>) {
        self.called(Call::Exit);
    }

    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.called(Call::Event);
    }

    #[cfg(feature = "otel")]
    fn on_record(&self, _: &span::Id, _: &span::Record<'_>, _: Context<'_, S>) {
        self.called(Call::Record);
    }

    fn on_close(&self, _: span::Id, _: Context<'_, S>) {
        self.called(Call::Close);
    }
}

/// Panics at each line of verk.
pub(crate) struct PanicsAtLines;

impl<S: Subscriber> Layer<S> for PanicsAtLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let (Some(file), Some(line)) = (metadata.file(), metadata.line()) else {
            return;
        };
        if file.starts_with("verk-") {
            keep([(file, line)]);
            panic_any(Bomb);
        }
    }
}

/// Panics at each line of verk on this thread, once it has kept the line.
pub(super) fn panics_at_lines() -> (Logged, DefaultGuard) {
    Logged::capture_beside(Some(PanicsAtLines))
}

/// For a test that has a log of its own, if the process was asked for lines that panic.
pub(crate) fn panicking_layer() -> Option<PanicsAtLines> {
    env::var_os(ASKED).map(|_| PanicsAtLines)
}

/// Installs a log that panics, if the process was asked for that. Each test that builds a node
/// calls it.
pub(crate) fn panic_if_asked() {
    static INSTALLED: Once = Once::new();
    if let Some(layer) = panicking_layer() {
        INSTALLED.call_once(|| {
            let subscriber = tracing_subscriber::registry().with(layer);
            // An error says that the test has a log of its own for the whole process.
            let _ = tracing::subscriber::set_global_default(subscriber);
        });
    }
}

/// Notes the calls of foreign code whose panics were caught, if the process was asked for that.
pub(super) fn keep_places() {
    keep(verk::guard::places());
}

/// Appends to the file of this test.
fn keep(places: impl IntoIterator<Item = (&'static str, u32)>) {
    let Some(directory) = env::var_os(ASKED) else {
        return;
    };
    // Set by nextest; a program that the test starts has it as well.
    let test = env::var("NEXTEST_TEST_NAME").unwrap();
    let file = PathBuf::from(directory).join(test.replace("::", "."));
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(file)
        .unwrap();
    let lines: String = places
        .into_iter()
        .map(|(file, line)| format!("{file}:{line}\n"))
        .collect();
    // One write each, since threads append at once.
    file.write_all(lines.as_bytes()).unwrap();
}
