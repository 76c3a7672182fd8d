//! Everything that waits, moved to another storage.

use serde::Serialize;
use verk_core::{
    StorageError,
    error::Applied,
    manage::{
        Admin, AuditEntry, LeftBehind, MigrateError, Migrated, MigratedPlace, Migration,
        MigrationReport,
    },
};

use super::{Session, record};
use crate::{
    args::{MigrateArgs, PlaceArg},
    confirm::agree,
    failure::{Exit, Failure},
    output::{Cell, Column, Table},
    progress::Work,
    text::{self, clean},
};

/// What came of it, for programs.
#[derive(Serialize)]
struct Value<'a> {
    from: String,
    to: String,
    dry_run: bool,
    complete: bool,
    resumed: bool,
    stopped: bool,
    moved: u64,
    waiting: u64,
    running: u64,
    /// The queues that are paused in the target, as they were in the source.
    paused: Vec<&'a str>,
    places: Vec<PlaceValue>,
    left: Vec<LeftValue<'a>>,
}

#[derive(Serialize)]
pub(super) struct PlaceValue {
    place: String,
    found: u64,
    moved: u64,
    already: u64,
    left: u64,
    before: u64,
    after: u64,
}

#[derive(Serialize)]
pub(super) struct LeftValue<'a> {
    place: String,
    id: &'a str,
    reason: String,
}

impl Session<'_> {
    pub(crate) async fn migrate(&mut self, args: &MigrateArgs) -> Result<Exit, Failure> {
        let connection = self.connection.ok_or_else(|| {
            Failure::usage("this program has a storage of its own: migrate is for the binary verk")
        })?;
        let target = connection.connect_target(args.to.as_deref(), args.to_prefix.as_deref());
        let target = target.await?;
        let result = self.migrate_to(&target.admin(), args).await;
        target.shutdown().await;
        result
    }

    async fn migrate_to(&mut self, target: &Admin, args: &MigrateArgs) -> Result<Exit, Failure> {
        let mut migration = self.admin.migrate_to(target);
        if let Some(user) = &self.user {
            migration = migration.by(user);
        }
        let preview = migration.preview().await?;
        if args.consent.dry_run {
            self.print_migration(target, &preview, true)?;
            return Ok(Exit::DONE);
        }
        self.refuse_other_programs().await?;
        let (from, to) = (clean(&self.admin.address()), clean(&target.address()));
        let all = text::count(preview.left());
        let question = format!(
            "Move {all} jobs from {from} to {to}? Every queue of {from} is paused on all nodes, and stays so."
        );
        agree(self.output, &args.consent, &question)?;

        self.output.begins_change();
        let work = Work::begin(self.output, "migrating", preview.left());
        let migrated = watched(migration, &work).run().await;
        drop(work);
        let (report, failure) = match migrated {
            Ok(report) => (report, None),
            Err(error) => failed(error)?,
        };
        let entry = |what: String| AuditEntry::new("migrate").on(what).count(report.moved());
        self.record(entry(format!("to {to}"))).await;
        record(target, self.user.as_deref(), entry(format!("from {from}"))).await;
        if let Some(failure) = failure {
            self.output.note(&format!(
                "moved {} jobs before it failed: run the command again, and resume no queue of the source before",
                text::count(report.moved())
            ))?;
            return Err(failure);
        }
        self.print_migration(target, &report, false)?;
        if report.stopped {
            return Err(Failure::Interrupted(format!(
                "stopped: moved {}, and {} are left",
                text::jobs(report.moved()),
                text::count(report.left())
            )));
        }
        Ok(if report.is_complete() {
            Exit::DONE
        } else {
            Exit::NOTHING
        })
    }

    /// Other programs fetch jobs of a paused queue, which may move at that moment.
    pub(super) async fn refuse_other_programs(&self) -> Result<(), Failure> {
        let processes = self.admin.processes().await?.into_iter();
        let is_other = |version: Option<&str>| !version.is_some_and(|it| it.starts_with("verk"));
        let others = processes.filter(|it| !it.quiet && is_other(it.version.as_deref()));
        let others: Vec<String> = others.map(|it| clean(&it.identity)).collect();
        if others.is_empty() {
            return Ok(());
        }
        Err(Failure::Refused(format!(
            "other programs fetch from these queues and may not obey a pause: stop them, or quiet them with `verk quiet`: {}",
            others.join(", ")
        )))
    }

    fn print_migration(
        &mut self,
        target: &Admin,
        report: &MigrationReport,
        dry_run: bool,
    ) -> Result<(), Failure> {
        if self.output.is_json() {
            let value = Value {
                from: self.admin.address(),
                to: target.address(),
                dry_run,
                complete: !dry_run && report.is_complete(),
                resumed: report.resumed,
                stopped: report.stopped,
                moved: report.moved(),
                waiting: report.left(),
                running: report.running,
                paused: report.paused.iter().map(|queue| queue.as_str()).collect(),
                places: report.places.iter().map(PlaceValue::new).collect(),
                left: report.left.iter().map(LeftValue::new).collect(),
            };
            return self.output.json(&value);
        }
        self.output
            .table(counts(report, ["TARGET BEFORE", "TARGET AFTER"]))?;
        for left in &report.left {
            self.output.note(&left_note(left))?;
        }
        for queue in &report.paused {
            let line = format!("queue {queue} was paused by an operator, and is in the target");
            self.output.note(&clean(&line))?;
        }
        if report.running > 0 {
            let running = text::jobs(report.running);
            self.output.note(&format!(
                "nodes of the source hold {running}, which do not move: run the command again when they are done"
            ))?;
        }
        let line = match (dry_run, report.resumed) {
            (true, true) => "dry run: an earlier run did not end, and would be continued",
            (true, false) => "dry run: nothing was changed",
            (false, true) => "continued a run that did not end; the source stays paused",
            (false, false) => "the queues of the source stay paused",
        };
        self.output.note(line)
    }
}

/// Lets a migration report to the bar, and end on Ctrl-C.
fn watched(migration: Migration, work: &Work) -> Migration {
    let (bar, ended) = (work.reporter(), work.ended());
    migration
        .progress(move |progress| {
            let place = clean(&progress.place.to_string());
            bar(&format!("migrating {place}"), progress.done, progress.of);
        })
        .until(ended)
}

/// What was done before the failure; or the failure, if nothing was.
fn failed(error: MigrateError) -> Result<(MigrationReport, Option<Failure>), Failure> {
    let message = error.to_string();
    match error {
        MigrateError::Storage { report, source } => {
            let failure = failed_after(&report, &source, message);
            if report.places.is_empty() {
                return Err(failure);
            }
            Ok((*report, Some(failure)))
        }
        _ => Err(Failure::Usage(message)),
    }
}

/// The failure of a storage in the middle of a migration.
pub(super) fn failed_after(
    report: &MigrationReport,
    source: &StorageError,
    message: String,
) -> Failure {
    let applied = if report.places.is_empty() {
        source.applied()
    } else {
        Applied::Unknown
    };
    Failure::Storage { message, applied }
}

/// The counts of the places that have or had a job.
pub(super) fn counts(report: &MigrationReport, [before, after]: [&'static str; 2]) -> Table {
    let mut table = Table::new([
        Column::text("PLACE"),
        Column::number("FOUND"),
        Column::number("MOVED"),
        Column::number("ALREADY THERE"),
        Column::number("LEFT"),
        Column::number(before),
        Column::number(after),
    ]);
    for place in report.places.iter().filter(|place| !is_empty(place)) {
        let numbers = [
            place.found,
            place.moved,
            place.already,
            place.left,
            place.before,
            place.after,
        ];
        let numbers = numbers.map(|number| Cell::new(text::count(number)));
        let name = Cell::new(name(&place.place));
        table.row([name].into_iter().chain(numbers).collect::<Vec<_>>());
    }
    table
}

/// Says of a job why it was left.
pub(super) fn left_note(left: &LeftBehind) -> String {
    let (place, id, reason) = (name(&left.place), &left.id, &left.reason);
    clean(&format!("left {id} in {place}: {reason}"))
}

fn is_empty(place: &MigratedPlace) -> bool {
    place.found + place.left + place.before + place.after == 0
}

/// The place as an argument has it, or `cron`.
fn name(place: &Migrated) -> String {
    match place {
        Migrated::Jobs(source) => match PlaceArg::of(source) {
            PlaceArg::Queue(queue) => format!("queue:{queue}"),
            PlaceArg::Scheduled => "scheduled".to_owned(),
            PlaceArg::Retries => "retries".to_owned(),
            PlaceArg::Dead => "dead".to_owned(),
        },
        _ => "cron".to_owned(),
    }
}

impl PlaceValue {
    pub(super) fn new(place: &MigratedPlace) -> Self {
        Self {
            place: name(&place.place),
            found: place.found,
            moved: place.moved,
            already: place.already,
            left: place.left,
            before: place.before,
            after: place.after,
        }
    }
}

impl<'a> LeftValue<'a> {
    pub(super) fn new(left: &'a LeftBehind) -> Self {
        Self {
            place: name(&left.place),
            id: &left.id,
            reason: left.reason.to_string(),
        }
    }
}
