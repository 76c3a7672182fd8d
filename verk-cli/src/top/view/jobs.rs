//! Lists of jobs, and retries and dead jobs by class and error.

use std::time::SystemTime;

use ratatui::layout::Rect;
use verk_core::{Job, manage::Entry};

use super::{Canvas, age, grid::Column, whole};
use crate::{
    args::PlaceArg,
    commands::error,
    output::{Cell, Tone},
    text::count,
    top::state::State,
};

/// From this width on, the id of the job is shown.
const WIDE: u16 = 110;

const QUEUE: Column = Column::share("QUEUE", 2);

impl Canvas<'_> {
    pub(super) fn jobs(&mut self, state: &State, area: Rect) {
        let place = &state.list.place;
        let entries = state.list.entries();
        if entries.is_empty() {
            let text = match state.list.page() {
                None => "reading ...".to_owned(),
                Some(page) if page.next.is_some() => {
                    "none of those that were examined matches: n searches on".to_owned()
                }
                Some(_) if state.filter().is_empty() => format!("no jobs {}", place.phrase()),
                Some(_) => format!("no job {} matches the filter", place.phrase()),
            };
            return self.empty(area, &crate::text::clean(&text));
        }
        let is_wide = area.width >= WIDE;
        let is_queue = matches!(place, PlaceArg::Queue(_));
        let mut columns = Vec::new();
        // A queue shows little else.
        if is_wide || is_queue {
            columns.push(Column::text("JID", 24));
        }
        columns.push(Column::share("CLASS", 3));
        let is_failed = matches!(place, PlaceArg::Retries | PlaceArg::Dead);
        columns.extend(
            match place {
                PlaceArg::Queue(_) => [None, Some(Column::number("WAITS", 8))],
                PlaceArg::Scheduled => [Some(QUEUE), Some(Column::number("DUE IN", 10))],
                PlaceArg::Retries => [Some(QUEUE), Some(Column::number("NEXT TRY", 10))],
                PlaceArg::Dead => [Some(QUEUE), Some(Column::number("DIED", 10))],
            }
            .into_iter()
            .flatten(),
        );
        if is_queue || is_failed {
            columns.push(Column::number("FAILED", 6));
        }
        if is_failed {
            columns.push(Column::share("ERROR", 4));
        }
        let now = self.moment.now;
        let row = |index: usize| {
            let Some(entry) = entries.get(index) else {
                return Vec::new();
            };
            let mut cells = cells(place, entry, now);
            if !is_wide && !is_queue {
                cells.remove(0);
            }
            cells
        };
        self.grid(area, &columns, state.select(), entries.len(), row);
    }

    pub(super) fn groups(&mut self, state: &State, area: Rect) {
        let groups = match state.counted() {
            None => return self.empty(area, "reading ..."),
            Some(counted) if counted.groups.is_empty() => return self.empty(area, "no jobs"),
            Some(counted) => &counted.groups,
        };
        let columns = [
            Column::number("JOBS", 9),
            Column::share("CLASS", 2),
            Column::share("ERROR", 2),
            Column::number(
                match state.list.place {
                    PlaceArg::Dead => "LAST DIED",
                    _ => "LAST TRY IN",
                },
                11,
            ),
        ];
        let now = self.moment.now;
        let place = &state.list.place;
        let row = |index: usize| {
            let Some(group) = groups.get(index) else {
                return Vec::new();
            };
            vec![
                Cell::new(count(group.count)),
                match &group.class {
                    Some(class) => Cell::new(class),
                    None => Cell::new("not a job").tone(Tone::Bad),
                },
                Cell::or_none(group.error_class.as_deref()),
                Cell::new(time(place, group.newest, now)),
            ]
        };
        self.grid(area, &columns, state.select(), groups.len(), row);
    }
}

/// The cells of a job, with the id first.
fn cells(place: &PlaceArg, entry: &Entry, now: SystemTime) -> Vec<Cell> {
    let job = entry.job().ok();
    let at = match place {
        PlaceArg::Queue(_) => job.and_then(Job::enqueued_at),
        PlaceArg::Scheduled | PlaceArg::Retries | PlaceArg::Dead => entry.at(),
    };
    let at = Cell::or_none(at.map(|at| time(place, at, now)));
    let failures = Cell::new(count(job.map_or(0, Job::failures)));
    let mut cells = vec![
        Cell::or_none(job.map(|job| job.jid().as_str())),
        match job {
            Some(job) => Cell::new(job.class()),
            None => Cell::new("not a job").tone(Tone::Bad),
        },
    ];
    if let PlaceArg::Queue(_) = place {
        cells.extend([at, failures]);
        return cells;
    }
    let queue = job.and_then(Job::queue);
    cells.extend([Cell::or_none(queue.map(|queue| queue.as_str())), at]);
    if let PlaceArg::Retries | PlaceArg::Dead = place {
        cells.extend([failures, Cell::new(job.map(error).unwrap_or_default())]);
    }
    cells
}

/// How long ago something was, or in how long it is due.
fn time(place: &PlaceArg, at: SystemTime, now: SystemTime) -> String {
    match place {
        PlaceArg::Queue(_) | PlaceArg::Dead => age(at, now),
        PlaceArg::Scheduled | PlaceArg::Retries => match at.duration_since(now) {
            Ok(left) => whole(left),
            Err(_) => format!("{} ago", age(at, now)),
        },
    }
}
