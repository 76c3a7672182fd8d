//! Changes to jobs: those with these ids, or all that match.

use std::time::SystemTime;

use serde::Serialize;
use verk_core::{
    StorageError,
    error::SelectionError,
    manage::{Action, AuditEntry, Entry, Filter, Found, Jobs, Query, SEARCH_BUDGET},
    storage::{MAX_BATCH_JOBS, Source},
};

use super::{Session, phrase};
use crate::{
    args::{ActArgs, Consent, FilterArgs, PlaceArg},
    confirm::{agree, agree_by_name},
    failure::{Exit, Failure},
    locate::locate,
    progress::Work,
    text::{self, clean},
};

/// How many dead jobs a node keeps, unless its `max_dead_jobs` is another.
const MAX_DEAD_JOBS: u64 = 10_000;

/// How many jobs a question shows.
const EXAMPLES: usize = 5;

/// What is done to jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Run,
    /// As `Run`, without a lock.
    Force,
    Delete,
    Kill,
    Reschedule(SystemTime),
}

impl Verb {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Run => Action::Requeue,
            Self::Force => Action::RequeueWithoutLock,
            Self::Delete => Action::Delete,
            Self::Kill => Action::Kill,
            Self::Reschedule(at) => Action::Reschedule(at),
        }
    }

    /// The name in the audit, as the dashboard writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "requeue",
            Self::Force => "requeue without lock",
            Self::Delete => "delete",
            Self::Kill => "kill",
            Self::Reschedule(_) => "reschedule",
        }
    }

    /// What it did to `jobs`: `moved 3 jobs to their queues`.
    pub(crate) fn past(self, jobs: &str) -> String {
        match self {
            Self::Run => format!("moved {jobs} to the queue"),
            Self::Force => format!("moved {jobs} to the queue, without a lock"),
            Self::Delete => format!("deleted {jobs}"),
            Self::Kill => format!("moved {jobs} to the dead set"),
            Self::Reschedule(_) => format!("rescheduled {jobs}"),
        }
    }

    pub(crate) fn question(self, jobs: &str) -> String {
        match self {
            Self::Run => format!("Run {jobs} now?"),
            Self::Force => format!("Run {jobs} now, without a lock?"),
            Self::Delete => format!("Delete {jobs}?"),
            Self::Kill => format!("Move {jobs} to the dead set?"),
            Self::Reschedule(_) => format!("Reschedule {jobs}?"),
        }
    }
}

/// What came of a change, for programs.
#[derive(Serialize)]
struct Changed {
    action: &'static str,
    /// How many jobs matched.
    matched: u64,
    changed: u64,
    dry_run: bool,
}

impl Session<'_> {
    pub(crate) async fn act(&mut self, args: &ActArgs, verb: Verb) -> Result<Exit, Failure> {
        let has_filter = args.filter != FilterArgs::default();
        if !args.jids.is_empty() {
            if has_filter || args.all {
                return Err(Failure::usage(
                    "give either the ids of jobs, or a filter, but not both",
                ));
            }
            return self.act_on_jids(args, verb).await;
        }
        let Some(place) = &args.place else {
            return Err(Failure::usage(
                "say which jobs: give their ids, or a place with a filter, such as --place dead --class Charge",
            ));
        };
        if !has_filter && !args.all {
            return Err(Failure::usage(format!(
                "this would be all jobs {}: say --all, or give a filter such as --class Charge",
                place.phrase()
            )));
        }
        self.act_on_matching(args, place, verb).await
    }

    async fn act_on_jids(&mut self, args: &ActArgs, verb: Verb) -> Result<Exit, Failure> {
        let mut entries: Vec<Entry> = Vec::new();
        for jid in args.jids.iter().take(args.limit.unwrap_or(usize::MAX)) {
            match locate(self.admin, jid, args.place.as_ref()).await? {
                Found::Waiting(entry) => entries.push(entry),
                Found::InProgress(held) => {
                    return Err(Failure::not_found(format!(
                        "job {jid} is on node {}, which runs it or runs it next: only jobs that wait can be changed",
                        held.node
                    )));
                }
                _ => {}
            }
        }
        let matched = entries.len() as u64;
        if matched > 1 || args.consent.dry_run {
            self.show_examples(&entries, matched)?;
        }
        if args.consent.dry_run {
            return self.dry_run(verb, matched);
        }
        if matched > 1 {
            self.agree(&args.consent, verb, matched).await?;
        }
        self.output.begins_change();
        let mut changed = 0;
        for entry in &entries {
            match self.act_on_one(entry, verb).await {
                Ok(done) => changed += u64::from(done),
                Err(error) => return Err(Failure::from(error).after(changed, &verb.past("these"))),
            }
        }
        self.report(verb, matched, changed)
    }

    /// Changes one job, and records it. Returns whether it was still there.
    async fn act_on_one(&self, entry: &Entry, verb: Verb) -> Result<bool, StorageError> {
        let done = entry.act(verb.action()).await?;
        if done {
            let place = PlaceArg::of(entry.source()).phrase();
            let jid = entry.job().map_or_else(
                |_| "a payload that is not a job".to_owned(),
                |job| format!("job {}", job.jid()),
            );
            let record = AuditEntry::new(verb.name()).on(format!("{jid} {place}"));
            self.record(record.count(1)).await;
        }
        Ok(done)
    }

    async fn agree(&mut self, consent: &Consent, verb: Verb, matched: u64) -> Result<(), Failure> {
        if verb == Verb::Kill {
            let dead = self.admin.dead_set().count().await? as u64;
            let dead = dead.saturating_add(matched);
            if dead > MAX_DEAD_JOBS {
                let dead = text::count(dead);
                self.output.note(&format!(
                    "the dead set will have {dead} jobs: with the next death, nodes delete the oldest beyond their max_dead_jobs, 10,000 unless set"
                ))?;
            }
        }
        let address = self.admin.address();
        let which = format!("{} at {}", text::jobs(matched), clean(&address));
        let question = verb.question(&which);
        agree(self.output, consent, &question)
    }

    async fn act_on_matching(
        &mut self,
        args: &ActArgs,
        place: &PlaceArg,
        verb: Verb,
    ) -> Result<Exit, Failure> {
        let filter = self.filter(&args.filter)?;
        let jobs = place.jobs(self.admin)?;
        let limit = args.limit.unwrap_or(usize::MAX);
        let matched = self.count(&jobs, &filter, limit).await? as u64;
        let phrase = phrase(&args.filter, self.now(), &self.output.zone);
        let space = if phrase.is_empty() { "" } else { " " };
        let which = format!("{}{space}{}", place.phrase(), clean(&phrase));
        if matched == 0 {
            return Err(Failure::not_found(format!("no job {which}")));
        }
        let query = Query::new()
            .order(place.order(args.order))
            .filter(filter.clone());
        let examples = query.clone().limit(EXAMPLES.min(limit));
        let examples = jobs.search(&examples, SEARCH_BUDGET).await?.entries;
        if !self.output.is_json() {
            let line = format!("{} {which}:", text::jobs(matched));
            self.output.note(&line)?;
        }
        self.show_examples(&examples, matched)?;
        if args.consent.dry_run {
            return self.dry_run(verb, matched);
        }
        if matched > 1 {
            self.agree(&args.consent, verb, matched).await?;
        }
        self.output.begins_change();
        if let ([one], 1) = (&examples[..], matched) {
            let changed = self.act_on_one(one, verb).await?;
            return self.report(verb, 1, u64::from(changed));
        }
        let total = jobs.count().await? as u64;
        let work = Work::begin(self.output, verb.name(), total);
        // Others may have come since they were counted: no more than that are changed.
        let most = usize::try_from(matched).unwrap_or(usize::MAX);
        let acted = if args.limit.is_some() {
            act_in_order(&jobs, query, most, verb, &work).await
        } else {
            let selection = jobs.select().matching(filter).limit(most);
            work.watch(selection).act(verb.action()).await
        };
        let interrupted = work.is_interrupted();
        drop(work);
        let done = match &acted {
            Ok(done) => *done,
            Err(error) => error.done,
        } as u64;
        let entry = AuditEntry::new(verb.name()).on(place.phrase()).count(done);
        let filter = if phrase.is_empty() {
            "all jobs"
        } else {
            &phrase
        };
        self.record(entry.filter(filter)).await;
        acted?;
        if interrupted {
            return Err(Failure::Interrupted(format!(
                "stopped: {}, of {} that matched",
                verb.past(&text::jobs(done)),
                text::count(matched)
            )));
        }
        self.report(verb, matched, done)
    }

    /// How many jobs match, at most `limit`.
    async fn count(&self, jobs: &Jobs, filter: &Filter, limit: usize) -> Result<usize, Failure> {
        let total = jobs.count().await?;
        if *filter == Filter::new() {
            return Ok(total.min(limit));
        }
        let work = Work::begin(self.output, "counting", total as u64);
        let selection = jobs.select().matching(filter.clone()).limit(limit);
        let count = work.watch(selection).count().await?;
        if work.is_interrupted() {
            return Err(Failure::Interrupted(
                "stopped: nothing was changed".to_owned(),
            ));
        }
        Ok(count)
    }

    fn show_examples(&mut self, entries: &[Entry], matched: u64) -> Result<(), Failure> {
        if self.output.is_json() {
            return Ok(());
        }
        for entry in entries.iter().take(EXAMPLES) {
            let line = format!("  {}", clean(&entry.to_string()));
            self.output.note(&line)?;
        }
        let more = matched.saturating_sub(entries.len().min(EXAMPLES) as u64);
        if more > 0 {
            self.output
                .note(&format!("  ... and {} more", text::count(more)))?;
        }
        Ok(())
    }

    fn dry_run(&mut self, verb: Verb, matched: u64) -> Result<Exit, Failure> {
        let value = Changed {
            action: verb.name(),
            matched,
            changed: 0,
            dry_run: true,
        };
        let line = format!("dry run: {} would be changed", text::jobs(matched));
        self.output.outcome(&line, &value)?;
        Ok(Exit::DONE)
    }

    fn report(&mut self, verb: Verb, matched: u64, changed: u64) -> Result<Exit, Failure> {
        let value = Changed {
            action: verb.name(),
            matched,
            changed,
            dry_run: false,
        };
        let mut line = verb.past(&text::jobs(changed));
        if changed < matched {
            let others = text::count(matched - changed);
            line.push_str(&format!("; {others} moved meanwhile, or were so already"));
        }
        self.output.outcome(&line, &value)?;
        Ok(if changed > 0 {
            Exit::DONE
        } else {
            Exit::NOTHING
        })
    }

    pub(crate) async fn clear(&mut self, queue: &str, consent: &Consent) -> Result<Exit, Failure> {
        let jobs = self.admin.queue(queue)?;
        let count = jobs.count().await? as u64;
        if consent.dry_run {
            return self.dry_run(Verb::Delete, count);
        }
        if count == 0 {
            return Err(Failure::not_found(format!("queue {queue} has no jobs")));
        }
        let address = self.admin.address();
        let question = format!(
            "Delete {} of queue {queue} at {address}?",
            text::jobs(count)
        );
        let question = clean(&question);
        agree_by_name(self.output, consent, &question, queue)?;
        self.output.begins_change();
        let removed = jobs.clear().await? as u64;
        let place = format!("in queue {queue}");
        self.record(AuditEntry::new("clear").on(place).count(removed))
            .await;
        self.report(Verb::Delete, removed, removed)
    }
}

/// Changes the first `limit` jobs, in the order of a list, so that these are the ones that a list
/// shows first. Returns how many it changed.
async fn act_in_order(
    jobs: &Jobs,
    query: Query,
    limit: usize,
    verb: Verb,
    work: &Work,
) -> Result<usize, SelectionError> {
    let (mut done, mut at, mut examined) = (0, None, 0);
    let failed = |done, source| SelectionError { done, source };
    while done < limit && !work.is_interrupted() {
        let page = query.clone().limit((limit - done).min(MAX_BATCH_JOBS));
        let page = jobs.search(&page.at(at), SEARCH_BUDGET).await;
        let page = page.map_err(|source| failed(done, source))?;
        examined += page.looked_at;
        work.examined(examined);
        let entries: Vec<&Entry> = page.entries.iter().collect();
        let acted = match jobs.act_on(&entries, verb.action()).await {
            Ok(acted) => acted,
            Err(error) => return Err(failed(done + error.done, error.source)),
        };
        done += acted.done;
        // In a queue, the jobs that follow have moved up by those that left.
        let moved_up = matches!(jobs.source(), Source::Queue(_)) && acted.done > 0;
        if !moved_up {
            if page.next.is_none() {
                break;
            }
            at = page.next;
        }
    }
    Ok(done)
}
