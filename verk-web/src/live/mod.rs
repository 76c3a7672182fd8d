//! Live figures: one [`Poller`] reads them for all pages, and stops when nobody looks.

mod figures;
pub mod history;
mod poller;
mod stream;
mod tail;

pub(crate) use self::{
    poller::{Poller, Snapshot},
    stream::{events, figures},
    tail::Events,
};
