//! The counts of the fleet.

use verk_web::values::{DayValue, StatsValue};

use super::Session;
use crate::{
    failure::{Exit, Failure},
    output::{Cell, Column, Table},
    text,
};

/// 5 years: as long as they are kept.
const MAX_DAYS: usize = 1_826;

impl Session<'_> {
    pub(crate) async fn stats(&mut self, days: Option<usize>) -> Result<Exit, Failure> {
        let overview = self.admin.overview().await?;
        let now = self.now();
        if self.output.is_json() {
            self.output
                .json(&StatsValue::new(Some(now), &overview, None, None))?;
        } else {
            let (running, permits) = overview.running();
            let stats = &overview.stats;
            let mut fields = Table::of_fields();
            let mut field = |name, text| fields.field(name, Cell::new(text));
            field("Processed", text::count(stats.processed));
            field("Failed", text::count(stats.failed));
            field("Waiting", text::count(stats.enqueued()));
            field("Scheduled", text::count(stats.scheduled));
            field("Retries", text::count(stats.retry));
            field("Dead", text::count(stats.dead));
            field(
                "Running",
                format!("{} of {}", text::count(running), text::count(permits)),
            );
            field("Queues", text::count(overview.queues.len()));
            field("Processes", text::count(overview.processes.len()));
            self.output.table(fields)?;
        }
        if let Some(days) = days {
            self.days(days).await?;
        }
        Ok(Exit::DONE)
    }

    async fn days(&mut self, days: usize) -> Result<(), Failure> {
        let days = self.admin.stats_history(days.min(MAX_DAYS)).await?;
        if self.output.is_json() {
            return days
                .iter()
                .try_for_each(|day| self.output.json(&DayValue::new(day)));
        }
        let mut table = Table::new([
            Column::text("DAY"),
            Column::number("PROCESSED"),
            Column::number("FAILED"),
        ]);
        for day in &days {
            table.row([
                Cell::new(day.day.to_string()),
                Cell::new(text::count(day.processed)),
                Cell::new(text::count(day.failed)),
            ]);
        }
        self.output.line("")?;
        self.output.table(table)
    }
}
