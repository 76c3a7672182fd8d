//! The page of the keys.

use std::cell::Cell;

use ratatui::layout::Rect;

use super::{Canvas, detail::Page};
use crate::top::keys::HELP;

impl Canvas<'_> {
    pub(super) fn help(&mut self, scroll: &Cell<usize>, area: Rect) {
        let mut page = Page::default();
        for (key, does) in HELP {
            page.field(key, does);
        }
        self.page("Keys", &page, scroll, area);
    }
}
