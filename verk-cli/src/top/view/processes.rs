//! The tab of the processes.

use ratatui::layout::Rect;
use verk_web::text::bytes;

use super::{Canvas, age, grid::Column};
use crate::{
    output::{Cell, Tone},
    text::count,
    top::state::State,
};

impl Canvas<'_> {
    pub(super) fn processes(&mut self, state: &State, area: Rect) {
        let processes = state.processes();
        if processes.is_empty() {
            return self.empty(
                area,
                match &state.overview {
                    None => "reading ...",
                    Some(overview) if overview.processes.is_empty() => {
                        "no process has reported itself within the last minute"
                    }
                    Some(_) => "no process matches the filter",
                },
            );
        }
        let columns = [
            Column::share("PROCESS", 3),
            Column::text("VERSION", 14),
            Column::number("BUSY", 8),
            Column::number("MEMORY", 8),
            Column::number("BEAT", 6),
            Column::text("STATE", 6),
            Column::share("QUEUES", 2),
        ];
        let now = self.moment.now;
        let row = |index: usize| {
            let Some(process) = processes.get(index) else {
                return Vec::new();
            };
            let queues = process.queues.iter().map(|queue| queue.name.as_str());
            let memory = process.rss_kib.map(|kib| bytes(kib.saturating_mul(1_024)));
            vec![
                Cell::new(&process.identity),
                Cell::or_none(process.version.as_deref()),
                Cell::new(format!(
                    "{}/{}",
                    count(process.busy),
                    count(process.concurrency)
                )),
                Cell::or_none(memory.map(|memory| memory.replace('\u{202f}', ","))),
                Cell::new(age(process.beat, now)),
                if process.quiet {
                    Cell::new("quiet").tone(Tone::Warning)
                } else {
                    Cell::new("runs").tone(Tone::Good)
                },
                Cell::new(queues.collect::<Vec<_>>().join(" ")),
            ]
        };
        self.grid(area, &columns, state.select(), processes.len(), row);
    }
}
