//! The cells of a fleet, and queues that move between them.

use serde::Serialize;
use verk_core::{
    QueueName,
    manage::{AuditEntry, MoveQueueError, QueueMoveReport},
};

use super::{
    Session,
    migrate::{LeftValue, PlaceValue, counts, failed_after, left_note},
};
use crate::{
    args::{CellsCommand, Consent},
    confirm::agree,
    failure::{Exit, Failure},
    output::{Cell, Column, Table},
    progress::Work,
    text::{self, clean},
};

/// A cell, for programs.
#[derive(Serialize)]
struct Value<'a> {
    cell: usize,
    address: &'a str,
    answers: bool,
    /// The queues that were moved here.
    moved_here: Vec<&'a str>,
    /// Those that move here, or whose move did not end.
    moving_here: Vec<&'a str>,
}

/// A move, for programs.
#[derive(Serialize)]
struct MoveValue<'a> {
    queue: &'a str,
    from: usize,
    to: usize,
    complete: bool,
    resumed: bool,
    stopped: bool,
    moved: u64,
    /// Locks whose jobs are done.
    locks: u64,
    places: Vec<PlaceValue>,
    left: Vec<LeftValue<'a>>,
}

impl Session<'_> {
    pub(crate) async fn cells(&mut self, command: &CellsCommand) -> Result<Exit, Failure> {
        match command {
            CellsCommand::Ls => self.list_cells().await,
            CellsCommand::Move { queue, to, consent } => self.move_queue(queue, *to, consent).await,
        }
    }

    async fn list_cells(&mut self) -> Result<Exit, Failure> {
        let cells = self.admin.cells().await;
        let moved = self.admin.moved_queues().await?;
        let mut table = Table::new([
            Column::number("CELL"),
            Column::text("ADDRESS"),
            Column::text("STATE"),
            Column::long("MOVED HERE").optional(),
            Column::long("MOVING HERE").optional(),
        ]);
        for cell in &cells {
            let here = moved.iter().filter(|queue| queue.cell == cell.cell);
            let here: Vec<&str> = here.map(|queue| queue.queue.as_str()).collect();
            let moving = moved.iter().filter(|queue| queue.to == Some(cell.cell));
            let moving: Vec<&str> = moving.map(|queue| queue.queue.as_str()).collect();
            if self.output.is_json() {
                self.output.json(&Value {
                    cell: cell.cell,
                    address: &cell.address,
                    answers: cell.facts.is_ok(),
                    moved_here: here,
                    moving_here: moving,
                })?;
                continue;
            }
            let state = match &cell.facts {
                Ok(_) => "answers".to_owned(),
                Err(error) => clean(&error.to_string()),
            };
            let queues = |queues: &[&str]| (!queues.is_empty()).then(|| queues.join(", "));
            table.row([
                Cell::new(cell.cell.to_string()),
                Cell::new(clean(&cell.address)),
                Cell::new(state),
                Cell::or_none(queues(&here)),
                Cell::or_none(queues(&moving)),
            ]);
        }
        if !self.output.is_json() {
            self.output.table(table)?;
        }
        Ok(Exit::DONE)
    }

    async fn move_queue(
        &mut self,
        queue: &QueueName,
        to: usize,
        consent: &Consent,
    ) -> Result<Exit, Failure> {
        let waiting = self.admin.queue(queue.as_str())?.count().await? as u64;
        let question = format!(
            "Move queue {queue}, with {} that wait, to cell {to}?",
            text::jobs(waiting)
        );
        if consent.dry_run {
            self.output.note(&clean(&format!(
                "dry run: queue {queue} has {} that wait; nothing was changed",
                text::jobs(waiting)
            )))?;
            return Ok(Exit::DONE);
        }
        self.refuse_other_programs().await?;
        agree(self.output, consent, &question)?;

        self.output.begins_change();
        let work = Work::begin(self.output, "moving", waiting);
        let (bar, ended) = (work.reporter(), work.ended());
        let mut the_move = self.admin.move_queue(queue.clone(), to);
        if let Some(user) = &self.user {
            the_move = the_move.by(user);
        }
        let the_move = the_move.until(ended).progress(move |progress| {
            let place = clean(&progress.place.to_string());
            bar(&format!("moving {place}"), progress.done, progress.of);
        });
        let moved = the_move.run().await;
        drop(work);
        let entry = |jobs: u64| {
            let what = format!("{queue} to cell {to}");
            AuditEntry::new("move queue").on(what).count(jobs)
        };
        let report = match moved {
            Ok(report) => report,
            Err(MoveQueueError::Storage { report, source }) => {
                let message = MoveQueueError::Storage {
                    report: report.clone(),
                    source: source.clone(),
                };
                self.record(entry(report.moved())).await;
                self.output.note(
                    "the queue is paused in its old cell: run the command again, and do not resume the queue before",
                )?;
                return Err(failed_after(&report, &source, message.to_string()));
            }
            Err(error) => return Err(Failure::Usage(error.to_string())),
        };
        self.record(entry(report.jobs.moved())).await;
        self.print_move(queue, &report)?;
        if report.jobs.stopped {
            return Err(Failure::Interrupted(format!(
                "stopped: moved {}; run the command again to move the others",
                text::jobs(report.jobs.moved())
            )));
        }
        Ok(if report.is_complete() {
            Exit::DONE
        } else {
            Exit::NOTHING
        })
    }

    fn print_move(&mut self, queue: &QueueName, report: &QueueMoveReport) -> Result<(), Failure> {
        let jobs = &report.jobs;
        if self.output.is_json() {
            return self.output.json(&MoveValue {
                queue: queue.as_str(),
                from: report.from,
                to: report.to,
                complete: report.is_complete(),
                resumed: jobs.resumed,
                stopped: jobs.stopped,
                moved: jobs.moved(),
                locks: report.locks,
                places: jobs.places.iter().map(PlaceValue::new).collect(),
                left: jobs.left.iter().map(LeftValue::new).collect(),
            });
        }
        if report.from == report.to {
            let line = format!("queue {queue} lies in cell {}", report.to);
            return self.output.note(&clean(&line));
        }
        self.output
            .table(counts(jobs, ["NEW CELL BEFORE", "NEW CELL AFTER"]))?;
        for left in &jobs.left {
            self.output.note(&left_note(left))?;
        }
        let moves = match jobs.stopped {
            true => "is about to move",
            false => "moved",
        };
        let (from, to) = (report.from, report.to);
        let line = format!("queue {queue} {moves} from cell {from} to cell {to}");
        self.output.note(&clean(&line))
    }
}
