//! Where a job was seen, and how far a search got: [`RefPlace`].

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use crate::{
    manage::{RunningCursor, cursor::Score},
    names::QueueName,
    storage::{JobSet, Position},
};

/// Where a job was seen, or how far the search for it got: see [`JobRef`](super::JobRef).
///
/// Its text is a path, such as `retry/1732387200.000412`, `queue/17/mailers` for the job with 17
/// jobs before it, or a place in a search, whose form may change between versions. The name of a
/// queue may have any characters, so escape the text in a URL.
///
/// ```
/// use verk_core::{manage::RefPlace, storage::JobSet};
///
/// let place: RefPlace = "retry/1732387200.000412".parse()?;
/// assert_eq!(place, RefPlace::Set { set: JobSet::Retry, score: 1_732_387_200.000_412 });
/// assert_eq!(place.to_string(), "retry/1732387200.000412");
/// assert!("retry".parse::<RefPlace>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RefPlace {
    /// In a set, with this [score](crate::manage::Entry::score).
    Set {
        /// The set.
        set: JobSet,
        /// The score of the member.
        score: f64,
    },
    /// In a queue, with so many jobs [before it](crate::manage::Entry::index).
    Queue {
        /// The queue.
        queue: QueueName,
        /// How many jobs were to be fetched before it. These become fewer, so this may be too many.
        index: u64,
    },
    /// Where a search continues.
    Search(SearchPlace),
}

/// How far the search for a job got: see [`Why::Searching`](super::Why::Searching).
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPlace {
    /// How many waiting jobs were read.
    pub(super) looked_at: u64,
    /// What is read next.
    pub(super) stage: Stage,
}

/// A part of the search. A search goes through them in this order, so that it finds a job that
/// moves on meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// The jobs that nodes hold, from this list on. They are few.
    Held(u64),
    Set(JobSet, Position),
    Queue(QueueName, Position),
    /// The jobs that processes report.
    Running(Option<RunningCursor>),
    /// The jobs that nodes hold now.
    HeldAgain(u64),
    /// The unique locks, after so many of them.
    Locks(u64),
}

/// A text that is no [`RefPlace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place of a job: write such as retry/1732387200.5 or queue/17/mailers")]
#[non_exhaustive]
pub struct InvalidRefPlace;

impl Display for RefPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set { set, score } => write!(f, "{}/{}", set_name(*set), Score(*score)),
            Self::Queue { queue, index } => write!(f, "queue/{index}/{queue}"),
            Self::Search(SearchPlace { looked_at, stage }) => {
                write!(f, "search/{looked_at}/")?;
                match stage {
                    Stage::Held(list) => write!(f, "held/{list}"),
                    Stage::Set(set, position) => write!(f, "{}/{}", set_name(*set), At(*position)),
                    Stage::Queue(queue, position) => write!(f, "queue/{}/{queue}", At(*position)),
                    Stage::Running(None) => f.write_str("running"),
                    Stage::Running(Some(cursor)) => write!(f, "running/{cursor}"),
                    Stage::HeldAgain(list) => write!(f, "again/{list}"),
                    Stage::Locks(read) => write!(f, "locks/{read}"),
                }
            }
        }
    }
}

impl FromStr for RefPlace {
    type Err = InvalidRefPlace;

    fn from_str(text: &str) -> Result<Self, InvalidRefPlace> {
        let (kind, rest) = text.split_once('/').ok_or(InvalidRefPlace)?;
        let place = match kind {
            "queue" => rest.split_once('/').and_then(|(index, queue)| {
                let index = number(index)?;
                let queue = QueueName::new(queue).ok()?;
                Some(Self::Queue { queue, index })
            }),
            "search" => rest.split_once('/').and_then(|(looked_at, stage)| {
                Some(Self::Search(SearchPlace {
                    looked_at: number(looked_at)?,
                    stage: stage_of(stage)?,
                }))
            }),
            _ => set_of(kind).and_then(|set| {
                let Score(score) = Score::parse(rest)?;
                Some(Self::Set { set, score })
            }),
        };
        place.ok_or(InvalidRefPlace)
    }
}

fn stage_of(text: &str) -> Option<Stage> {
    let (kind, rest) = match text.split_once('/') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (text, None),
    };
    Some(match (kind, rest) {
        ("held", Some(list)) => Stage::Held(number(list)?),
        ("again", Some(list)) => Stage::HeldAgain(number(list)?),
        ("locks", Some(read)) => Stage::Locks(number(read)?),
        ("running", None) => Stage::Running(None),
        ("running", Some(cursor)) => Stage::Running(Some(cursor.parse().ok()?)),
        ("queue", Some(rest)) => {
            let (position, queue) = rest.split_once('/')?;
            Stage::Queue(QueueName::new(queue).ok()?, At::parse(position)?)
        }
        (set, Some(position)) => Stage::Set(set_of(set)?, At::parse(position)?),
        _ => return None,
    })
}

fn set_name(set: JobSet) -> &'static str {
    match set {
        JobSet::Schedule => "schedule",
        JobSet::Retry => "retry",
        JobSet::Dead => "dead",
    }
}

fn set_of(name: &str) -> Option<JobSet> {
    let sets = [JobSet::Schedule, JobSet::Retry, JobSet::Dead];
    sets.into_iter().find(|set| set_name(*set) == name)
}

/// A number without a sign.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A position as text: `17`, or `1732387200.5_3`.
struct At(Position);

impl At {
    fn parse(text: &str) -> Option<Position> {
        Some(match text.split_once('_') {
            Some((score, skip)) => Position::Score {
                score: Score::parse(score)?.0,
                skip: number(skip)?,
            },
            None => Position::Index(number(text)?),
        })
    }
}

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Position::Index(index) => index.fmt(f),
            Position::Score { score, skip } => write!(f, "{}_{skip}", Score(score)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for text in [
            "schedule/1732387200.000412",
            "retry/-inf",
            "dead/1e300",
            "queue/0/default",
            "queue/18446744073709551615/a/b:c d",
            "search/0/held/0",
            "search/7/again/16",
            "search/500/schedule/0",
            "search/500/retry/1732387200.5_3",
            "search/500/queue/17/a/b",
            "search/500/running",
            "search/500/running/0.web-1~3a42",
            "search/500/dead/2",
            "search/500/locks/100",
        ] {
            let place: RefPlace = text.parse().unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(place.to_string(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "/",
            "retry",
            "retry/",
            "retry/NaN",
            "schedule/1/2",
            "queue/1",
            "queue/1/",
            "queue/-1/default",
            "queue/+1/default",
            "queue/1/two\nlines",
            "search/1",
            "search/x/held/0",
            "search/1/held",
            "search/1/held/99999999999999999999",
            "search/1/locks/-1",
            "search/1/queue/default",
            "search/1/running/",
            "search/1/elsewhere/0",
            "elsewhere/1",
        ] {
            assert_eq!(text.parse::<RefPlace>(), Err(InvalidRefPlace), "{text:?}");
        }
    }
}
