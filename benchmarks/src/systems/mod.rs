//! The systems that are measured.

pub(crate) mod floor;
mod verk;

use anyhow::{Result, bail};
use benchmark_harness::Options;

use self::{floor::Floor, verk::VerkSystem};

/// A program that speaks the protocol of the harness, and how it is set up.
#[derive(Clone, Debug)]
pub(crate) struct Contender {
    /// Its name in the results.
    pub(crate) name: String,
    pub(crate) program: Program,
    /// Whether it uses its fastest settings, instead of those that its documentation recommends.
    pub(crate) tuned: bool,
    /// How many jobs it holds in addition to those that run, instead of its default.
    pub(crate) ahead: Option<u64>,
    /// It has a call that enqueues many jobs.
    pub(crate) has_bulk: bool,
    /// The most jobs that it is measured with, because it is slow, or fails with more.
    pub(crate) most_jobs: u64,
}

/// Where a program is.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    /// In this one.
    Own,
    /// Another, with its first arguments.
    #[cfg_attr(
        not(feature = "peers"),
        expect(dead_code, reason = "only peers are others")
    )]
    Other(Vec<std::ffi::OsString>),
}

impl Contender {
    /// What this project offers.
    pub(crate) fn verk() -> Self {
        Self::own("verk")
    }

    /// The fastest reliable program that can be written by hand.
    pub(crate) fn floor(ahead: Option<u64>) -> Self {
        Self {
            ahead,
            ..Self::own("floor")
        }
    }

    /// Whether it is neither verk nor the floor.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self.program, Program::Other(_))
    }

    fn own(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            program: Program::Own,
            tuned: false,
            ahead: None,
            has_bulk: true,
            most_jobs: u64::MAX,
        }
    }
}

/// Is one of the own programs.
pub(crate) fn run(name: &str, options: Options) -> Result<()> {
    match name {
        "verk" => benchmark_harness::run::<VerkSystem>(options),
        "floor" => benchmark_harness::run::<Floor>(options),
        _ => bail!("no such system: {name}"),
    }
}
