//! The commands: [`Session::run`] has all of them.

mod act;
mod audit;
mod cells;
mod config;
mod cron;
mod doctor;
mod enqueue;
mod fleet;
mod import;
mod list;
mod locks;
mod metrics;
mod migrate;
mod pause;
mod show;
mod signal;
mod stats;
mod tail;
mod web;
mod why;

use std::time::SystemTime;

use clap::CommandFactory as _;
use jiff::tz::TimeZone;
use verk_core::{
    log,
    manage::{Admin, AuditEntry, Filter},
    storage::ProcessSignal,
};

use crate::{
    args::{Cli, Command, FilterArgs, FilteredList, JobsCommand, ListArgs, PlaceArg, Standalone},
    connect::Connection,
    failure::{Exit, Failure},
    output::Output,
    times,
};

pub(crate) use self::act::Verb;
#[cfg(feature = "tui")]
pub(crate) use self::{fleet::paused, list::error, signal::name as signal_name};

/// A command that runs: the storage, and where to print.
pub(crate) struct Session<'a> {
    pub(crate) admin: &'a Admin,
    /// `None` in a program with a storage of its own.
    pub(crate) connection: Option<&'a Connection>,
    /// The name of the user, for pauses and the audit.
    pub(crate) user: Option<String>,
    pub(crate) output: &'a mut Output,
}

/// Runs a command that needs no storage; `None` for any other.
pub(crate) fn without_storage(
    command: &Command,
    connection: Option<&Connection>,
    output: &mut Output,
) -> Option<Result<Exit, Failure>> {
    match command {
        Command::Completions { shell } => {
            let mut command = match connection {
                Some(_) => Standalone::command(),
                None => Cli::command(),
            };
            let name = command.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, name, &mut script);
            let written = output.raw().write_all(&script);
            Some(written.map(|()| Exit::DONE).map_err(Failure::from))
        }
        Command::Config => Some(config::of_connection(connection?, output)),
        _ => None,
    }
}

impl Session<'_> {
    /// Runs a command. Ctrl-C ends one that only reads at once; one that changes something ends
    /// after a step.
    pub(crate) async fn run(&mut self, command: &Command) -> Result<Exit, Failure> {
        if !command.only_reads() {
            return self.dispatch(command).await;
        }
        if command.is_a_search() {
            return self.dispatch(command).await.map_err(Failure::of_read);
        }
        let interrupt = self.output.interrupt.clone();
        let result = tokio::select! {
            result = self.dispatch(command) => result,
            () = interrupt.wait() => Err(Failure::Interrupted(String::new())),
        };
        result.map_err(Failure::of_read)
    }

    async fn dispatch(&mut self, command: &Command) -> Result<Exit, Failure> {
        match command {
            Command::Stats { days } => self.stats(*days).await,
            Command::Queues => self.queues().await,
            Command::Jobs(command) => self.jobs(command).await,
            Command::Dead(list) => self.short_list(PlaceArg::Dead, list).await,
            Command::Retries(list) => self.short_list(PlaceArg::Retries, list).await,
            Command::Scheduled(list) => self.short_list(PlaceArg::Scheduled, list).await,
            Command::Running { limit } => self.running(*limit).await,
            Command::Processes => self.processes().await,
            Command::Nodes => self.nodes().await,
            Command::Pause { queues, reason } => self.pause(queues, reason.as_deref()).await,
            Command::Resume { queues } => self.resume(queues).await,
            Command::Quiet(args) => self.signal(args, ProcessSignal::Quiet).await,
            Command::Stop(args) => self.signal(args, ProcessSignal::Stop).await,
            Command::Dump(args) => self.signal(args, ProcessSignal::Dump).await,
            Command::Clear { queue, consent } => self.clear(queue, consent).await,
            Command::Enqueue(args) => self.enqueue(args).await,
            Command::Cron(command) => self.cron(command).await,
            Command::Locks(command) => self.locks(command).await,
            Command::Import(command) => self.import(command).await,
            Command::Cells(command) => Box::pin(self.cells(command)).await,
            Command::Migrate(args) => Box::pin(self.migrate(args)).await,
            Command::Tail { limit } => self.tail(*limit).await,
            Command::Metrics { class, minutes } => self.metrics(class.as_deref(), *minutes).await,
            #[cfg(feature = "tui")]
            Command::Top => crate::top::run(self).await,
            Command::Doctor {
                max_jobs,
                convert,
                consent,
            } => self.doctor(*max_jobs, *convert, consent).await,
            Command::Audit { limit } => self.audit(*limit).await,
            Command::Web(args) => self.web(args).await,
            Command::Config => self.config(),
            // Those that need no storage.
            Command::Completions { .. } => Ok(Exit::DONE),
        }
    }

    async fn jobs(&mut self, command: &JobsCommand) -> Result<Exit, Failure> {
        match command {
            JobsCommand::List(ListArgs {
                place,
                filter,
                list,
            }) => self.list(place, filter, list).await,
            JobsCommand::Show(args) => self.show(args).await,
            JobsCommand::Why(args) => self.why(args).await,
            JobsCommand::Run(args) => {
                let verb = if args.force { Verb::Force } else { Verb::Run };
                self.act(&args.jobs, verb).await
            }
            JobsCommand::Delete(args) => self.act(args, Verb::Delete).await,
            JobsCommand::Kill(args) => self.act(args, Verb::Kill).await,
            JobsCommand::Reschedule(args) => {
                let at = args
                    .at
                    .or(args.after)
                    .and_then(|when| when.time(self.now()));
                let at = at.ok_or_else(|| Failure::usage("no calendar has that time"))?;
                self.act(&args.jobs, Verb::Reschedule(at)).await
            }
        }
    }

    async fn short_list(&mut self, place: PlaceArg, list: &FilteredList) -> Result<Exit, Failure> {
        self.list(&place, &list.filter, &list.list).await
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.admin.now()
    }

    /// The filter of these arguments.
    pub(crate) fn filter(&self, args: &FilterArgs) -> Result<Filter, Failure> {
        let now = self.now();
        let mut filter = Filter::new();
        if let Some(class) = &args.class {
            filter = filter.class(class);
        }
        if let Some(queue) = &args.queue {
            filter = filter.queue(queue);
        }
        if let Some(error) = &args.error {
            filter = filter.error(error);
        }
        if let Some(text) = &args.text {
            filter = filter.text(text);
        }
        let no_calendar = || Failure::usage("no calendar has that time");
        if let Some(since) = args.since {
            filter = filter.since(since.time(now).ok_or_else(no_calendar)?);
        }
        if let Some(until) = args.until {
            filter = filter.until(until.time(now).ok_or_else(no_calendar)?);
        }
        Ok(filter)
    }

    pub(crate) async fn record(&self, entry: AuditEntry) {
        record(self.admin, self.user.as_deref(), entry).await;
    }
}

/// Records what an operator did. It is done, so an error of the record is only logged.
pub(crate) async fn record(admin: &Admin, user: Option<&str>, entry: AuditEntry) {
    let who = match user {
        Some(user) => format!("{user} (command line)"),
        None => "command line".to_owned(),
    };
    if let Err(error) = admin.record_action(entry.by(who)).await {
        log::warn!(%error, "an action could not be recorded");
    }
}

/// A filter as a part of a sentence: `of class Charge, with error timeout`. Empty without one.
pub(crate) fn phrase(args: &FilterArgs, now: SystemTime, zone: &TimeZone) -> String {
    let FilterArgs {
        class,
        queue,
        error,
        text,
        since,
        until,
    } = args;
    let mut parts = Vec::new();
    let mut add = |before: &str, value: &Option<String>| {
        if let Some(value) = value {
            parts.push(format!("{before} {value}"));
        }
    };
    add("of class", class);
    add("of queue", queue);
    add("with error", error);
    add("with text", text);
    for (word, when) in [("since", since), ("until", until)] {
        if let Some(time) = when.and_then(|when| when.time(now)) {
            parts.push(format!("{word} {}", times::local(time, zone)));
        }
    }
    parts.join(", ")
}
