//! What the transitions of a job do besides moving it: decided here, from the payload of the job,
//! and done by the storage in the same step.

#[allow(dead_code, reason = "the client calls it when it takes locks")]
pub(crate) mod digest;
pub(crate) mod unique;
