//! Draws a [`State`]: [`draw`].

mod chrome;
mod detail;
mod grid;
mod help;
mod jobs;
mod look;
mod processes;
mod queues;
mod running;

use std::time::{Duration, Instant, SystemTime};

use ratatui::{Frame, buffer::Buffer, layout::Rect};

pub(super) use self::look::Look;
use self::look::PLAIN;
use super::state::{Pane, State};

/// The smallest terminal that has room for the figures.
const MIN_COLUMNS: u16 = 60;
const MIN_ROWS: u16 = 12;

/// The lines above the rows of a table: title, figures, tabs, and the head of the table.
const ABOVE: u16 = 4;

/// The lines below: what the program says, and the keys.
const BELOW: u16 = 2;

/// The time at which a picture is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the storage.
    pub(super) now: SystemTime,
    /// By this process.
    pub(super) instant: Instant,
}

/// How many rows a table has on a screen of so many lines.
pub(super) fn table_rows(rows: u16) -> usize {
    usize::from(rows.saturating_sub(ABOVE + BELOW))
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &State, look: &Look, moment: &Moment) {
    let area = frame.area();
    let cursor = Canvas {
        buffer: frame.buffer_mut(),
        area,
        look,
        moment,
    }
    .draw(state);
    if let Some((x, y)) = cursor {
        frame.set_cursor_position((x, y));
    }
}

/// Where the parts of the screen draw.
struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    look: &'a Look,
    moment: &'a Moment,
}

impl Canvas<'_> {
    /// Returns where the cursor is, if a text is typed.
    fn draw(&mut self, state: &State) -> Option<(u16, u16)> {
        let Rect { width, height, .. } = self.area;
        if width < MIN_COLUMNS || height < MIN_ROWS {
            self.too_small();
            return None;
        }
        self.title(state);
        self.figures(state);
        self.tabs(state);
        let table = Rect {
            y: ABOVE - 1,
            height: height.saturating_sub(ABOVE - 1 + BELOW),
            ..self.area
        };
        if let Some(scroll) = &state.help {
            self.help(scroll, table);
            self.keys(state);
            return None;
        }
        match (&state.detail, state.pane) {
            (Some(detail), _) => self.detail(state, detail, table),
            (None, Pane::Queues) => self.queues(state, table),
            (None, Pane::Running) => self.running(state, table),
            (None, Pane::Processes) => self.processes(state, table),
            (None, Pane::Retries | Pane::Dead | Pane::Scheduled | Pane::Jobs) => {
                if state.set().is_some() {
                    self.groups(state, table);
                } else {
                    self.jobs(state, table);
                }
            }
        }
        self.keys(state);
        self.status(state)
    }

    fn too_small(&mut self) {
        let Rect { width, height, .. } = self.area;
        for (y, line) in [
            format!("verk top needs {MIN_COLUMNS} columns"),
            format!("and {MIN_ROWS} lines; this terminal"),
            format!("has {width} and {height}. q quits."),
        ]
        .into_iter()
        .enumerate()
        {
            let y = u16::try_from(y).unwrap_or(u16::MAX);
            if y < height {
                self.text(0, y, width, &line, PLAIN);
            }
        }
    }
}

/// A time in its two largest units, without spaces: `4m12s`, `1h03m`, `3d4h`.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{}ms", time.as_millis()),
        1..=9 => format!("{seconds}.{}s", time.subsec_millis() / 100),
        10..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400..=31_535_999 => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!(
            "{}y{}d",
            seconds / 31_536_000,
            seconds % 31_536_000 / 86_400
        ),
    }
}

/// How long ago that was, in whole seconds; zero if it is in the future.
fn age(at: SystemTime, now: SystemTime) -> String {
    whole(now.duration_since(at).unwrap_or_default())
}

/// As [`short`], in whole seconds.
fn whole(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=9 => format!("{seconds}s"),
        seconds => short(Duration::from_secs(seconds)),
    }
}

/// As `verk_web::text::number`, with a comma between the digits of a large one.
fn number(number: f64) -> String {
    verk_web::text::number(number).replace('\u{202f}', ",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (milliseconds, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_850, "1.8s"),
            (59_999, "59s"),
            (252_000, "4m12s"),
            (3_780_000, "1h03m"),
            (90_000_000, "1d1h"),
            (31_536_000_000 * 2 + 86_400_000, "2y1d"),
        ] {
            assert_eq!(short(Duration::from_millis(milliseconds)), text);
        }
        assert_eq!(whole(Duration::from_millis(1_850)), "1s");
        assert_eq!(number(12_345.0), "12,345");
    }
}
