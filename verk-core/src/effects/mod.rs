//! What the transitions of a job do besides moving it: decided here, from the payload of the job,
//! and done by the storage in the same step.

pub(crate) mod unique;
