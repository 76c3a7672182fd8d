//! How often classes ran, and how long they took.

use std::time::Duration;

use verk_core::manage::{ClassExecutions, ExecutionRange, HistogramHistory};
use verk_web::{
    text::duration,
    values::{ClassHistoryValue, ClassValue},
};

use super::Session;
use crate::{
    failure::{Exit, Failure},
    output::{Cell, Column, Table, Tone},
    text,
};

/// The length of the longest bar of a histogram.
const BAR: u64 = 40;

impl Session<'_> {
    pub(crate) async fn metrics(
        &mut self,
        class: Option<&str>,
        minutes: usize,
    ) -> Result<Exit, Failure> {
        let range = ExecutionRange::minutes(minutes);
        match class {
            Some(class) => self.metrics_of(class, range).await,
            None => self.all_metrics(range).await,
        }
    }

    async fn all_metrics(&mut self, range: ExecutionRange) -> Result<Exit, Failure> {
        let history = self.admin.executions(&range).await?;
        if self.output.is_json() {
            for class in &history.classes {
                self.output.json(&ClassValue::new(class))?;
            }
            return Ok(Exit::DONE);
        }
        if history.classes.is_empty() {
            self.output.note(
                "no class ran in that time, or no node records it: set execution_metrics = true",
            )?;
            return Ok(Exit::DONE);
        }
        let mut table = Table::new([
            Column::long("CLASS"),
            Column::number("RUNS"),
            Column::number("FAILED"),
            Column::number("MEAN"),
            Column::number("TOTAL"),
        ]);
        for class in &history.classes {
            let total = class.total();
            let failed = Cell::new(text::count(total.counts.failed));
            table.row([
                Cell::new(&class.class),
                Cell::new(text::count(total.counts.processed())),
                if total.counts.failed > 0 {
                    failed.tone(Tone::Bad)
                } else {
                    failed
                },
                Cell::or_none(total.mean().map(duration)),
                Cell::new(duration(total.took)),
            ]);
        }
        self.output.table(table)?;
        Ok(Exit::DONE)
    }

    async fn metrics_of(&mut self, class: &str, range: ExecutionRange) -> Result<Exit, Failure> {
        let history = self.admin.executions(&range.clone().class(class)).await?;
        let histogram = self.admin.histogram(class, &range).await?;
        if self.output.is_json() {
            let value = ClassHistoryValue::new(class, &history, &histogram);
            self.output.json(&value)?;
            return Ok(Exit::DONE);
        }
        let Some(own) = history.classes.iter().find(|own| own.class == class) else {
            return Err(Failure::not_found(format!(
                "class {class} did not run in that time, or no node records it: set execution_metrics = true"
            )));
        };
        self.output.table(summary(own))?;
        self.output.line("")?;
        self.output.table(bars(&histogram))?;
        Ok(Exit::DONE)
    }
}

fn summary(class: &ClassExecutions) -> Table {
    let total = class.total();
    let mut fields = Table::of_fields();
    fields.field("Class", Cell::new(&class.class));
    fields.field("Runs", Cell::new(text::count(total.counts.processed())));
    fields.field("Failed", Cell::new(text::count(total.counts.failed)));
    fields.field("Mean", Cell::or_none(total.mean().map(duration)));
    fields
}

/// The runs that took less than each bound, with a bar. Bounds beyond the longest run are left out.
fn bars(histogram: &HistogramHistory) -> Table {
    let mut table = Table::new([
        Column::number("UNDER"),
        Column::number("RUNS"),
        Column::text(""),
    ]);
    let (bounds, runs) = (HistogramHistory::bounds(), histogram.total());
    let most = runs.iter().copied().max().unwrap_or(0).max(1);
    let last = runs.iter().rposition(|runs| *runs > 0).unwrap_or(0);
    for (at, runs) in runs.iter().enumerate().take(last + 1) {
        let bound: Option<Duration> = bounds.get(at).copied();
        let length = runs.saturating_mul(BAR).div_ceil(most);
        table.row([
            Cell::new(bound.map_or_else(|| "longer".to_owned(), duration)),
            Cell::new(text::count(*runs)),
            Cell::new("#".repeat(usize::try_from(length).unwrap_or(0))),
        ]);
    }
    table
}
