//! The jobs of a place.

use std::time::SystemTime;

use jiff::tz::TimeZone;
use verk_core::{
    Job,
    manage::{Entry, Jobs, Query, SEARCH_BUDGET},
    storage::MAX_BATCH_JOBS,
};
use verk_web::{Payloads, text::relative, values::EntryValue};

use super::Session;
use crate::{
    args::{FilterArgs, Listing, PlaceArg},
    failure::{Exit, Failure},
    output::{Cell, Column, Table, Tone},
    progress::Work,
    text, times,
};

/// How many rows share the widths of their columns.
const ROWS: usize = 1_000;

impl Session<'_> {
    pub(crate) async fn list(
        &mut self,
        place: &PlaceArg,
        args: &FilterArgs,
        listing: &Listing,
    ) -> Result<Exit, Failure> {
        let jobs = place.jobs(self.admin)?;
        let query = Query::new()
            .order(place.order(listing.order))
            .filter(self.filter(args)?);
        let limit = match listing.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let has_filter = *args != FilterArgs::default();
        self.print_list(&jobs, place, &query, limit, has_filter)
            .await
    }

    async fn print_list(
        &mut self,
        jobs: &Jobs,
        place: &PlaceArg,
        query: &Query,
        limit: usize,
        has_filter: bool,
    ) -> Result<Exit, Failure> {
        let total = jobs.count().await? as u64;
        let work = Work::begin(self.output, "searching", total);
        let (mut rows, mut shown, mut examined) = (Vec::new(), 0_usize, 0);
        let mut at = None;
        let more = loop {
            let left = (limit - shown).min(MAX_BATCH_JOBS);
            let page = query.clone().limit(left).at(at);
            let page = jobs.search(&page, SEARCH_BUDGET).await?;
            examined += page.looked_at;
            work.examined(examined);
            shown += page.entries.len();
            if self.output.is_json() {
                for entry in &page.entries {
                    self.output
                        .json(&EntryValue::new(entry, &Payloads::Shown))?;
                }
            } else {
                rows.extend(page.entries);
            }
            if rows.len() >= ROWS {
                self.print_rows(place, &rows, shown <= rows.len())?;
                rows.clear();
            }
            at = page.next;
            if at.is_none() || shown >= limit {
                break at.is_some();
            }
            if work.is_interrupted() {
                drop(work);
                if !rows.is_empty() {
                    self.print_rows(place, &rows, shown <= rows.len())?;
                }
                return Err(Failure::Interrupted(format!(
                    "stopped after {} of {}",
                    text::count(examined),
                    text::jobs(total)
                )));
            }
        };
        drop(work);
        if self.output.is_json() {
            return Ok(Exit::DONE);
        }
        if !rows.is_empty() {
            self.print_rows(place, &rows, shown <= rows.len())?;
        }
        let note = match (shown, has_filter) {
            (0, false) => format!("no jobs {}", place.phrase()),
            (0, true) => format!(
                "no job {} matches, of {}",
                place.phrase(),
                text::count(total)
            ),
            (_, false) => format!(
                "{} of {} {}",
                text::count(shown),
                text::jobs(total),
                place.phrase()
            ),
            (_, true) if more => format!(
                "the first {} that match; there may be more {}: see --limit",
                text::count(shown),
                place.phrase()
            ),
            (_, true) => format!(
                "{} of {} {} match",
                text::count(shown),
                text::jobs(total),
                place.phrase()
            ),
        };
        self.output.note(&note)?;
        Ok(Exit::DONE)
    }

    fn print_rows(&mut self, place: &PlaceArg, rows: &[Entry], head: bool) -> Result<(), Failure> {
        let now = self.now();
        let mut table = Table::new(columns(place));
        for entry in rows {
            table.row(cells(place, entry, now, &self.output.zone));
        }
        if !head {
            table = table.without_head();
        }
        self.output.table(table)
    }
}

fn cells(place: &PlaceArg, entry: &Entry, now: SystemTime, zone: &TimeZone) -> Vec<Cell> {
    let job = entry.job().ok();
    let time = match place {
        PlaceArg::Queue(_) => job.and_then(Job::enqueued_at),
        _ => entry.at(),
    };
    let mut cells = vec![
        Cell::or_none(job.map(|job| job.jid().as_str())),
        match job {
            Some(job) => Cell::new(job.class()),
            None => Cell::new("not a job").tone(Tone::Bad),
        },
    ];
    if !matches!(place, PlaceArg::Queue(_)) {
        cells.push(Cell::or_none(
            job.and_then(Job::queue).map(|queue| queue.as_str()),
        ));
    }
    let has_failed = matches!(place, PlaceArg::Dead | PlaceArg::Retries);
    if has_failed {
        cells.push(Cell::new(text::count(job.map_or(0, Job::failures))));
    }
    cells.push(Cell::or_none(time.map(|time| relative(time, now))));
    cells.push(Cell::or_none(time.map(|time| times::local(time, zone))));
    if has_failed {
        cells.push(Cell::new(job.map(error).unwrap_or_default()));
    }
    cells
}

fn columns(place: &PlaceArg) -> Vec<Column> {
    let mut columns = vec![Column::text("JID"), Column::long("CLASS")];
    let queue = Column::text("QUEUE").optional();
    let time = Column::text("TIME").optional();
    match place {
        PlaceArg::Queue(_) => columns.extend([Column::text("WAITS SINCE"), time]),
        PlaceArg::Scheduled => columns.extend([queue, Column::text("DUE"), time]),
        PlaceArg::Retries | PlaceArg::Dead => columns.extend([
            queue,
            Column::number("FAILED").optional(),
            Column::text(match place {
                PlaceArg::Dead => "DIED",
                _ => "NEXT TRY",
            }),
            time,
            Column::long("ERROR"),
        ]),
    }
    columns
}

/// The class and the message of the last error, in a line.
pub(crate) fn error(job: &Job) -> String {
    let class = job.error_class().unwrap_or_default();
    let message = job.error_message().unwrap_or_default();
    let message = message.lines().next().unwrap_or_default();
    match (&*class, message) {
        (class, "") => class.to_owned(),
        ("", message) => message.to_owned(),
        (class, message) => format!("{class}: {message}"),
    }
}
