//! [`Schedule`].

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;

use crate::{error::InvalidSchedule, expression::Expression, words, zone::Zone};

/// The longest period.
const MAX_PERIOD: Duration = Duration::from_secs(366 * 86_400);

/// When a periodic job is due: a cron expression in a time zone, or a period.
///
/// Cheap to clone, and never more than about 16 KiB large. Two are equal if they have the same
/// expression and zone, or the same period.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use verk_cron::Schedule;
///
/// let often = Schedule::every(Duration::from_secs(600))?;
/// let start = SystemTime::UNIX_EPOCH;
/// let (due, more) = often.between(start, start + Duration::from_secs(1_900), start, 10);
/// assert_eq!(due.len(), 3);
/// assert!(!more);
/// assert_eq!(often.words(), "every 10 minutes");
/// # Ok::<(), verk_cron::InvalidSchedule>(())
/// ```
#[derive(Clone)]
pub struct Schedule(Kind);

#[derive(Clone)]
enum Kind {
    Cron {
        expression: Arc<Expression>,
        zone: Zone,
    },
    Every(Duration),
}

impl Schedule {
    /// A cron expression in a time zone of the IANA database, as `Europe/Berlin`. `UTC` is one.
    ///
    /// # Errors
    ///
    /// If the expression is wrong or never due, or the zone is unknown.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        Self::in_zone(expression, || Zone::named(zone))
    }

    /// The same with the rules of a zone in the format TZif, for tests that need rules which are
    /// the same everywhere.
    #[doc(hidden)]
    pub fn cron_in_tzif(
        expression: &str,
        zone: &str,
        tzif: &[u8],
    ) -> Result<Self, InvalidSchedule> {
        Self::in_zone(expression, || Zone::from_tzif(zone, tzif))
    }

    fn in_zone(
        expression: &str,
        zone: impl FnOnce() -> Result<Zone, InvalidSchedule>,
    ) -> Result<Self, InvalidSchedule> {
        Ok(Self(Kind::Cron {
            expression: Arc::new(Expression::parse(expression)?),
            zone: zone()?,
        }))
    }

    /// A period of 1 second to 366 days, in whole seconds.
    ///
    /// # Errors
    ///
    /// For any other period.
    pub fn every(period: Duration) -> Result<Self, InvalidSchedule> {
        let is_whole = period.subsec_nanos() == 0 && !period.is_zero();
        if !is_whole || period > MAX_PERIOD {
            return Err(InvalidSchedule::Period { period });
        }
        Ok(Self(Kind::Every(period)))
    }

    /// The first due time after `after`. `None` if it is never due again.
    ///
    /// A period counts from `anchor`, and is due for the first time one period after it. An
    /// expression ignores `anchor`, and is not due before 1970 or after the year 5000.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use verk_cron::Schedule;
    ///
    /// let seconds = |n| SystemTime::UNIX_EPOCH + Duration::from_secs(n);
    /// let often = Schedule::every(Duration::from_secs(60))?;
    /// assert_eq!(often.next(seconds(130), seconds(10)), Some(seconds(190)));
    /// # Ok::<(), verk_cron::InvalidSchedule>(())
    /// ```
    #[must_use]
    pub fn next(&self, after: SystemTime, anchor: SystemTime) -> Option<SystemTime> {
        match &self.0 {
            Kind::Cron { expression, zone } => {
                // One nanosecond less than the epoch, so that the epoch itself may be due.
                let first = Timestamp::UNIX_EPOCH - Duration::from_nanos(1);
                let after = if after < SystemTime::UNIX_EPOCH {
                    first
                } else {
                    Timestamp::try_from(after).ok()?
                };
                let due = zone.next(expression, after)?.as_duration();
                SystemTime::UNIX_EPOCH.checked_add(Duration::try_from(due).ok()?)
            }
            Kind::Every(period) => {
                let passed = after.duration_since(anchor).unwrap_or_default();
                let periods = passed.as_secs() / period.as_secs() + 1;
                let since_anchor = periods.checked_mul(period.as_secs())?;
                anchor.checked_add(Duration::from_secs(since_anchor))
            }
        }
    }

    /// The due times after `after` up to `until`, the earliest first and at most `most`, and
    /// whether there are more.
    #[must_use]
    pub fn between(
        &self,
        after: SystemTime,
        until: SystemTime,
        anchor: SystemTime,
        most: usize,
    ) -> (Vec<SystemTime>, bool) {
        let mut due = Vec::new();
        let mut last = after;
        while let Some(next) = self.next(last, anchor).filter(|next| *next <= until) {
            if due.len() == most {
                return (due, true);
            }
            due.push(next);
            last = next;
        }
        (due, false)
    }

    /// The last due time after `after` up to `until`, however many there are. `None` if there is
    /// none.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use verk_cron::Schedule;
    ///
    /// let daily = Schedule::cron("@daily", "UTC")?;
    /// let start = SystemTime::UNIX_EPOCH;
    /// let years = start + Duration::from_secs(3_650 * 86_400 + 7);
    /// let last = start + Duration::from_secs(3_650 * 86_400);
    /// assert_eq!(daily.last(start, years, start), Some(last));
    /// # Ok::<(), verk_cron::InvalidSchedule>(())
    /// ```
    #[must_use]
    pub fn last(
        &self,
        after: SystemTime,
        until: SystemTime,
        anchor: SystemTime,
    ) -> Option<SystemTime> {
        let next = |from| self.next(from, anchor).filter(|next| *next <= until);
        let mut found = next(after)?;
        // Something is due after `found` and up to `until`, or nothing is after `until - step`.
        let mut step = Duration::from_secs(1);
        loop {
            let from = until.checked_sub(step).filter(|from| *from > found);
            match from.map(next) {
                Some(None) => step = step.saturating_mul(2),
                Some(Some(due)) => {
                    found = due;
                    break;
                }
                None => break,
            }
        }
        // Due times are in (from, until]. Halve what is known to have the last one.
        let mut none_after = until;
        while let Ok(rest) = none_after.duration_since(found) {
            if next(found).is_none() {
                break;
            }
            let middle = found + rest / 2;
            match next(middle) {
                Some(due) => found = due,
                None => none_after = middle,
            }
        }
        Some(found)
    }

    /// The schedule in words, as `At 07:00, on Monday, Europe/Berlin` or `every 10 minutes`. At
    /// most a few hundred bytes.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.0 {
            Kind::Cron { expression, zone } => {
                words::of_cron(&expression.description(), &zone.name)
            }
            Kind::Every(period) => words::of_period(*period),
        }
    }

    /// The expression, with one space between its fields. `None` for a period.
    #[must_use]
    pub fn expression(&self) -> Option<&str> {
        match &self.0 {
            Kind::Cron { expression, .. } => Some(expression.text()),
            Kind::Every(_) => None,
        }
    }

    /// The name of the zone as the database has it. `None` for a period.
    #[must_use]
    pub fn zone(&self) -> Option<&str> {
        match &self.0 {
            Kind::Cron { zone, .. } => Some(&zone.name),
            Kind::Every(_) => None,
        }
    }

    /// The period. `None` for an expression.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Cron { .. } => None,
            Kind::Every(period) => Some(*period),
        }
    }

    /// All that says when it is due.
    fn parts(&self) -> (Option<&str>, Option<&str>, Option<Duration>) {
        (self.expression(), self.zone(), self.period())
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (Some(expression), Some(zone), _) => write!(f, "cron({expression:?}, tz = {zone:?})"),
            (_, _, period) => write!(f, "every({:?})", period.unwrap_or_default()),
        }
    }
}
