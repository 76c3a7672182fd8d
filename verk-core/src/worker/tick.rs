//! The tick that made a job, as a parameter of a worker.

use crate::{
    error::BoxError,
    timetable::Tick,
    worker::context::{FromJob, JobContext},
};

impl FromJob for Tick {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        Self::of(ctx.job()).ok_or_else(|| {
            "no tick made this job: take `Option<Tick>` in a worker whose jobs are enqueued in \
             other ways, too"
                .into()
        })
    }
}

impl FromJob for Option<Tick> {
    async fn from_job(ctx: &JobContext) -> Result<Self, BoxError> {
        Ok(Tick::of(ctx.job()))
    }
}
