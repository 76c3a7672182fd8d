//! Cursors that also say which cell is read.

use crate::error::StorageError;

/// A cursor of one cell: the number of the cell in its upper 8 bits, and the cursor of the cell's
/// own backend below.
pub(super) fn of_cell(op: &'static str, cell: usize, cursor: u64) -> Result<u64, StorageError> {
    let upper = u8::try_from(cell).ok().map(u64::from);
    let packed = upper
        .filter(|_| cursor >> BITS == 0)
        .map(|upper| upper << BITS | cursor);
    packed.ok_or_else(|| StorageError::not_applied(op, "the place has no number of 64 bits"))
}

/// The cell of a cursor, and what is left of it.
pub(super) fn cell_of(cursor: u64) -> (usize, u64) {
    let cell = usize::try_from(cursor >> BITS).unwrap_or(usize::MAX);
    (cell, cursor & ((1 << BITS) - 1))
}

/// Where the next step continues: in the same cell, or in the next of them.
pub(super) fn next(
    op: &'static str,
    cell: usize,
    next: Option<u64>,
    cells: usize,
) -> Result<Option<u64>, StorageError> {
    match next {
        Some(next) => of_cell(op, cell, next).map(Some),
        None if cell + 1 < cells => of_cell(op, cell + 1, 0).map(Some),
        None => Ok(None),
    }
}

/// How many bits the cursor of a backend may have.
const BITS: u32 = 56;

/// A cursor of a queue, after `passed` jobs of the cell that is read as number `stage`.
///
/// A caller subtracts from it how many jobs it took out of the queue, which may be more than it
/// passed in this cell. So such a cursor starts at [`ROOM`]. In the first cell, which is the only
/// one of most queues, it is the number itself.
pub(super) fn of_stage(stage: usize, passed: u64) -> u64 {
    match stage {
        0 => passed.min(MASK),
        stage => (stage as u64) << STAGE | (ROOM + passed).min(MASK),
    }
}

/// The stage of a cursor, and how many jobs of its cell are passed over.
pub(super) fn stage_of(cursor: u64) -> (usize, u64) {
    let stage = usize::try_from(cursor >> STAGE).unwrap_or(usize::MAX);
    let number = cursor & MASK;
    match stage {
        0 => (0, number),
        stage => (stage, number.saturating_sub(ROOM)),
    }
}

const STAGE: u32 = 48;
const MASK: u64 = (1 << STAGE) - 1;

/// More jobs than anyone takes out of a queue between two steps.
const ROOM: u64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for (cell, cursor) in [(0, 0), (0, 7), (3, 0), (255, (1 << 56) - 1)] {
            let packed = of_cell("scan", cell, cursor).unwrap();
            assert_eq!(cell_of(packed), (cell, cursor));
        }
        assert_eq!(of_cell("scan", 0, 0).unwrap(), 0);
        assert!(of_cell("scan", 256, 0).is_err());
        assert!(of_cell("scan", 0, 1 << 56).is_err());
    }

    #[test]
    fn cells_follow_each_other() {
        assert_eq!(next("scan", 1, Some(9), 3).unwrap(), Some(1 << 56 | 9));
        assert_eq!(next("scan", 1, None, 3).unwrap(), Some(2 << 56));
        assert_eq!(next("scan", 2, None, 3).unwrap(), None);
    }

    #[test]
    fn jobs_that_were_taken_never_lead_to_another_cell() {
        assert_eq!(of_stage(0, 5), 5);
        for (stage, passed) in [(0, 0), (0, 5), (1, 0), (2, 100)] {
            assert_eq!(stage_of(of_stage(stage, passed)), (stage, passed));
        }
        assert_eq!(stage_of(of_stage(2, 100) - 30), (2, 70));
        assert_eq!(stage_of(of_stage(2, 10) - 500), (2, 0));
    }
}
