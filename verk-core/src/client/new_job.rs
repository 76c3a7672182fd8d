//! A job with the options of a call site: [`NewJob`].

use std::time::{Duration, SystemTime};

use crate::{effects::unique::Unique, error::EnqueueError, job::Job};

/// A job that is not enqueued yet, with the options of the call site.
///
/// The methods of [`EnqueueExt`](crate::EnqueueExt) make it from a job struct. Its errors
/// (arguments without a JSON form, an invalid queue name) are errors of the enqueue.
#[derive(Debug)]
#[must_use = "a job is stored by `.enqueue()` or by a client"]
pub struct NewJob {
    pub(crate) job: Result<Job, EnqueueError>,
    pub(crate) when: When,
    /// Present if the job is unique.
    pub(crate) unique: Option<Box<Unique>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Now,
    At(SystemTime),
    In(Duration),
}

impl NewJob {
    /// Changes the job, if it has no error yet.
    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Job) -> Result<(), EnqueueError>) -> Self {
        if let Ok(job) = &mut self.job
            && let Err(error) = edit(job)
        {
            self.job = Err(error);
        }
        self
    }
}

/// Types that can be enqueued: a job struct, one with options of the call site, or an untyped
/// [`Job`] for a class of another program.
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
            unique: None,
        }
    }
}
