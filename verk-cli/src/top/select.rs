//! Which row is selected, and which rows the screen shows: [`Select`].

/// What identifies a row from one reading to the next.
pub(super) type Key = Vec<u8>;

/// The selected row of a table. It follows its row when others come and go.
#[derive(Clone, Debug, Default)]
pub(super) struct Select {
    keys: Vec<Key>,
    at: usize,
    /// The first row on the screen.
    offset: usize,
    /// How many rows the screen has.
    rows: usize,
    /// Whether the selected row is gone. Then no row is selected until a person moves, so that a
    /// key does not change a row that has just taken its place.
    is_lost: bool,
    /// The row that the person removes. If it was selected, the next one is then.
    removed: Option<Key>,
}

impl Select {
    /// Sets the rows. If the selected one is not among them, the row at its place is selected; with
    /// `strict` none, unless its end was expected.
    pub(super) fn update(&mut self, keys: Vec<Key>, strict: bool) {
        let before = self.keys.get(self.at);
        let place = keys.iter().position(|key| Some(key) == before);
        let was_lost = self.is_lost;
        match place {
            Some(place) if !was_lost => self.at = place,
            None if strict && before.is_some() && before != self.removed.as_ref() => {
                self.is_lost = true;
            }
            _ => {}
        }
        // It stays lost until a person moves.
        self.is_lost &= strict && !keys.is_empty();
        // A reading that began before has it still.
        self.removed = self.removed.take().filter(|removed| keys.contains(removed));
        self.keys = keys;
        self.at = self.at.min(self.keys.len().saturating_sub(1));
        self.scroll();
    }

    /// The person has removed this row.
    pub(super) fn expect_end(&mut self, row: Key) {
        self.removed = Some(row);
    }

    /// Begins again with the first row of other rows.
    pub(super) fn reset(&mut self) {
        *self = Self {
            rows: self.rows,
            ..Self::default()
        };
    }

    /// As [`reset`](Self::reset), with the last row.
    pub(super) fn reset_to_end(&mut self) {
        self.reset();
        self.at = usize::MAX;
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.rows = rows;
        self.scroll();
    }

    /// Selects a row further down, or up. Returns whether there is one.
    pub(super) fn step(&mut self, by: isize) -> bool {
        if std::mem::take(&mut self.is_lost) {
            return true;
        }
        let last = self.keys.len().saturating_sub(1);
        let to = self.at.saturating_add_signed(by).min(last);
        let moved = to != self.at;
        self.at = to;
        self.scroll();
        moved
    }

    /// The selected row.
    pub(super) fn selected(&self) -> Option<usize> {
        (!self.is_lost && self.at < self.keys.len()).then_some(self.at)
    }

    /// Whether the row that was selected is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The first row on the screen.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// How many rows the screen has.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn scroll(&mut self) {
        let last_start = self.keys.len().saturating_sub(self.rows);
        let lowest = self.at.saturating_add(1).saturating_sub(self.rows);
        self.offset = self
            .offset
            .min(last_start)
            .clamp(lowest, self.at.max(lowest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &str) -> Vec<Key> {
        names.bytes().map(|name| vec![name]).collect()
    }

    fn select(names: &str) -> Select {
        let mut select = Select::default();
        select.resize(3);
        select.update(keys(names), true);
        select
    }

    #[test]
    fn the_selection_follows_its_row() {
        let mut select = select("abcd");
        assert!(select.step(2));
        select.update(keys("xabcd"), true);
        assert_eq!(select.selected(), Some(3));
        assert_eq!(select.offset(), 1);
        select.update(keys("c"), true);
        assert_eq!((select.selected(), select.offset()), (Some(0), 0));
    }

    #[test]
    fn a_row_that_took_the_place_of_the_selected_one_is_not_selected() {
        let mut select = select("abc");
        select.step(1);
        select.update(keys("acd"), true);
        assert_eq!((select.selected(), select.is_lost()), (None, true));
        // Not even when the reading is repeated.
        select.update(keys("acd"), true);
        assert_eq!(select.selected(), None);
        assert!(select.step(1));
        assert_eq!(select.selected(), Some(1));
    }

    #[test]
    fn the_next_row_is_selected_after_a_removal() {
        let mut select = select("abc");
        select.step(1);
        select.expect_end(vec![b'b']);
        // It is still there: the reading began before.
        select.update(keys("abc"), true);
        assert_eq!(select.selected(), Some(1));
        select.update(keys("ac"), true);
        assert_eq!(select.selected(), Some(1));
        select.update(keys("a"), true);
        assert_eq!(select.selected(), None, "that one was not removed here");
    }

    #[test]
    fn rows_that_only_inform_are_selected_by_place() {
        let mut select = select("abc");
        select.step(2);
        select.update(keys("xy"), false);
        assert_eq!(select.selected(), Some(1));
        select.update(Vec::new(), false);
        assert_eq!((select.selected(), select.is_lost()), (None, false));
        // A filter hides the one that was selected, or that was lost.
        select.update(keys("ab"), true);
        select.update(keys("b"), false);
        assert_eq!(select.selected(), Some(0));
        select.update(keys("c"), true);
        assert_eq!(select.selected(), None);
        select.update(keys("c"), false);
        assert_eq!(select.selected(), Some(0));
    }

    #[test]
    fn the_selected_row_is_on_the_screen() {
        let mut select = select("abcdefgh");
        assert!(select.step(isize::MAX));
        assert_eq!((select.selected(), select.offset()), (Some(7), 5));
        assert!(!select.step(1));
        select.step(-2);
        assert_eq!(select.offset(), 5);
        select.step(-1);
        assert_eq!(select.offset(), 4);
        select.resize(100);
        assert_eq!(select.offset(), 0);
        select.resize(1);
        assert_eq!(select.offset(), 4);
        select.resize(0);
        select.reset_to_end();
        select.update(keys("ab"), true);
        assert_eq!(select.selected(), Some(1));
    }
}
