//! The name of a place: [`PlaceArg`].

use std::str::FromStr;

use verk_core::{
    QueueName,
    manage::{Admin, Jobs},
    names::InvalidName,
    storage::{JobSet, Order, Source},
};

use super::OrderArg;

/// A queue or a set, as an argument: `dead`, `retries`, `scheduled` or `queue:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlaceArg {
    Queue(QueueName),
    Scheduled,
    Retries,
    Dead,
}

impl PlaceArg {
    pub(crate) fn jobs(&self, admin: &Admin) -> Result<Jobs, InvalidName> {
        Ok(match self {
            Self::Queue(queue) => admin.queue(queue.as_str())?,
            Self::Scheduled => admin.scheduled_set(),
            Self::Retries => admin.retry_set(),
            Self::Dead => admin.dead_set(),
        })
    }

    /// As a part of a sentence: `in the dead set`.
    pub(crate) fn phrase(&self) -> String {
        match self {
            Self::Queue(queue) => format!("in queue {queue}"),
            Self::Scheduled => "in the scheduled set".to_owned(),
            Self::Retries => "in the retry set".to_owned(),
            Self::Dead => "in the dead set".to_owned(),
        }
    }

    /// The order of its lists: the newest of the dead first, and elsewhere the next to run.
    pub(crate) fn order(&self, order: Option<OrderArg>) -> Order {
        match (order, self) {
            (Some(OrderArg::Newest), _) | (None, Self::Dead) => Order::NewestFirst,
            (Some(OrderArg::Oldest) | None, _) => Order::OldestFirst,
        }
    }

    /// The place where an entry is.
    pub(crate) fn of(source: &Source) -> Self {
        match source {
            Source::Queue(queue) => Self::Queue(queue.clone()),
            Source::Set(JobSet::Schedule) => Self::Scheduled,
            Source::Set(JobSet::Retry) => Self::Retries,
            Source::Set(JobSet::Dead) => Self::Dead,
        }
    }
}

impl FromStr for PlaceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "dead" | "morgue" => Self::Dead,
            "retries" | "retry" => Self::Retries,
            "scheduled" | "schedule" => Self::Scheduled,
            _ => match text.strip_prefix("queue:") {
                Some(name) => Self::Queue(QueueName::new(name).map_err(|error| error.to_string())?),
                None => {
                    return Err(
                        "a place is dead, retries, scheduled, or a queue as queue:NAME".to_owned(),
                    );
                }
            },
        })
    }
}
