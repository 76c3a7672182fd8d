//! Colors and characters: [`Look`].

use std::env;

use jiff::tz::TimeZone;
use ratatui::style::{Color, Modifier, Style};

use crate::output::{Output, Tone};

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// The selected row, and the tab that is shown.
pub(super) const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// How the screen looks. Texts say the same without colors.
#[derive(Clone, Debug)]
pub(in crate::top) struct Look {
    colors: bool,
    /// Whether the terminal may show only ASCII.
    ascii: bool,
    pub(super) zone: TimeZone,
}

impl Look {
    pub(in crate::top) fn of(output: &Output) -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        Self::new(output.has_colors(), locale.as_deref(), output.zone.clone())
    }

    /// Without a locale, such as in a container, the terminal most likely shows UTF-8.
    pub(in crate::top) fn new(colors: bool, locale: Option<&str>, zone: TimeZone) -> Self {
        let is_utf8 = |locale: &str| {
            let locale = locale.to_lowercase();
            locale.ends_with("utf-8") || locale.ends_with("utf8")
        };
        Self {
            colors,
            ascii: !locale.is_none_or(is_utf8),
            zone,
        }
    }

    pub(super) fn tone(&self, tone: Tone) -> Style {
        let color = match tone {
            Tone::Plain => return PLAIN,
            Tone::Faint => return PLAIN.add_modifier(Modifier::DIM),
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
        };
        if self.colors {
            PLAIN.fg(color)
        } else if tone == Tone::Bad {
            BOLD
        } else {
            PLAIN
        }
    }

    /// What stands for the rest of a text.
    pub(super) fn ellipsis(&self) -> &'static str {
        if self.ascii { "~" } else { "\u{2026}" }
    }

    /// A line of these values, the newest at the right: the highest character is the largest.
    pub(super) fn line(
        &self,
        values: impl ExactSizeIterator<Item = Option<f64>>,
        width: usize,
    ) -> String {
        const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const ASCII: [char; 8] = ['_', '.', ',', '-', '=', '+', '*', '#'];
        let levels = if self.ascii { ASCII } else { BLOCKS };
        let values: Vec<Option<f64>> = values.collect();
        let top = values.iter().flatten().copied().fold(0.0, f64::max);
        let mut line = " ".repeat(width.saturating_sub(values.len()));
        for value in values {
            let Some(value) = value else {
                line.push(' ');
                continue;
            };
            // From 0 to 1; 0 if nothing is above 0.
            let share = if top > 0.0 { value / top } else { 0.0 };
            let level = (1..levels.len()).rev().find(|level| {
                let level = f64::from(u8::try_from(*level).unwrap_or(u8::MAX));
                share * 7.0 >= level - 0.5
            });
            line.push(levels[level.unwrap_or(0)]);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(locale: Option<&str>) -> Look {
        Look::new(false, locale, TimeZone::UTC)
    }

    #[test]
    fn a_line_ends_with_the_newest_value_and_its_largest_is_the_highest() {
        let line = |values: &[Option<f64>], width| look(None).line(values.iter().copied(), width);
        assert_eq!(line(&[Some(0.0), Some(4.0), Some(8.0)], 5), "  ▁▅█");
        assert_eq!(line(&[None, Some(0.0), Some(0.0)], 3), " ▁▁");
        assert_eq!(line(&[Some(0.01), Some(1e300)], 2), "▁█");
        assert_eq!(line(&[Some(f64::NAN), Some(f64::INFINITY)], 2), "▁▁");
        assert_eq!(line(&[], 2), "  ");
    }

    #[test]
    fn a_terminal_without_utf8_gets_ascii() {
        for (locale, is_ascii) in [
            (None, false),
            (Some("C.UTF-8"), false),
            (Some("de_DE.utf8"), false),
            (Some("C"), true),
            (Some("POSIX"), true),
            (Some("de_DE.ISO-8859-1"), true),
        ] {
            let line = look(locale).line([Some(1.0)].into_iter(), 1);
            assert_eq!(line.is_ascii(), is_ascii, "{locale:?}");
            assert_eq!(look(locale).ellipsis().is_ascii(), is_ascii, "{locale:?}");
        }
    }
}
