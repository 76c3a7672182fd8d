//! The tab of the running jobs.

use ratatui::layout::Rect;

use super::{Canvas, age, grid::Column};
use crate::{
    output::{Cell, Tone},
    top::state::State,
};

/// From this width on, the id of the job is shown.
const WIDE: u16 = 110;

impl Canvas<'_> {
    pub(super) fn running(&mut self, state: &State, area: Rect) {
        let jobs = state.running_jobs();
        if jobs.is_empty() {
            return self.empty(
                area,
                match &state.running {
                    None => "reading ...",
                    Some(running) if running.jobs.is_empty() => {
                        "no process reports a running job; processes report every 10 s"
                    }
                    Some(_) => "no running job matches the filter",
                },
            );
        }
        let mut columns = vec![
            Column::number("FOR", 7),
            Column::share("CLASS", 3),
            Column::share("QUEUE", 2),
            Column::share("PROCESS", 3),
        ];
        if area.width >= WIDE {
            columns.insert(1, Column::text("JID", 24));
        }
        let now = self.moment.now;
        let row = |index: usize| {
            let Some(running) = jobs.get(index) else {
                return Vec::new();
            };
            let job = running.job.as_ref().ok();
            let mut cells = vec![
                Cell::or_none(running.since.map(|since| age(since, now))),
                match job {
                    Some(job) => Cell::new(job.class()),
                    None => Cell::new("not a job").tone(Tone::Bad),
                },
                Cell::or_none(running.queue.as_ref().map(|queue| queue.as_str())),
                Cell::new(&running.process),
            ];
            if area.width >= WIDE {
                cells.insert(1, Cell::or_none(job.map(|job| job.jid().as_str())));
            }
            cells
        };
        self.grid(area, &columns, state.select(), jobs.len(), row);
    }
}
