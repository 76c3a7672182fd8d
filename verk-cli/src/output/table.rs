//! A table: [`Table`].

use comfy_table::{
    Attribute, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets::NOTHING,
};

use crate::text::clean;

/// The spaces after a column.
const PADDING: u16 = 2;

/// What is left of a long text at least.
const LEAST_LONG: usize = 24;

/// A column, with the name in its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    right: bool,
    shrinks: bool,
    optional: bool,
}

impl Column {
    /// Text, whole.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self {
            name,
            right: false,
            shrinks: false,
            optional: false,
        }
    }

    /// A number: at the right.
    pub(crate) const fn number(name: &'static str) -> Self {
        Self {
            name,
            right: true,
            shrinks: false,
            optional: false,
        }
    }

    /// Text that is cut where the terminal is too narrow.
    pub(crate) const fn long(name: &'static str) -> Self {
        Self {
            name,
            right: false,
            shrinks: true,
            optional: false,
        }
    }

    /// Leaves it out where the terminal is too narrow for all columns.
    pub(crate) const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

/// How a cell looks. The text says the same without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Faint,
    Good,
    Warning,
    Bad,
}

/// A cell. Its text is cleaned when it is made.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self {
            text: clean(text.as_ref()),
            tone: Tone::Plain,
        }
    }

    /// The text and its tone, for another table than [`Table`].
    #[cfg(feature = "tui")]
    pub(crate) fn parts(&self) -> (&str, Tone) {
        (&self.text, self.tone)
    }

    pub(crate) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// What is not known, or not there.
    pub(crate) fn none() -> Self {
        Self::new("-").tone(Tone::Faint)
    }

    pub(crate) fn or_none(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(Self::none, Self::new)
    }
}

/// Rows below a head.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    has_head: bool,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
            has_head: true,
        }
    }

    /// Names and values, without a head.
    pub(crate) fn of_fields() -> Self {
        Self {
            has_head: false,
            ..Self::new([Column::text(""), Column::long("")])
        }
    }

    /// The same table, as a part that follows another one.
    pub(crate) fn without_head(mut self) -> Self {
        self.has_head = false;
        self
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    pub(crate) fn field(&mut self, name: &str, value: Cell) {
        self.row([Cell::new(name).tone(Tone::Faint), value]);
    }

    /// Leaves out optional columns, the last first, until the others have room.
    fn fit(&mut self, width: usize) {
        while self.least_width() > width
            && let Some(at) = self.columns.iter().rposition(|column| column.optional)
        {
            self.columns.remove(at);
            for row in &mut self.rows {
                row.remove(at);
            }
        }
    }

    /// How wide it is if long texts are cut.
    fn least_width(&self) -> usize {
        let columns = self.columns.iter().enumerate();
        let widths = columns.map(|(at, column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(|cell| cell.text.chars().count()).max();
            let whole = widest.unwrap_or(0).max(column.name.len());
            let least = if column.shrinks {
                whole.min(LEAST_LONG)
            } else {
                whole
            };
            least + usize::from(PADDING)
        });
        widths.sum()
    }

    /// The table as text, without a line break at its end.
    pub(crate) fn render(mut self, width: Option<u16>, colors: bool) -> String {
        if let Some(width) = width {
            self.fit(usize::from(width));
        }
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING);
        if colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        match width {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.has_head {
            let names = self
                .columns
                .iter()
                .map(|column| comfy_table::Cell::new(column.name).add_attribute(Attribute::Bold));
            let mut head = comfy_table::Row::from(names.collect::<Vec<_>>());
            head.max_height(1);
            table.set_header(head);
        }
        for row in self.rows {
            let cells = row.into_iter().map(|Cell { text, tone }| {
                let cell = comfy_table::Cell::new(text);
                match tone {
                    Tone::Plain => cell,
                    Tone::Faint => cell.add_attribute(Attribute::Dim),
                    Tone::Good => cell.fg(Color::Green),
                    Tone::Warning => cell.fg(Color::Yellow),
                    Tone::Bad => cell.fg(Color::Red),
                }
            });
            let mut row = comfy_table::Row::from(cells.collect::<Vec<_>>());
            // A value beside its name is read whole.
            if width.is_some() && self.has_head {
                row.max_height(1);
            }
            table.add_row(row);
        }
        for (column, of_table) in self.columns.iter().zip(table.column_iter_mut()) {
            of_table.set_padding((0, PADDING));
            if column.right {
                of_table.set_cell_alignment(CellAlignment::Right);
            }
            if !column.shrinks && width.is_some() {
                of_table.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [
            Column::text("QUEUE"),
            Column::number("WAITING"),
            Column::long("NOTE"),
        ];
        let mut table = Table::new(columns);
        table.row([
            Cell::new("mailers"),
            Cell::new("12"),
            Cell::new("a\u{1b}[31m note that is long"),
        ]);
        table.row([Cell::new("q"), Cell::new("3"), Cell::none()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_nothing_is_cut_for_a_program() {
        let expected = "\
QUEUE    WAITING  NOTE
mailers       12  a\\u{1b}[31m note that is long
q              3  -";
        assert_eq!(table().render(None, false), expected);
    }

    #[test]
    fn a_narrow_terminal_cuts_long_texts_only() {
        let text = table().render(Some(36), false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 36),
            "{text}"
        );
        assert!(text.contains("mailers       12  a"), "{text}");
        assert!(text.contains('…'), "{text}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_very_narrow_terminal_leaves_columns_out() {
        let mut table = table();
        table.columns[1] = table.columns[1].optional();
        let text = table.render(Some(24), false);
        assert!(!text.contains("WAITING") && text.contains("NOTE"), "{text}");
    }

    #[test]
    fn colors_are_added_only_where_asked() {
        assert!(!table().render(None, false).contains('\u{1b}'));
        assert!(table().render(None, true).contains('\u{1b}'));
    }
}
