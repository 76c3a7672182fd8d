//! The jobs: the number of each says what it does.

use std::{sync::Arc, time::Duration};

use verk_core::{
    JobContext, OnConflict, Outcome, RetryIn, Unique, Worker, WorkerOptions,
    job::{ArgsError, ArgsReader, ArgsWriter},
    outcome::PerformError,
};

use crate::ledger::Ledger;

/// A job with its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand(pub(crate) usize);

/// What becomes of an [`Errand`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// It succeeds at once.
    Plain,
    /// It takes a while, some longer than a shutdown may.
    Slow(Duration),
    /// It fails so often, and then succeeds.
    Fails(u32),
    /// It panics once.
    Panics,
    /// It asks once to come back later.
    Snoozes,
    /// It is not worth doing.
    Discarded,
    /// It goes to the dead set.
    Killed,
    /// It fails until it goes to the dead set.
    Hopeless,
    /// It is stored for later.
    Scheduled(Duration),
}

/// How many keys the unique jobs have. While as many hold their locks, others meet them.
const KEYS: usize = 5;

impl Errand {
    pub(crate) fn kind(self) -> Kind {
        let number = self.0 as u64;
        match self.0 % 64 {
            0..6 => Kind::Slow(Duration::from_millis(number * 37 % 3_000)),
            6 => Kind::Slow(Duration::from_secs(number % 40)),
            7..10 => Kind::Fails(1),
            10 => Kind::Fails(3),
            11 => Kind::Panics,
            12 => Kind::Snoozes,
            13 => Kind::Discarded,
            14 => Kind::Killed,
            15 => Kind::Hopeless,
            16..20 | 25 => Kind::Scheduled(Duration::from_millis(number * 91 % 20_000)),
            22 | 27 => Kind::Fails(1),
            23 | 28 => Kind::Slow(Duration::from_millis(number * 53 % 4_000)),
            29 => Kind::Killed,
            _ => Kind::Plain,
        }
    }

    /// How it is unique, if it is.
    pub(crate) fn policy(self) -> Option<Unique> {
        const BY_KEY: Unique = Unique::new().by(&[1]);
        match self.0 % 64 {
            20..24 => Some(BY_KEY),
            24..26 => Some(BY_KEY.on_conflict(OnConflict::Replace)),
            26..30 => Some(BY_KEY.on_conflict(OnConflict::KeepLast)),
            _ => None,
        }
    }

    /// The number of a job that comes again and again, so that `jobs` others have lower ones.
    pub(crate) fn periodic(jobs: usize) -> Self {
        Self(jobs.next_multiple_of(64) + 40)
    }
}

impl Worker for Errand {
    const CLASS: &'static str = "Errand";
    const OPTIONS: WorkerOptions = WorkerOptions::DEFAULT.max_retry_count(5);

    fn encode_args(&self) -> Result<String, ArgsError> {
        let args = ArgsWriter::new().arg("number", &self.0)?;
        Ok(args.arg("key", &(self.0 % KEYS))?.finish())
    }

    fn decode_args(args: &mut ArgsReader<'_>) -> Result<Self, ArgsError> {
        let number = args.arg("number")?;
        args.arg::<usize>("key")?;
        Ok(Self(number))
    }

    async fn perform(self, ctx: JobContext) -> Result<Outcome, PerformError> {
        let ledger = ctx.state::<Arc<Ledger>>().expect("the ledger");
        let fail = |message: &str| {
            let delay = Duration::from_secs(self.0 as u64 % 10);
            Err(PerformError::new(message).retry_in(RetryIn::After(delay)))
        };
        let failures = ctx.attempt() - 1;
        match self.kind() {
            Kind::Plain | Kind::Scheduled(_) => {}
            Kind::Slow(time) => ctx.sleep(time).await,
            Kind::Fails(times) if failures < times => return fail("not yet"),
            Kind::Panics if failures == 0 => panic!("{self:?}"),
            Kind::Fails(_) | Kind::Panics => {}
            Kind::Snoozes if ledger.snoozes(self) => {
                return Ok(Outcome::Snooze(Duration::from_secs(self.0 as u64 % 7)));
            }
            Kind::Snoozes => {}
            Kind::Discarded => {
                ledger.completed(self);
                return Ok(Outcome::Discard("not worth it".to_owned()));
            }
            Kind::Killed => return Ok(Outcome::Kill("as planned".to_owned())),
            Kind::Hopeless => return fail("never"),
        }
        ledger.completed(self);
        Ok(Outcome::Done)
    }
}
