//! Which cell a storage is: [`Layout`].

use std::fmt;

/// Which cell of how many a storage is. Each cell of several keeps this as a text, so that a
/// program with other cells, or with the same ones in another order, does not start.
///
/// ```
/// # use verk_core::cells::Layout;
/// assert_eq!(Layout::new(3, 16).to_string(), "cells=16 cell=3 hash=1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    cell: usize,
    cells: usize,
}

impl Layout {
    /// Cell number `cell`, from 0 on, of `cells`.
    #[must_use]
    pub const fn new(cell: usize, cells: usize) -> Self {
        Self { cell, cells }
    }
}

/// As the storage keeps it. `hash` is the version of the rule that finds the cell of a queue.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cells={} cell={} hash=1", self.cells, self.cell)
    }
}
