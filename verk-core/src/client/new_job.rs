//! A job on its way to a client: [`NewJob`].

use std::time::{Duration, SystemTime};

use crate::{error::EnqueueError, job::Job};

/// A job on its way to a client, with the options of the call site.
///
/// Made from a job struct by the methods of [`EnqueueExt`](crate::EnqueueExt). What is wrong with
/// it (arguments without a JSON form, an invalid queue name) is the error of the enqueue.
#[derive(Debug)]
#[must_use = "a job is stored by `.enqueue()` or by a client"]
pub struct NewJob {
    pub(crate) job: Result<Job, EnqueueError>,
    pub(crate) when: When,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Now,
    At(SystemTime),
    In(Duration),
}

impl NewJob {
    /// Changes the job, if it is still well.
    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Job) -> Result<(), EnqueueError>) -> Self {
        if let Ok(job) = &mut self.job
            && let Err(error) = edit(job)
        {
            self.job = Err(error);
        }
        self
    }
}

/// What can be enqueued: a job struct, one with options of the call site, or an untyped [`Job`] for
/// a class that lives in another program.
pub trait IntoJob: Sized {
    /// Adds nothing: a job on its way.
    fn into_job(self) -> NewJob;
}

impl IntoJob for NewJob {
    fn into_job(self) -> NewJob {
        self
    }
}

impl IntoJob for Job {
    fn into_job(self) -> NewJob {
        NewJob {
            job: Ok(self),
            when: When::Now,
        }
    }
}
