//! Rows and columns: [`Canvas::grid`].

use ratatui::{layout::Rect, style::Style, text::Span};

use super::{
    Canvas,
    look::{BOLD, PLAIN, SELECTED},
};
use crate::{output::Cell, top::select::Select};

/// Between two columns.
const GAP: u16 = 1;

/// A column of a [`Canvas::grid`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    head: &'static str,
    /// Its width, or its share of what is left.
    width: Width,
    is_right: bool,
}

#[derive(Clone, Copy, Debug)]
enum Width {
    Fixed(u16),
    Share(u16),
}

impl Column {
    /// Text of a fixed width.
    pub(super) const fn text(head: &'static str, width: u16) -> Self {
        Self {
            head,
            width: Width::Fixed(width),
            is_right: false,
        }
    }

    /// A number, at the right.
    pub(super) const fn number(head: &'static str, width: u16) -> Self {
        Self {
            head,
            width: Width::Fixed(width),
            is_right: true,
        }
    }

    /// Text that gets a share of what the others leave.
    pub(super) const fn share(head: &'static str, share: u16) -> Self {
        Self {
            head,
            width: Width::Share(share),
            is_right: false,
        }
    }
}

impl Canvas<'_> {
    /// Draws a head and the rows of it that fit. `row` makes the cells of one.
    pub(super) fn grid(
        &mut self,
        area: Rect,
        columns: &[Column],
        select: &Select,
        count: usize,
        row: impl Fn(usize) -> Vec<Cell>,
    ) {
        let spans = spans(columns, area);
        for (column, (x, width)) in columns.iter().zip(&spans) {
            let style = BOLD;
            self.aligned(*x, area.y, *width, column.head, style, column.is_right);
        }
        let lines = area.y.saturating_add(1)..area.bottom();
        for (index, y) in (select.offset()..count).zip(lines) {
            let is_selected = select.selected() == Some(index);
            if is_selected {
                let line = Rect {
                    y,
                    height: 1,
                    ..area
                };
                self.buffer.set_style(line, SELECTED);
                self.text(area.x, y, 1, ">", SELECTED);
            }
            let cells = row(index);
            for ((cell, column), (x, width)) in cells.iter().zip(columns).zip(&spans) {
                let (text, tone) = cell.parts();
                // A color may not be seen on the one of the selection.
                let style = if is_selected {
                    SELECTED
                } else {
                    self.look.tone(tone)
                };
                self.aligned(*x, y, *width, text, style, column.is_right);
            }
        }
    }

    /// A line instead of rows.
    pub(super) fn empty(&mut self, area: Rect, text: &str) {
        let style = PLAIN;
        self.text(area.x + 1, area.y + 2, area.width - 1, text, style);
    }

    fn aligned(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style, is_right: bool) {
        let unused = usize::from(width).saturating_sub(Span::raw(text).width());
        let indent = if is_right { unused } else { 0 };
        let indent = u16::try_from(indent).unwrap_or(0);
        self.text(x + indent, y, width - indent, text, style);
    }

    /// Writes a text that is clean. What does not fit is cut, which is shown. Returns the column
    /// after it.
    pub(super) fn text(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) -> u16 {
        // What is far beyond the screen costs nothing. A character may have many parts.
        let mut end = text.len().min(usize::from(width) * 16 + 64);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let fits = Span::raw(text).width() <= usize::from(width);
        let room = if fits { width } else { width.saturating_sub(1) };
        let (after, _) = self
            .buffer
            .set_stringn(x, y, text, usize::from(room), style);
        if fits || width == 0 {
            return after;
        }
        let ellipsis = self.look.ellipsis();
        self.buffer.set_stringn(after, y, ellipsis, 1, style).0
    }
}

/// Where each column begins, and its width. The first column of the area is for the mark of the
/// selection.
fn spans(columns: &[Column], area: Rect) -> Vec<(u16, u16)> {
    let fixed: u16 = columns.iter().map(|column| column.width.fixed()).sum();
    let shares: u16 = columns.iter().map(|column| column.width.share()).sum();
    let gaps = GAP * u16::try_from(columns.len()).unwrap_or(u16::MAX);
    let mut left = area.width.saturating_sub(fixed + gaps);
    let each = left.checked_div(shares).unwrap_or(0);
    let is_share = |column: &Column| matches!(column.width, Width::Share(_));
    let last = columns.iter().rposition(is_share);
    let mut x = area.x + 1;
    let spans = columns.iter().enumerate().map(|(at, column)| {
        let width = match column.width {
            Width::Fixed(width) => width,
            Width::Share(_) if Some(at) == last => left,
            Width::Share(share) => {
                let width = (each * share).min(left);
                left -= width;
                width
            }
        };
        // In a terminal that is too narrow, the last columns are missing.
        let width = width.min(area.right().saturating_sub(x));
        let span = (x, width);
        x = x.saturating_add(width + GAP).min(area.right());
        span
    });
    spans.collect()
}

impl Width {
    fn fixed(self) -> u16 {
        match self {
            Self::Fixed(width) => width,
            Self::Share(_) => 0,
        }
    }

    fn share(self) -> u16 {
        match self {
            Self::Fixed(_) => 0,
            Self::Share(share) => share,
        }
    }
}
