//! What is shown, and what the person has chosen: [`State`].

use std::{
    cell::Cell,
    time::{Instant, SystemTime},
};

use verk_core::{
    QueueName, StorageError,
    manage::{Entry, JobRef, Overview, Process, QueueOverview, RunningJob, Why},
    storage::JobSet,
};

use super::{
    act::{Act, Message, Outcome},
    filter,
    list::JobList,
    reader::{Counted, Data, Part, Wanted},
    select::{Key, Select},
    trends::Trends,
    view,
};
use crate::{args::PlaceArg, output::Tone};

/// What a table shows. All but [`Jobs`](Self::Jobs) are tabs, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Queues,
    Running,
    Processes,
    Retries,
    Dead,
    Scheduled,
    /// The jobs of a queue.
    Jobs,
}

impl Pane {
    /// The tabs, by their numbers.
    pub(super) const TABS: [Self; 6] = [
        Self::Queues,
        Self::Running,
        Self::Processes,
        Self::Retries,
        Self::Dead,
        Self::Scheduled,
    ];

    /// The tab that it belongs to.
    pub(super) fn tab(self) -> Self {
        match self {
            Self::Jobs => Self::Queues,
            tab => tab,
        }
    }

    /// The set whose jobs can be shown by class and error.
    pub(super) fn groups_of(self) -> Option<JobSet> {
        match self {
            Self::Retries => Some(JobSet::Retry),
            Self::Dead => Some(JobSet::Dead),
            _ => None,
        }
    }

    /// Whether it shows jobs that can be changed.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Retries | Self::Dead | Self::Scheduled | Self::Jobs
        )
    }
}

/// By what queues are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    #[default]
    Name,
    Waiting,
    Oldest,
    Rate,
}

impl Sort {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Name => Self::Waiting,
            Self::Waiting => Self::Oldest,
            Self::Oldest => Self::Rate,
            Self::Rate => Self::Name,
        }
    }
}

/// What a person chose on a pane.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    pub(super) filter: String,
    pub(super) select: Select,
}

/// One thing, with all that is known of it.
#[derive(Debug)]
pub(super) struct Detail {
    pub(super) of: Opened,
    /// How many lines are above the screen. Drawing, which knows how many there are, bounds it.
    pub(super) scroll: Cell<usize>,
    /// Why the job does not run, once that is known.
    pub(super) why: Option<Why>,
}

#[derive(Debug)]
pub(super) enum Opened {
    Entry(Box<Entry>),
    Running(Box<RunningJob>),
    /// By its identity.
    Process(String),
}

/// A change that waits for a yes.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) act: Act,
}

/// What a key asks of the program.
#[derive(Debug)]
pub(super) enum Request {
    Quit,
    /// Draw everything again.
    Redraw,
    Act(Act),
}

/// The running jobs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) jobs: Vec<RunningJob>,
    /// Whether there are more.
    pub(super) more: bool,
}

#[derive(Debug)]
pub(super) struct State {
    /// Where the jobs are.
    pub(super) address: String,
    pub(super) pane: Pane,
    choices: [Choice; 7],
    pub(super) sort: Sort,
    /// Whether retries and dead jobs are shown by class and error.
    pub(super) is_grouped: bool,
    pub(super) list: JobList,
    pub(super) groups: Option<(JobSet, Counted)>,
    pub(super) running: Option<Running>,
    pub(super) detail: Option<Detail>,
    /// The page of the keys, with how many lines are above the screen.
    pub(super) help: Option<Cell<usize>>,
    /// The filter, while it is typed.
    pub(super) input: Option<String>,
    pub(super) question: Option<Question>,
    pub(super) message: Option<Message>,
    /// What is being done.
    pub(super) busy: Option<Act>,
    pub(super) overview: Option<Overview>,
    /// When the overview was read.
    pub(super) read: Option<Instant>,
    pub(super) trends: Trends,
    /// Why the figures are old.
    pub(super) error: Option<Message>,
    /// Why the rest is old.
    pub(super) part_error: Option<Message>,
    pub(super) columns: u16,
    pub(super) rows: u16,
    turn: u64,
}

impl State {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            pane: Pane::default(),
            choices: Default::default(),
            sort: Sort::default(),
            is_grouped: false,
            list: JobList::new(PlaceArg::Dead),
            groups: None,
            running: None,
            detail: None,
            help: None,
            input: None,
            question: None,
            message: None,
            busy: None,
            overview: None,
            read: None,
            trends: Trends::default(),
            error: None,
            part_error: None,
            columns: 0,
            rows: 0,
            turn: 0,
        }
    }

    /// What has to be read.
    pub(super) fn wanted(&self) -> Wanted {
        let part = match &self.detail {
            Some(Detail {
                of: Opened::Entry(entry),
                ..
            }) => JobRef::of(entry).map(Part::Why),
            Some(_) => None,
            None => self.part_of_pane(),
        };
        let turn = self.turn;
        Wanted { part, turn }
    }

    fn part_of_pane(&self) -> Option<Part> {
        match self.pane {
            Pane::Queues | Pane::Processes => None,
            Pane::Running => Some(Part::Running),
            Pane::Retries | Pane::Dead | Pane::Scheduled | Pane::Jobs => Some(match self.set() {
                Some(set) => Part::Groups(set),
                None => self.list.part(self.filter(), view::table_rows(self.rows)),
            }),
        }
    }

    /// The set that is shown by class and error.
    pub(super) fn set(&self) -> Option<JobSet> {
        self.pane.groups_of().filter(|_| self.is_grouped)
    }

    pub(super) fn choice(&self) -> &Choice {
        &self.choices[self.pane as usize]
    }

    pub(super) fn choice_mut(&mut self) -> &mut Choice {
        &mut self.choices[self.pane as usize]
    }

    pub(super) fn filter(&self) -> &str {
        &self.choice().filter
    }

    pub(super) fn select(&self) -> &Select {
        &self.choice().select
    }

    /// The queues to show, in their order.
    pub(super) fn queues(&self) -> Vec<&QueueOverview> {
        let queues = self.overview.iter().flat_map(|overview| &overview.queues);
        let filter = &self.choices[Pane::Queues as usize].filter;
        let mut queues: Vec<&QueueOverview> = queues
            .filter(|queue| filter::has(filter, [queue.queue.as_str()]))
            .collect();
        let rates = self.trends.rates();
        match self.sort {
            Sort::Name => {}
            Sort::Waiting => queues.sort_by_key(|queue| std::cmp::Reverse(queue.enqueued)),
            Sort::Oldest => queues.sort_by_key(|queue| std::cmp::Reverse(queue.latency)),
            Sort::Rate => queues.sort_by(|one, other| {
                let rate = |queue: &QueueOverview| rates.of(&queue.queue).unwrap_or(-1.0);
                rate(other).total_cmp(&rate(one))
            }),
        }
        queues
    }

    /// The processes to show.
    pub(super) fn processes(&self) -> Vec<&Process> {
        let processes = self
            .overview
            .iter()
            .flat_map(|overview| &overview.processes);
        let filter = &self.choices[Pane::Processes as usize].filter;
        processes
            .filter(|process| {
                let queues = process.queues.iter().map(|queue| queue.name.as_str());
                let texts = [&*process.identity, &*process.tag];
                filter::has(filter, texts.into_iter().chain(queues))
            })
            .collect()
    }

    /// The running jobs to show, and whether there are more.
    pub(super) fn running_jobs(&self) -> Vec<&RunningJob> {
        let jobs = self.running.iter().flat_map(|running| &running.jobs);
        let filter = &self.choices[Pane::Running as usize].filter;
        jobs.filter(|running| {
            let job = running.job.as_ref().ok();
            let texts = [
                job.map(|job| job.class()),
                job.map(|job| job.jid().as_str()),
                running.queue.as_ref().map(QueueName::as_str),
                Some(&*running.process),
            ];
            filter::has(filter, texts.into_iter().flatten())
        })
        .collect()
    }

    /// The groups to show; `None` until they were read.
    pub(super) fn counted(&self) -> Option<&Counted> {
        let (set, counted) = self.groups.as_ref()?;
        (Some(*set) == self.set()).then_some(counted)
    }

    pub(super) fn queue(&self, name: &QueueName) -> Option<&QueueOverview> {
        let mut queues = self.overview.iter().flat_map(|overview| &overview.queues);
        queues.find(|queue| queue.queue == *name)
    }

    pub(super) fn process(&self, identity: &str) -> Option<&Process> {
        let mut processes = self
            .overview
            .iter()
            .flat_map(|overview| &overview.processes);
        processes.find(|process| process.identity == identity)
    }

    /// The job that a key changes: that which is open, or that which is selected.
    pub(super) fn chosen_entry(&self) -> Option<&Entry> {
        match &self.detail {
            Some(Detail {
                of: Opened::Entry(entry),
                ..
            }) => Some(entry),
            Some(_) => None,
            None if self.pane.is_list() && self.set().is_none() => {
                self.list.entries().get(self.select().selected()?)
            }
            None => None,
        }
    }

    /// The process that a key signals.
    pub(super) fn chosen_process(&self) -> Option<&str> {
        match &self.detail {
            Some(Detail {
                of: Opened::Process(identity),
                ..
            }) => Some(identity),
            Some(_) => None,
            None if self.pane == Pane::Processes => {
                let at = self.select().selected()?;
                let processes = self.processes();
                processes.get(at).map(|process| &*process.identity)
            }
            None => None,
        }
    }

    /// The queue that a key pauses.
    pub(super) fn chosen_queue(&self) -> Option<QueueName> {
        match (&self.detail, self.pane, &self.list.place) {
            (None, Pane::Queues, _) => {
                let at = self.select().selected()?;
                self.queues().get(at).map(|queue| queue.queue.clone())
            }
            (None, Pane::Jobs, PlaceArg::Queue(queue)) => Some(queue.clone()),
            _ => None,
        }
    }

    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (columns, rows);
        for choice in &mut self.choices {
            choice.select.resize(view::table_rows(rows));
        }
    }

    pub(super) fn update_overview(
        &mut self,
        at: Instant,
        now: SystemTime,
        overview: Result<Box<Overview>, StorageError>,
    ) {
        match overview {
            Ok(overview) => {
                self.trends.add(now, &overview);
                self.overview = Some(*overview);
                self.read = Some(at);
                self.error = None;
                self.follow(Pane::Queues);
                self.follow(Pane::Processes);
            }
            Err(error) => self.error = Some(Message::of(error)),
        }
    }

    pub(super) fn update_part(&mut self, part: &Part, data: Result<Data, StorageError>) {
        // The person has moved on meanwhile.
        if self.wanted().part.as_ref() != Some(part) {
            return;
        }
        let data = match data {
            Ok(data) => data,
            Err(error) => {
                self.part_error = Some(Message::of(error));
                return;
            }
        };
        self.part_error = None;
        match (data, part) {
            (Data::Running { jobs, more }, _) => self.running = Some(Running { jobs, more }),
            (Data::List(page), _) => self.list.update(page),
            (Data::Groups(counted), Part::Groups(set)) => self.groups = Some((*set, counted)),
            (Data::Why(why), _) => {
                if let Some(detail) = &mut self.detail {
                    detail.why = Some(why);
                }
                return;
            }
            (Data::Groups(_), _) => {}
        }
        self.follow(self.pane);
    }

    /// Lets the selection of a pane follow its row. If the row is gone, a key that changes
    /// something must not be for another one.
    pub(super) fn follow(&mut self, pane: Pane) {
        let is_list = pane.is_list() && self.set().is_none();
        let strict = is_list || matches!(pane, Pane::Queues | Pane::Processes);
        let keys = self.row_keys(pane);
        self.choices[pane as usize].select.update(keys, strict);
    }

    fn row_keys(&self, pane: Pane) -> Vec<Key> {
        match pane {
            Pane::Queues => {
                let queues = self.queues().into_iter();
                queues.map(|queue| key(queue.queue.as_str())).collect()
            }
            Pane::Processes => {
                let processes = self.processes().into_iter();
                processes.map(|process| key(&process.identity)).collect()
            }
            Pane::Running => {
                let jobs = self.running_jobs().into_iter();
                let of = |job: &RunningJob| key(&format!("{} {}", job.process, job.thread));
                jobs.map(of).collect()
            }
            Pane::Retries | Pane::Dead | Pane::Scheduled | Pane::Jobs => match self.counted() {
                Some(counted) => {
                    let of = |class: &Option<String>| class.clone().unwrap_or_default();
                    let groups = counted.groups.iter();
                    let names = groups.map(|group| (of(&group.class), of(&group.error_class)));
                    let keys = names.map(|(class, error)| key(&format!("{class}\0{error}")));
                    keys.collect()
                }
                None => self.list.entries().iter().map(entry_key).collect(),
            },
        }
    }

    /// Shows what came of a change, and has everything read again.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        self.turn += 1;
        if let (Some(Act::Job(_, entry)), true) = (self.busy.take(), outcome.removed) {
            self.choice_mut().select.expect_end(entry_key(&entry));
            if let Some(Opened::Entry(_)) = self.detail.as_ref().map(|detail| &detail.of) {
                self.detail = None;
            }
        }
        self.message = Some(outcome.message);
    }

    /// Reads everything again at once.
    pub(super) fn read_again(&mut self) {
        self.turn += 1;
    }

    /// Shows another pane.
    pub(super) fn show(&mut self, pane: Pane) {
        self.pane = pane;
        self.detail = None;
        self.part_error = None;
        let place = match pane {
            Pane::Retries => PlaceArg::Retries,
            Pane::Dead => PlaceArg::Dead,
            Pane::Scheduled => PlaceArg::Scheduled,
            Pane::Queues | Pane::Running | Pane::Processes | Pane::Jobs => return,
        };
        self.show_list(place);
    }

    /// Shows the jobs of a queue.
    pub(super) fn show_queue(&mut self, queue: QueueName) {
        let place = PlaceArg::Queue(queue);
        let is_other = self.list.place != place;
        self.show(Pane::Jobs);
        if is_other {
            self.choice_mut().filter.clear();
        }
        self.show_list(place);
    }

    /// Begins with the first page of a place.
    fn show_list(&mut self, place: PlaceArg) {
        self.list = JobList::new(place);
        self.choice_mut().select.reset();
    }

    /// Shows what matches another filter.
    pub(super) fn set_filter(&mut self, filter: String) {
        self.choice_mut().filter = filter;
        self.part_error = None;
        if self.pane.is_list() {
            self.is_grouped = false;
            self.show_list(self.list.place.clone());
        } else {
            let keys = self.row_keys(self.pane);
            self.choice_mut().select.update(keys, false);
        }
    }

    pub(super) fn say(&mut self, tone: Tone, text: impl AsRef<str>) {
        self.message = Some(Message::new(tone, text));
    }
}

fn key(text: &str) -> Key {
    text.as_bytes().to_vec()
}

/// Its payload and its time: a job that is in the same place again later is another row.
fn entry_key(entry: &Entry) -> Key {
    let mut key = entry.score().unwrap_or_default().to_le_bytes().to_vec();
    key.extend_from_slice(entry.payload());
    key
}
