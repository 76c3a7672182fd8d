//! Changes that a key asks for: [`Act`].

use verk_core::{
    StorageError,
    error::StorageErrorKind,
    manage::{Admin, AuditEntry, Entry, PauseNote},
    names::QueueName,
    storage::{ProcessSignal, Source},
};

use crate::{
    args::PlaceArg,
    commands::{Verb, record, signal_name},
    failure::Failure,
    output::Tone,
    text::clean,
};

/// A change.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Pause(QueueName),
    Resume(QueueName),
    Job(Verb, Box<Entry>),
    Signal(ProcessSignal, String),
}

/// A line for the person, which is clean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Message {
    pub(super) fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            tone,
            text: clean(text.as_ref()),
        }
    }

    pub(super) fn of(error: StorageError) -> Self {
        let is_refused = error.kind() == StorageErrorKind::NotPermitted;
        let before = if is_refused { "not allowed: " } else { "" };
        let failure = Failure::from(error);
        Self::new(Tone::Bad, format!("{before}{failure}"))
    }
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) message: Message,
    /// Whether a job left its place.
    pub(super) removed: bool,
}

impl Act {
    /// What to ask before it is done; `None` if it can be undone as easily.
    pub(super) fn question(&self) -> Option<String> {
        let question = match self {
            Self::Pause(_) | Self::Resume(_) | Self::Job(Verb::Run | Verb::Reschedule(_), _) => {
                return None;
            }
            Self::Job(verb, entry) => verb.question(&name(entry)),
            Self::Signal(ProcessSignal::Stop, process) => {
                format!("Stop {process}, which ends it after its jobs?")
            }
            Self::Signal(signal, process) => {
                format!("Send {} to {process}?", signal_name(*signal))
            }
        };
        Some(clean(&question))
    }

    /// What is being done, while it is.
    pub(super) fn phrase(&self) -> String {
        let phrase = match self {
            Self::Pause(queue) => format!("pausing queue {queue}"),
            Self::Resume(queue) => format!("resuming queue {queue}"),
            Self::Job(verb, entry) => format!("{} of {}", verb.name(), name(entry)),
            Self::Signal(signal, process) => {
                format!("sending {} to {process}", signal_name(*signal))
            }
        };
        clean(&phrase)
    }

    /// Makes the change, and records it.
    pub(super) async fn perform(self, admin: &Admin, user: Option<&str>) -> Outcome {
        let is_job = matches!(self, Self::Job(..));
        match self.try_to(admin, user).await {
            Ok(Ok(text)) => Outcome {
                message: Message::new(Tone::Good, text),
                removed: is_job,
            },
            Ok(Err(text)) => Outcome {
                message: Message::new(Tone::Warning, text),
                removed: false,
            },
            Err(error) => Outcome {
                message: Message::of(error),
                removed: false,
            },
        }
    }

    /// What was done, or why nothing was.
    async fn try_to(
        self,
        admin: &Admin,
        user: Option<&str>,
    ) -> Result<Result<String, String>, StorageError> {
        Ok(match self {
            Self::Pause(queue) => {
                let mut note = PauseNote::new();
                if let Some(user) = user {
                    note = note.by(user);
                }
                if !admin.pause_queue(queue.as_str(), note).await? {
                    return Ok(Err(format!("queue {queue} was paused already")));
                }
                record(admin, user, AuditEntry::new("pause").on(in_queue(&queue))).await;
                Ok(format!(
                    "paused queue {queue} on all nodes; running jobs continue"
                ))
            }
            Self::Resume(queue) => {
                if !admin.resume_queue_everywhere(queue.as_str()).await? {
                    return Ok(Err(format!("queue {queue} was not paused any more")));
                }
                record(admin, user, AuditEntry::new("resume").on(in_queue(&queue))).await;
                Ok(format!("resumed queue {queue}"))
            }
            Self::Job(verb, entry) => {
                let name = name(&entry);
                let place = PlaceArg::of(entry.source());
                if !entry.act(verb.action()).await? {
                    return Ok(Err(unchanged(verb, &entry)));
                }
                let entry = AuditEntry::new(verb.name()).on(place.phrase()).count(1);
                record(admin, user, entry).await;
                Ok(verb.past(&name))
            }
            Self::Signal(signal, process) => {
                let name = signal_name(signal);
                if !admin.signal(&process, signal).await? {
                    return Ok(Err(format!(
                        "{name} was not sent: {process} is gone, or is embedded in another program"
                    )));
                }
                let target = format!("process {process}");
                record(admin, user, AuditEntry::new(name).on(target)).await;
                Ok(format!(
                    "sent {name}; within about 10 seconds it is obeyed by {process}"
                ))
            }
        })
    }
}

fn in_queue(queue: &QueueName) -> String {
    PlaceArg::Queue(queue.clone()).phrase()
}

/// Why a job was not changed.
fn unchanged(verb: Verb, entry: &Entry) -> String {
    let name = name(entry);
    match (verb, entry.job(), entry.source()) {
        (Verb::Run, Err(error), _) => format!("it cannot run: {error}"),
        (Verb::Run, Ok(job), Source::Set(_)) if job.queue().is_none() => {
            format!("{name} cannot run: it names no queue")
        }
        _ => format!("nothing was changed: {name} is not there any more"),
    }
}

/// The class and the id of a job.
pub(super) fn name(entry: &Entry) -> String {
    match entry.job() {
        Ok(job) => format!("{} {}", job.class(), job.jid()),
        Err(_) => format!("{} bytes that are no job", entry.payload().len()),
    }
}
