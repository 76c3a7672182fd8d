//! This node among the others: its name and heartbeat, the judgement of others, and what becomes of what the dead left.

pub(crate) mod registration;
