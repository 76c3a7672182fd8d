//! Where a job panicked. Rust reports that only to a panic hook: a caught panic is only its
//! message.
//!
//! 1. The hook notes each panic of a run, on the thread that it happens on, and calls the hook that
//!    was there before.
//! 2. The code that catches a panic takes the note, if it is of that panic. It may be of another
//!    one: `std::panic::resume_unwind` calls no hook.

use std::{
    any::{Any, TypeId},
    backtrace::{Backtrace, BacktraceStatus},
    cell::RefCell,
    panic::{self, PanicHookInfo},
    sync::Once,
    thread,
};

thread_local! {
    /// The last panic of a run on this thread.
    static LAST: RefCell<Option<Box<Place>>> = const { RefCell::new(None) };
}

/// Where a panic happened.
#[derive(Debug)]
pub(crate) struct Place {
    said: Said,
    /// `file:line:column`.
    location: String,
    backtrace: Backtrace,
}

/// What distinguishes two panics: the type of the payload, and its text if it has one.
#[derive(Debug, PartialEq, Eq)]
struct Said(TypeId, Option<String>);

impl Said {
    fn of(payload: &(dyn Any + Send)) -> Self {
        Self(payload.type_id(), text(payload).map(str::to_owned))
    }
}

/// The message of a panic, if its payload is text, like that of `panic!`.
pub(crate) fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// Records panics of runs from now on, until the program replaces the hook. Call it once in a
/// process. `in_job` returns whether the thread runs a job.
pub(crate) fn install_hook(in_job: fn() -> bool) {
    static INSTALLED: Once = Once::new();
    // A thread that panics cannot change the hook.
    if thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if in_job() {
                note(info);
            }
            before(info);
        }));
    });
}

/// Must not panic: that would abort the process.
fn note(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else {
        return;
    };
    let place = Box::new(Place {
        said: Said(
            info.payload().type_id(),
            info.payload_as_str().map(str::to_owned),
        ),
        location: location.to_string(),
        // Costs nothing unless RUST_BACKTRACE or RUST_LIB_BACKTRACE is set.
        backtrace: Backtrace::capture(),
    });
    // A thread that ends may have destroyed its storage already.
    let _ = LAST.try_with(|last| last.try_borrow_mut().map(|mut last| last.replace(place)));
}

/// The place of the panic that was just caught on this thread, if the hook saw it.
pub(crate) fn take(payload: &(dyn Any + Send)) -> Option<Box<Place>> {
    let last = LAST.try_with(|last| last.try_borrow_mut().ok()?.take());
    last.ok()?.filter(|place| place.said == Said::of(payload))
}

impl Place {
    /// The location, and the frames if they were captured, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.location.clone()];
        if self.backtrace.status() == BacktraceStatus::Captured {
            lines.extend(frames(&self.backtrace.to_string()));
        }
        lines
    }
}

/// How frames of the standard library begin.
const OF_RUST: [&str; 4] = ["core::", "std::", "alloc::", "__rustc::"];

/// The lines of a backtrace, without the frames of the panic itself, which are on top, and those
/// below the worker's.
fn frames(backtrace: &str) -> Vec<String> {
    let lines: Vec<&str> = backtrace.lines().map(str::trim).collect();
    let symbol = |line: &str| {
        let (number, symbol) = line.split_once(": ")?;
        number.parse::<u32>().is_ok().then(|| symbol.to_owned())
    };
    let symbols: Vec<(usize, String)> = (lines.iter().enumerate())
        .filter_map(|(at, line)| Some((at, symbol(line)?)))
        .collect();
    let unwinds = |(_, symbol): &(usize, String)| {
        symbol.contains("rust_begin_unwind") || symbol.contains("panicking::begin_panic")
    };
    // The first frame of a program below the ones that begin to unwind: the code that panicked.
    let first = symbols.iter().position(unwinds).and_then(|begin| {
        let mut below = symbols[begin..].iter();
        below.find(|(at, symbol)| {
            // Inlined functions are shown without their path.
            let file = lines.get(at + 1).copied().unwrap_or_default();
            !OF_RUST.iter().any(|of| symbol.starts_with(of)) && !file.starts_with("at /rustc/")
        })
    });
    let last = symbols
        .iter()
        .find(|(_, symbol)| symbol.contains("verk_core::worker::perform"));
    let from = first.map_or(0, |(at, _)| *at);
    let to = last.map_or(lines.len(), |(at, _)| *at).max(from);
    lines[from..to].iter().copied().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frames_are_those_of_the_worker() {
        let backtrace = "\
   0: std::backtrace_rs::backtrace::libunwind::trace
             at /rustc/1/library/std/src/backtrace.rs:331:13
   1: verk_core::panic_place::note
             at ./verk-core/src/panic_place.rs:70:20
   2: std::panicking::panic_with_hook
   3: __rustc::rust_begin_unwind
             at /rustc/1/library/std/src/panicking.rs:689:5
   4: core::panicking::panic_fmt
   5: core::option::expect_failed
   6: expect<u8>
             at /rustc/1/library/core/src/option.rs:970:9
   7: app::mail::send
             at ./src/mail.rs:7:5
   8: app::send_mail::{{closure}}
             at ./src/main.rs:12:9
   9: verk_core::worker::perform::{{closure}}
             at ./verk-core/src/worker.rs:220:5
  10: std::panicking::catch_unwind::do_call
  11: tokio::runtime::task::harness::poll_future
";
        let worker = [
            "7: app::mail::send",
            "at ./src/mail.rs:7:5",
            "8: app::send_mail::{{closure}}",
            "at ./src/main.rs:12:9",
        ];
        assert_eq!(frames(backtrace), worker);
    }

    #[test]
    fn frames_that_are_not_recognised_are_all_kept() {
        assert_eq!(frames("   0: <unknown>\n   1: main\n").len(), 2);
        assert_eq!(frames(""), [] as [&str; 0]);
    }

    #[test]
    fn a_note_of_another_panic_is_not_taken() {
        let noted = |text: &str| {
            LAST.replace(Some(Box::new(Place {
                said: Said(TypeId::of::<String>(), Some(text.to_owned())),
                location: "src/mail.rs:7:5".to_owned(),
                backtrace: Backtrace::disabled(),
            })));
        };
        let caught: Box<dyn Any + Send> = Box::new("no route".to_owned());
        noted("no route");
        assert_eq!(take(&*caught).unwrap().lines(), ["src/mail.rs:7:5"]);
        assert!(take(&*caught).is_none(), "it is taken once");
        noted("earlier");
        assert!(take(&*caught).is_none());
        let typed: Box<dyn Any + Send> = Box::new(7_u8);
        noted("no route");
        assert!(take(&*typed).is_none());
    }
}
