//! The tab of the queues.

use ratatui::layout::Rect;
use verk_core::manage::QueueOverview;

use super::{Canvas, grid::Column, number, short};
use crate::{
    commands::paused,
    output::{Cell, Tone},
    text::count,
    top::{
        state::State,
        trends::{Line, STEP},
    },
};

/// From this width on, lines have more points, and a pause its reason.
const WIDE: u16 = 110;

impl Canvas<'_> {
    pub(super) fn queues(&mut self, state: &State, area: Rect) {
        let points = match area.width {
            WIDE.. => 16,
            76.. => 8,
            _ => 0,
        };
        let span = match points {
            0 => "",
            8 => "last 80s",
            _ => "last 160s",
        };
        debug_assert!(points == 0 || STEP.as_secs() == 10, "as the head says");
        let mut columns = vec![
            Column::share("QUEUE", 2),
            Column::number("WAITING", 8),
            Column::number("RUNNING", 8),
            Column::number("RATE/S", 7),
            Column::text(span, points),
            Column::number("OLDEST", 7),
            Column::text(span, points),
            if area.width >= WIDE {
                Column::share("STATE", 2)
            } else {
                Column::text("STATE", 10)
            },
        ];
        if points == 0 {
            columns.remove(6);
            columns.remove(4);
        }
        let queues = state.queues();
        if queues.is_empty() {
            return self.empty(
                area,
                match &state.overview {
                    None => "reading ...",
                    Some(overview) if overview.queues.is_empty() => {
                        "no queue: no program has enqueued a job, and no node runs one"
                    }
                    Some(_) => "no queue matches the filter",
                },
            );
        }
        let (look, now) = (self.look, self.moment.now);
        let row = |index: usize| {
            let Some(queue) = queues.get(index) else {
                return Vec::new();
            };
            let lines = state.trends.of(&queue.queue);
            let line = |of: Option<&Line>| {
                let points = usize::from(points);
                Cell::new(of.map_or_else(String::new, |line| look.line(line.last(points), points)))
            };
            // Only verk and Elixir's Verk count by queue.
            let is_counted = queue.processed > 0 || queue.failed > 0;
            let rate = state.trends.rates().of(&queue.queue).filter(|_| is_counted);
            let mut cells = vec![
                Cell::new(queue.queue.as_str()),
                Cell::new(count(queue.enqueued)),
                Cell::new(running(queue)),
                Cell::or_none(rate.map(number)),
                line(lines.filter(|_| is_counted).map(|lines| &lines.rate)),
                Cell::or_none((queue.enqueued > 0).then(|| short(queue.latency))),
                line(lines.map(|lines| &lines.latency)),
                match &queue.paused {
                    Some(pause) if area.width >= WIDE => {
                        Cell::new(paused(pause, now)).tone(Tone::Warning)
                    }
                    Some(_) => Cell::new("paused").tone(Tone::Warning),
                    None if queue.processes == 0 && queue.enqueued > 0 => {
                        Cell::new("no process").tone(Tone::Bad)
                    }
                    None if queue.processes == 0 => Cell::new("no process").tone(Tone::Faint),
                    None => Cell::new("runs").tone(Tone::Good),
                },
            ];
            if points == 0 {
                cells.remove(6);
                cells.remove(4);
            }
            cells
        };
        let queues = queues.len();
        self.grid(area, &columns, state.select(), queues, row);
    }
}

/// How many jobs run, of how many that may.
fn running(queue: &QueueOverview) -> String {
    match queue.concurrency {
        0 => count(queue.running),
        permits => format!("{}/{}", count(queue.running), count(permits)),
    }
}
