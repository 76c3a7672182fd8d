//! Lines of the log, kept while the screen shows something else: [`Kept`].

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::text::clean_lines;

/// The most lines that are kept: the newest.
const MAX_LINES: usize = 100;

static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Takes a line of the log.
#[derive(Debug)]
pub(crate) struct Kept(());

impl Kept {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints the kept lines on stderr, and forgets them.
pub(super) fn print() {
    let lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    for line in lines {
        // Nobody reads it if this fails.
        let _ = writeln!(io::stderr(), "{}", clean_lines(&line));
    }
}
