//! What is around the table: title, figures, tabs, messages and keys.

use std::time::Duration;

use ratatui::{style::Style, text::Span};
use verk_core::storage::JobSet;
use verk_web::history::oldest;

use super::{
    Canvas,
    look::{BOLD, PLAIN, SELECTED},
    number, short, whole,
};
use crate::{
    commands::paused,
    output::Tone,
    text::{clean, count, jobs},
    times,
    top::{
        reader::MAX_RUNNING,
        state::{Opened, Pane, Sort, State},
    },
};

/// Figures of this age are called old.
const OLD: Duration = Duration::from_secs(3);

/// How many points the line of the rate has.
const POINTS: usize = 8;

/// The most lines of a message.
const MAX_LINES: u16 = 3;

impl Canvas<'_> {
    /// The name of the program, the storage, and the time.
    pub(super) fn title(&mut self, state: &State) {
        let age = state
            .read
            .map(|read| self.moment.instant.saturating_duration_since(read));
        let (right, style) = match age {
            None => ("reading".to_owned(), PLAIN),
            Some(age) if age < OLD => {
                let time = times::local(self.moment.now, &self.look.zone);
                // The time of day alone.
                let time = time.split(' ').next_back().unwrap_or_default().to_owned();
                (time, PLAIN)
            }
            Some(age) => (
                format!("NO ANSWER: figures are {} old", whole(age)),
                self.look.tone(Tone::Bad),
            ),
        };
        let width = self.area.width;
        let right_width = u16::try_from(right.len()).unwrap_or(width);
        let start = width.saturating_sub(right_width + 1);
        self.text(start, 0, right_width, &right, style);
        let x = self.text(1, 0, width, "verk top", BOLD) + 2;
        let room = start.saturating_sub(x + 2);
        self.text(x, 0, room, &clean(&state.address), PLAIN);
    }

    /// The figures of the whole fleet.
    pub(super) fn figures(&mut self, state: &State) {
        let Some(overview) = &state.overview else {
            return;
        };
        let rates = state.trends.rates();
        let rate = rates.all.map_or_else(|| "-".to_owned(), number);
        let line = self.look.line(state.trends.all().last(POINTS), POINTS);
        let mut text = format!("{rate}/s {line}");
        if let Some(share) = rates.failed_share {
            text.push_str(&format!("  {} % failed", number(share * 100.0)));
        }
        let (running, permits) = overview.running();
        text.push_str(&format!(
            "  {}/{} running  {} waiting",
            count(running),
            count(permits),
            count(overview.stats.enqueued())
        ));
        let longest = oldest(&overview.queues);
        if let Some((queue, age)) = longest {
            text.push_str(&format!(
                "  oldest {} in {}",
                short(age),
                clean(queue.as_str())
            ));
        }
        self.text(1, 1, self.area.width - 2, &text, PLAIN);
    }

    /// The tabs, with as many counts as fit.
    pub(super) fn tabs(&mut self, state: &State) {
        let names = [
            "Queues",
            "Running",
            "Processes",
            "Retries",
            "Dead",
            "Scheduled",
        ];
        let counts = state.overview.as_ref().map(|overview| {
            let stats = &overview.stats;
            [
                overview.queues.len(),
                overview.running().0,
                overview.processes.len(),
                stats.retry,
                stats.dead,
                stats.scheduled,
            ]
        });
        let long = |number: usize| count(number);
        let labels = |shown: &dyn Fn(usize, usize) -> Option<String>| -> Vec<String> {
            let labels = names.iter().enumerate().map(|(at, name)| {
                let number = counts.and_then(|counts| shown(at, *counts.get(at)?));
                let number = number.map_or_else(String::new, |number| format!(" {number}"));
                format!("{} {name}{number}", at + 1)
            });
            labels.collect()
        };
        // The counts of queues and processes matter the least.
        let matters = |at: usize| at != 0 && at != 2;
        let choices = [
            labels(&|_, number| Some(long(number))),
            labels(&|at, number| matters(at).then(|| long(number))),
            labels(&|at, number| matters(at).then(|| thousands(number))),
            labels(&|_, _| None),
        ];
        let width =
            |labels: &[String]| labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
        let room = usize::from(self.area.width);
        let fits = choices.iter().find(|labels| width(labels) <= room);
        let Some(labels) = fits.or(choices.last()) else {
            return;
        };
        // One column between two labels, which a bracket may take.
        let mut x = 0;
        for (label, pane) in labels.iter().zip(Pane::TABS) {
            let is_shown = state.pane.tab() == pane;
            let style = if is_shown { SELECTED } else { PLAIN };
            let room = self.area.width.saturating_sub(x + 1);
            let after = self.text(x + 1, 2, room, label, style);
            if is_shown {
                self.text(x, 2, 1, "[", style);
                self.text(after, 2, 1, "]", style);
            }
            x = after;
        }
    }

    /// A message, a question, the filter that is typed, or what the table shows. Returns where the
    /// cursor is.
    pub(super) fn status(&mut self, state: &State) -> Option<(u16, u16)> {
        let y = self.area.height.saturating_sub(2);
        let width = self.area.width.saturating_sub(2);
        if let Some(input) = &state.input {
            let x = self.text(1, y, width, "Filter: ", BOLD);
            // The end of a long text is what is typed.
            let room = width.saturating_sub(x + 1);
            let text = clean(input);
            let mut shown = &*text;
            while Span::raw(shown).width() > usize::from(room) {
                let mut chars = shown.chars();
                chars.next();
                shown = chars.as_str();
            }
            let x = self.text(x, y, room, shown, PLAIN);
            return Some((x, y));
        }
        if let Some(question) = &state.question {
            let text = format!("{} [y/N]", question.text);
            self.message(&text, BOLD);
            return None;
        }
        let message = state.message.as_ref();
        let message = message.map(|message| (message.text.clone(), message.tone));
        let busy = || {
            let act = state.busy.as_ref()?;
            Some((act.phrase(), Tone::Plain))
        };
        let error = || {
            let error = state.error.as_ref().or(state.part_error.as_ref())?;
            Some((error.text.clone(), error.tone))
        };
        let said = message.or_else(busy).or_else(error);
        let (text, tone) = said.unwrap_or_else(|| (self.info(state), Tone::Plain));
        let style = self.look.tone(tone);
        self.message(&text, style);
        None
    }

    /// A text just above the keys, in as many lines as it needs.
    fn message(&mut self, text: &str, style: Style) {
        let width = self.area.width.saturating_sub(2);
        let mut lines = wrap(text, usize::from(width));
        let count = u16::try_from(lines.len()).unwrap_or(MAX_LINES);
        let count = count.clamp(1, MAX_LINES);
        // What is left is cut by the last line.
        let rest = lines.split_off(lines.len().min(usize::from(count) - 1));
        lines.push(rest.join(" "));
        let top = self.area.height.saturating_sub(1 + count);
        for (line, y) in lines.iter().zip(top..) {
            for x in 0..self.area.width {
                if let Some(cell) = self.buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
            self.text(1, y, width, line, style);
        }
    }

    /// What the table shows, in a line.
    fn info(&self, state: &State) -> String {
        if state.detail.is_some() {
            return String::new();
        }
        let filter = match state.filter() {
            "" => String::new(),
            filter => format!("filter {} (Esc clears)  ", clean(filter)),
        };
        let about = match state.pane {
            Pane::Queues => self.about_queues(state),
            Pane::Running => match &state.running {
                Some(running) if running.more => {
                    format!("the first {MAX_RUNNING} that run, the longest first")
                }
                Some(_) => "the longest first; processes report their jobs every 10 s".to_owned(),
                None => String::new(),
            },
            Pane::Processes => String::new(),
            Pane::Retries | Pane::Dead | Pane::Scheduled | Pane::Jobs => match state.set() {
                Some(set) => groups(state, set),
                None => list(state),
            },
        };
        format!("{filter}{about}")
    }

    /// The order of the queues, and what the table has no room for.
    fn about_queues(&self, state: &State) -> String {
        let sort = match state.sort {
            Sort::Name => "",
            Sort::Waiting => "sorted by waiting  ",
            Sort::Oldest => "sorted by oldest  ",
            Sort::Rate => "sorted by rate  ",
        };
        let chosen = state.chosen_queue();
        let queue = chosen.as_ref().and_then(|queue| state.queue(queue));
        let about = queue.map_or_else(String::new, |queue| {
            let about = match &queue.paused {
                Some(pause) => paused(pause, self.moment.now),
                None => format!(
                    "{} processed, {} failed, {} fetched, {} to restore",
                    count(queue.processed),
                    count(queue.failed),
                    count(queue.prefetched),
                    count(queue.to_restore),
                ),
            };
            format!("{}: {about}", queue.queue)
        });
        format!("{sort}{}", clean(&about))
    }

    /// The keys that matter here.
    pub(super) fn keys(&mut self, state: &State) {
        let keys = if state.question.is_some() {
            "y yes   any other key: no"
        } else if state.input.is_some() {
            match state.pane.is_list() {
                true => "Enter apply   Esc cancel   class:NAME queue:NAME error:TEXT or any text",
                false => "Enter apply   Esc cancel",
            }
        } else if state.help.is_some() {
            "j k scroll   any other key: back"
        } else {
            match (state.detail.as_ref().map(|detail| &detail.of), state.pane) {
                (Some(Opened::Entry(_)), _) => "r run  d delete  x kill  Esc back  ? help  q quit",
                (Some(Opened::Process(_)), _) => "Q quiet  S stop  Esc back  ? help  q quit",
                (Some(Opened::Running(_)), _) => "Esc back  ? help  q quit",
                (None, Pane::Queues) => "Enter jobs  p pause  s sort  / filter  ? help  q quit",
                (None, Pane::Running) => "Enter open  / filter  ? help  q quit",
                (None, Pane::Processes) => "Enter open  Q quiet  S stop  / filter  ? help  q quit",
                (None, Pane::Jobs) => {
                    "Enter open  d delete  x kill  p pause  / filter  Esc back  ? help  q quit"
                }
                (None, Pane::Scheduled) => {
                    "Enter open  r run  d delete  x kill  / filter  ? help  q quit"
                }
                (None, Pane::Retries | Pane::Dead) if state.set().is_some() => {
                    "Enter jobs  g one by one  ? help  q quit"
                }
                (None, Pane::Retries) => {
                    "Enter open  r run  d delete  x kill  g group  / filter  ? help  q quit"
                }
                (None, Pane::Dead) => {
                    "Enter open  r run  d delete  g group  / filter  ? help  q quit"
                }
            }
        };
        let y = self.area.height.saturating_sub(1);
        let width = self.area.width.saturating_sub(2);
        self.text(1, y, width, keys, self.look.tone(Tone::Faint));
    }
}

fn groups(state: &State, set: JobSet) -> String {
    let place = match set {
        JobSet::Dead => "dead",
        JobSet::Retry | JobSet::Schedule => "retry",
    };
    match state.counted() {
        Some(counted) if counted.covered < counted.total => format!(
            "in the {place} set: the newest {} of {} jobs are counted",
            count(counted.covered),
            count(counted.total)
        ),
        Some(counted) => format!("in the {place} set: {}", jobs(counted.total)),
        None => String::new(),
    }
}

fn list(state: &State) -> String {
    let Some(page) = state.list.page() else {
        return String::new();
    };
    let mut text = if state.filter().is_empty() {
        let place = clean(&state.list.place.phrase());
        format!("{place}: {}", jobs(page.total))
    } else {
        let (examined, total) = (count(page.looked_at), count(page.total));
        format!("examined {examined} of {total}")
    };
    if state.list.number > 1 {
        text.push_str(&format!("  page {}", count(state.list.number)));
    }
    text.push_str(match (&page.next, state.filter()) {
        (Some(_), "") => "  n: next page",
        (Some(_), _) => "  n: search on",
        (None, _) => "",
    });
    text
}

/// A count that needs few columns: `98k`.
fn thousands(number: usize) -> String {
    match number {
        0..=9_999 => number.to_string(),
        10_000..=9_999_999 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

/// A text in lines of at most so many columns, which end between words if that is possible.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut columns = 0;
        for char in paragraph.chars() {
            let mut bytes = [0; 4];
            let wide = match char {
                ' '..='~' => 1,
                char => Span::raw(&*char.encode_utf8(&mut bytes)).width(),
            };
            if columns + wide > width && !line.is_empty() {
                // The word moves to the next line, unless it is longer than a line.
                let word = line.rfind(' ').filter(|at| !line[..*at].trim().is_empty());
                let rest = match word {
                    Some(at) if char != ' ' => line.split_off(at + 1),
                    _ => String::new(),
                };
                lines.push(line.trim_end().to_owned());
                columns = Span::raw(&*rest).width();
                line = rest;
                if char == ' ' {
                    continue;
                }
            }
            line.push(char);
            columns += wide;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        for (text, lines) in [
            ("", &[][..]),
            ("one two three", &["one two", "three"]),
            ("  indented", &["  indent", "ed"]),
            ("abcdefghijk", &["abcdefgh", "ijk"]),
            ("a\n\nb", &["a", "", "b"]),
            ("日本日本日本", &["日本日本", "日本"]),
            ("12345678 9", &["12345678", "9"]),
        ] {
            assert_eq!(wrap(text, 8), lines, "{text}");
        }
        assert_eq!(wrap("日", 1), ["日"]);
    }

    #[test]
    fn large_counts_are_short() {
        for (number, text) in [(9_999, "9999"), (98_567, "98k"), (12_000_000, "12M")] {
            assert_eq!(thousands(number), text);
        }
    }
}
