//! The places where jobs wait, and their addresses: [`Place`].

use verk_core::{
    QueueName,
    manage::{Admin, Jobs},
    names::InvalidName,
    storage::JobSet,
};

use crate::url;

/// A queue or a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Queue(QueueName),
    Scheduled,
    Retries,
    Dead,
}

impl Place {
    pub(crate) fn queue(name: &str) -> Result<Self, InvalidName> {
        Ok(Self::Queue(QueueName::new(name)?))
    }

    pub(crate) fn jobs(&self, admin: &Admin) -> Result<Jobs, InvalidName> {
        Ok(match self {
            Self::Queue(queue) => admin.queue(queue.as_str())?,
            Self::Scheduled => admin.scheduled_set(),
            Self::Retries => admin.retry_set(),
            Self::Dead => admin.dead_set(),
        })
    }

    /// The path of its page, below the base.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Queue(queue) => format!("/queues/{}", url::part(queue.as_str())),
            Self::Scheduled => "/scheduled".to_owned(),
            Self::Retries => "/retries".to_owned(),
            Self::Dead => "/dead".to_owned(),
        }
    }

    /// The path of the page of one of its jobs: `key` is `score-jid`, or in a queue `index-jid`.
    pub(crate) fn job_path(&self, key: &str) -> String {
        match self {
            Self::Queue(_) => format!("{}/jobs/{}", self.path(), url::part(key)),
            Self::Scheduled | Self::Retries | Self::Dead => {
                format!("{}/{}", self.path(), url::part(key))
            }
        }
    }

    /// The entry of the navigation that it belongs to.
    pub(crate) fn nav_key(&self) -> &'static str {
        match self {
            Self::Queue(_) => "queues",
            Self::Scheduled => "scheduled",
            Self::Retries => "retries",
            Self::Dead => "dead",
        }
    }

    pub(crate) fn heading(&self) -> String {
        match self {
            Self::Queue(queue) => queue.to_string(),
            Self::Scheduled => "Scheduled".to_owned(),
            Self::Retries => "Retries".to_owned(),
            Self::Dead => "Dead".to_owned(),
        }
    }

    /// The queue, if it is one.
    pub(crate) fn queue_name(&self) -> Option<&QueueName> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Scheduled | Self::Retries | Self::Dead => None,
        }
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

    /// What the time of a job means there.
    pub(crate) fn time_label(&self) -> &'static str {
        match self {
            Self::Queue(_) => "Waits since",
            Self::Scheduled => "Due",
            Self::Retries => "Next try",
            Self::Dead => "Died",
        }
    }

    /// The set of jobs that have failed, if it is one.
    pub(crate) fn failed_set(&self) -> Option<JobSet> {
        match self {
            Self::Retries => Some(JobSet::Retry),
            Self::Dead => Some(JobSet::Dead),
            Self::Queue(_) | Self::Scheduled => None,
        }
    }

    /// Whether its jobs have failed.
    pub(crate) fn has_errors(&self) -> bool {
        self.failed_set().is_some()
    }

    pub(crate) fn is_queue(&self) -> bool {
        matches!(self, Self::Queue(_))
    }
}
