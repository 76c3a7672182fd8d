//! Which member of a set is meant: [`EntryKey`]; and how to find an entry again that was shown.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use super::{Entry, Jobs, cursor::Score, filter::plain_name};
use crate::{
    error::StorageError,
    names::Jid,
    storage::{ListRequest, MAX_BATCH_BYTES, MAX_BATCH_JOBS, Order, Position, Source, WaitingJob},
};

/// The key of a job in a set: its score and its id, written as in the URLs of Sidekiq Web. It finds
/// the job without a search of the set: see [`Jobs::entry_at`].
///
/// ```
/// use verk_core::manage::EntryKey;
///
/// let key: EntryKey = "1732387200.000412-4cea318993b40a256edfeb68".parse().unwrap();
/// assert_eq!(key.score(), 1732387200.000412);
/// assert_eq!(key.jid().as_str(), "4cea318993b40a256edfeb68");
/// assert_eq!(key.to_string(), "1732387200.000412-4cea318993b40a256edfeb68");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EntryKey {
    score: f64,
    jid: Jid,
}

impl EntryKey {
    /// The score: seconds since 1970, or any number that another program wrote.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.score
    }

    /// The id of the job.
    #[must_use]
    pub fn jid(&self) -> &Jid {
        &self.jid
    }
}

/// Text that is no [`EntryKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidEntryKey(());

impl Display for InvalidEntryKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a job in a set must be a score, a hyphen and the id of the job")
    }
}

impl std::error::Error for InvalidEntryKey {}

impl Display for EntryKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Score(self.score), self.jid)
    }
}

impl FromStr for EntryKey {
    type Err = InvalidEntryKey;

    fn from_str(text: &str) -> Result<Self, InvalidEntryKey> {
        let key = || {
            let (score, rest) = text.split_at_checked(score_len(text)?)?;
            let Score(score) = Score::parse(score)?;
            let jid = rest.strip_prefix('-').filter(|jid| !jid.is_empty())?;
            Some(Self {
                score,
                jid: jid.into(),
            })
        };
        key().ok_or(InvalidEntryKey(()))
    }
}

/// How many bytes of the start of a key are its score. A hyphen may be a sign, too.
fn score_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied();
    let after = |place: usize, is_part: fn(u8) -> bool| {
        let rest = bytes.get(place..).unwrap_or_default();
        place + rest.iter().take_while(|byte| is_part(**byte)).count()
    };
    let start = usize::from(at(0) == Some(b'-'));
    if text.get(start..)?.starts_with("inf") {
        return Some(start + 3);
    }
    let end = after(start, |byte| byte.is_ascii_digit() || byte == b'.');
    if !matches!(at(end), Some(b'e' | b'E')) {
        return Some(end);
    }
    let sign = usize::from(matches!(at(end + 1), Some(b'-' | b'+')));
    Some(after(end + 1 + sign, |byte| byte.is_ascii_digit()))
}

/// Where an entry was, as a person last saw it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// In a set, with this score.
    Score(f64),
    /// In a queue, with this [index](Entry::index).
    Index(u64),
}

/// How many steps [`Jobs::entry_at`] makes through members of one score.
const MAX_STEPS: usize = 20;

impl Entry {
    /// Returns the key of a job in a set: [`Jobs::entry_at`] finds it again. `None` in a queue, and
    /// if the payload is no job.
    #[must_use]
    pub fn key(&self) -> Option<EntryKey> {
        Some(EntryKey {
            score: self.score()?,
            jid: self.job.as_ref().ok()?.jid().clone(),
        })
    }
}

impl Jobs {
    /// Returns the job of a set that has this key; if several have it, one of them. `None` in a
    /// queue, and if no job has it: the job moved on, or has another time.
    ///
    /// It reads at most 100 jobs and 1 MiB, by score and not by a search of the set. Only if more
    /// than ten jobs have exactly this score, the storage searches them for the id, at most
    /// 10 000 of them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use std::time::{Duration, SystemTime};
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # use verk_core::manage::{EntryKey, Query};
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # let job = Job::new("Welcome", "mailers".parse()?, r#"["ada"]"#.to_owned())?;
    /// # let at = SystemTime::now() + Duration::from_secs(60);
    /// # let jid = verk.enqueue(job).await?;
    /// # verk.admin().queue("mailers")?.select().reschedule(at).await?;
    /// let scheduled = verk.admin().scheduled_set();
    /// let listed = scheduled.list(&Query::new()).await?;
    /// let text = listed.entries[0].key().unwrap().to_string(); // for a link
    ///
    /// let key: EntryKey = text.parse()?;
    /// let entry = scheduled.entry_at(&key).await?.expect("it waits");
    /// assert_eq!(entry.job().unwrap().jid(), &jid);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn entry_at(&self, key: &EntryKey) -> Result<Option<Entry>, StorageError> {
        if !matches!(self.source, Source::Set(_)) {
            return Ok(None);
        }
        let has_score = |score: Option<f64>| score == Some(key.score);
        let is_it = |entry: &Entry| entry.key().as_ref() == Some(key);
        let mut request = ListRequest {
            from: Position::Score {
                score: key.score,
                skip: 0,
            },
            limit: 10,
            ..ListRequest::default()
        };
        for _ in 0..MAX_STEPS {
            let listing = self.client.storage().list(&self.source, &request).await?;
            let all_have_score = (listing.jobs.iter()).all(|waiting| has_score(waiting.score));
            if let Some(entry) = self.entries(listing.jobs).into_iter().find(is_it) {
                return Ok(Some(entry));
            }
            let next = listing.next.filter(|next| match next {
                Position::Score { score, .. } => has_score(Some(*score)),
                Position::Index(_) => false,
            });
            let Some(next) = next.filter(|_| all_have_score) else {
                break;
            };
            request.from = next;
            request.limit = 1;
            let text = Some(plain_name(key.jid.as_str()));
            request.texts = text.into_iter().filter(|text| !text.is_empty()).collect();
            if request.texts.is_empty() {
                request.limit = MAX_BATCH_JOBS;
            }
        }
        Ok(None)
    }

    /// Reads the entries around a place, at most 100 and 1 MiB, but at least one on each side: for
    /// a program that showed an entry and looks for exactly its bytes again.
    ///
    /// In a set these are entries with exactly this score. In a queue they are those around this
    /// index, in the order in which they are fetched: jobs that were fetched meanwhile have moved
    /// it.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # use verk_core::{Job, Verk};
    /// # use verk_testing::MemoryStorage;
    /// # use verk_core::manage::{Place, Query};
    /// # let verk = Verk::builder().storage(MemoryStorage::default()).build().await?;
    /// # for number in 0..3 {
    /// #     verk.enqueue(Job::new("Welcome", "mailers".parse()?, format!("[{number}]"))?).await?;
    /// # }
    /// let mailers = verk.admin().queue("mailers")?;
    /// let shown = mailers.list(&Query::new()).await?.entries.swap_remove(1);
    ///
    /// let place = Place::Index(shown.index().unwrap());
    /// let around = mailers.around(place).await?;
    /// assert!(around.iter().any(|entry| entry.payload() == shown.payload()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// When the storage fails.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    pub async fn around(&self, place: Place) -> Result<Vec<Entry>, StorageError> {
        match (place, &self.source) {
            (Place::Score(score), Source::Set(_)) if !score.is_nan() => {
                let request = ListRequest {
                    from: Position::Score { score, skip: 0 },
                    ..ListRequest::default()
                };
                let listing = self.client.storage().list(&self.source, &request).await?;
                let mut entries = self.entries(listing.jobs);
                entries.retain(|entry| entry.score() == Some(score));
                Ok(entries)
            }
            (Place::Index(index), Source::Queue(_)) => self.around_index(index).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn around_index(&self, index: u64) -> Result<Vec<Entry>, StorageError> {
        let half = |from, order| ListRequest {
            from,
            order,
            limit: MAX_BATCH_JOBS / 2,
            max_bytes: MAX_BATCH_BYTES / 2,
            texts: Vec::new(),
        };
        let storage = self.client.storage();
        let request = half(Position::Index(index), Order::OldestFirst);
        let after = storage.list(&self.source, &request).await?;
        let mut jobs = match after.previous {
            Some(position) => {
                let request = half(position, Order::NewestFirst);
                storage.list(&self.source, &request).await?.jobs
            }
            None => Vec::new(),
        };
        jobs.reverse();
        jobs.extend(after.jobs);
        Ok(self.entries(jobs))
    }

    pub(super) fn entries(&self, jobs: Vec<WaitingJob>) -> Vec<Entry> {
        let jobs = jobs.into_iter();
        jobs.map(|waiting| Entry::waiting(self, waiting)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for score in [
            0.0,
            -1.5,
            1_732_387_200.000_412,
            1e-7,
            -1e300,
            f64::MAX,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            for jid in [
                "4cea318993b40a256edfeb68",
                "a-b-c",
                "-",
                "5",
                "e5",
                ".5",
                "ü",
            ] {
                let jid = jid.into();
                let key = EntryKey { score, jid };
                assert_eq!(key.to_string().parse(), Ok(key.clone()), "{key}");
            }
        }
        let ruby: EntryKey = "1.0e+300-ab".parse().unwrap();
        assert_eq!((ruby.score, ruby.jid.as_str()), (1e300, "ab"));
    }

    #[test]
    fn other_text_is_refused() {
        let long = "1".repeat(100_000);
        for text in [
            "", "-", "1", "1-", "-1", "1.5", "abc-1", "nan-a", "1e-a", "1e5", "--1-a", "1.2.3-a",
            "inf", "in-a", "ü-1", "1 -a", " 1-a", "+1-a", &long,
        ] {
            assert!(text.parse::<EntryKey>().is_err(), "{text:.20}");
        }
    }
}
