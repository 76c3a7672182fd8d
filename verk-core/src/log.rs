//! The log lines of verk: the macros of `tracing`, whose subscribers may panic without any effect
//! on verk.
//!
//! `tracing_subscriber::fmt` panics if stdout and stderr are a pipe whose reader has ended.

use crate::guard;

#[doc(hidden)]
pub use tracing as __tracing;

#[doc(hidden)]
#[macro_export]
macro_rules! __guarded {
    ($level:ident, target: $target:expr, $($line:tt)+) => {
        $crate::__guarded!(@ target: $target, $crate::log::__tracing::Level::$level, $($line)+)
    };
    ($level:ident, $($line:tt)+) => {
        $crate::__guarded!(@ $crate::log::__tracing::Level::$level, $($line)+)
    };
    (@ $($line:tt)+) => {{
        // The caller does not depend on whether the line was written.
        let _ = $crate::guard::call(|| $crate::log::__tracing::event!($($line)+));
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($line:tt)+) => { $crate::__guarded!(TRACE, $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($line:tt)+) => { $crate::__guarded!(DEBUG, $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($line:tt)+) => { $crate::__guarded!(INFO, $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($line:tt)+) => { $crate::__guarded!(WARN, $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($line:tt)+) => { $crate::__guarded!(ERROR, $($line)+) };
}

pub use crate::{
    __debug as debug, __error as error, __info as info, __trace as trace, __warn as warn,
};

/// A span of `tracing`, whose subscribers may panic at each step of its life without any effect on
/// verk.
#[derive(Debug)]
pub(crate) struct Span(tracing::Span);

impl Span {
    /// The span that `new` makes, or a disabled one if that panics.
    pub(crate) fn new(new: impl FnOnce() -> tracing::Span) -> Self {
        Self(guard::call(new).unwrap_or_else(tracing::Span::none))
    }

    /// Changes it, if anybody wants it.
    #[cfg(feature = "otel")]
    pub(crate) fn change(&self, change: impl FnOnce(&tracing::Span)) {
        if !self.0.is_disabled() {
            guard::call(|| change(&self.0));
        }
    }

    /// Calls `inside`, which does not panic, within the span.
    pub(crate) fn within<T>(&self, inside: impl FnOnce() -> T) -> T {
        if self.0.is_disabled() {
            return inside();
        }
        guard::call(|| self.0.with_subscriber(|(id, to)| to.enter(id)));
        let result = inside();
        // Also if entering panicked: some layers of a subscriber may have entered before another
        // one panicked.
        guard::call(|| self.0.with_subscriber(|(id, to)| to.exit(id)));
        result
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let span = std::mem::replace(&mut self.0, tracing::Span::none());
        guard::call(|| drop(span));
    }
}
