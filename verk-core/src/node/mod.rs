//! This node among the others: its name and heartbeat, the judgement of others, and the restore of
//! the jobs of dead nodes.

pub(crate) mod about;
pub(crate) mod beats;
pub(crate) mod foreign;
pub(crate) mod heartbeat;
pub(crate) mod judge;
pub(crate) mod poison;
pub(crate) mod registration;
pub(crate) mod restore;
pub(crate) mod watch;
