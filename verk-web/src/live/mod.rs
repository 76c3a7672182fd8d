//! Live figures: one [`Poller`] reads them for all pages, and stops when nobody looks.

mod figures;
mod history;
mod poller;
mod stream;

pub(crate) use self::{
    history::running,
    poller::{Poller, Snapshot},
    stream::stream,
};
