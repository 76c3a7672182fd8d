//! What operators did.

use verk_core::{
    manage::AuditEntry,
    storage::{MAX_BATCH_JOBS, Page},
};
use verk_web::{text::relative, values::AuditValue};

use super::Session;
use crate::{
    failure::{Exit, Failure},
    output::{Cell, Column, Table},
    text,
};

impl Session<'_> {
    pub(crate) async fn audit(&mut self, limit: usize) -> Result<Exit, Failure> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut entries: Vec<AuditEntry> = Vec::new();
        while entries.len() < limit {
            let page = Page {
                offset: entries.len(),
                limit: (limit - entries.len()).min(MAX_BATCH_JOBS),
            };
            let page = self.admin.audit(page).await?;
            if page.is_empty() {
                break;
            }
            entries.extend(page);
        }
        let now = self.now();
        let mut table = Table::new([
            Column::text("WHEN"),
            Column::text("TIME").optional(),
            Column::text("WHO"),
            Column::text("ACTION"),
            Column::number("JOBS"),
            Column::long("ON"),
            Column::long("FILTER"),
        ]);
        for entry in &entries {
            if self.output.is_json() {
                self.output.json(&AuditValue::new(entry))?;
                continue;
            }
            table.row([
                Cell::new(relative(entry.at, now)),
                Cell::new(self.output.time(entry.at)),
                Cell::or_none(entry.who.as_deref()),
                Cell::new(&entry.action),
                Cell::or_none(entry.count.map(text::count)),
                Cell::or_none(entry.target.as_deref()),
                Cell::or_none(entry.filter.as_deref()),
            ]);
        }
        if self.output.is_json() {
            return Ok(Exit::DONE);
        }
        if entries.is_empty() {
            self.output.note("no operator did anything yet")?;
        } else {
            self.output.table(table)?;
        }
        Ok(Exit::DONE)
    }
}
