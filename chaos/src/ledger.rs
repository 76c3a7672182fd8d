//! The ledger of a run, in the order in which things happened: one file, to which every process
//! appends.
//!
//! Each record is one line and one `write` to a file opened for appending. So the records of all
//! processes have one order, and the file has everything that a process wrote before it was killed.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    str::FromStr,
    sync::Arc,
};

use crate::{fault::Fault, kind::Kind};

/// A worker process: its place in the fleet, and how often it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// Which worker, from 0.
    pub worker: usize,
    /// How often it was started before.
    pub restarts: usize,
}

/// One attempt to run a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The job.
    pub jid: String,
    /// How often it failed before, plus 1.
    pub number: u32,
}

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A producer sends a job.
    Sent {
        /// The job.
        jid: String,
        /// What it does.
        kind: Kind,
    },
    /// verk reported that the job is stored.
    Stored(String),
    /// verk reported that the job may be stored.
    MayBeStored(String),
    /// verk reported that the job is not stored.
    NotStored(String),
    /// verk reported that the job is not stored, because another one holds its lock.
    Conflict {
        /// The job that was not stored.
        jid: String,
        /// The job that holds the lock.
        holder: String,
    },
    /// A program that knows no locks deleted the job.
    Removed(String),
    /// The worker freed the lock of this job, which was nowhere.
    Repaired(Life, String),
    /// A job of the timetable runs that was due then, in seconds since 1970.
    Tick {
        /// The job.
        jid: String,
        /// When it was due.
        due: u64,
    },
    /// A lock was found whose job was not stored, in one moment.
    Unheld(String),
    /// The first line of a job ran.
    Started(Life, Attempt),
    /// The last line of a job ran.
    Ended(Life, Attempt),
    /// verk reported to the worker that the outcome of the attempt is stored.
    Settled(Life, Attempt),
    /// verk reported to the worker that one of its jobs belongs to another node now.
    Lost(Life),
    /// The worker restored jobs of a node that died.
    Restored(Life, usize),
    /// The worker took this node id.
    Node(Life, String),
    /// How many panics of foreign code the process caught so far.
    Caught(Life, u64),
    /// The worker's answer when no job is left: how many jobs it counts as running, so how many
    /// permits never came back.
    Rest(Life, usize),
    /// The process ended, by itself or not.
    Died(Life),
    /// A fault begins. `None` for the worker if it is a fault of all.
    Fault {
        /// Its place in the plan.
        number: usize,
        /// What.
        fault: Fault,
        /// Whom it concerns.
        worker: Option<usize>,
    },
    /// A fault is over.
    Over {
        /// Its place in the plan.
        number: usize,
        /// Whether it happened. For example, there may have been no reply to cut.
        struck: bool,
    },
}

/// The file.
#[derive(Clone, Debug)]
pub struct Ledger(Arc<File>);

impl Ledger {
    /// Opens the file, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(file)))
    }

    /// Appends a record, in one write.
    ///
    /// # Panics
    ///
    /// When it cannot be written, because nothing can be judged without a ledger.
    pub fn write(&self, record: &Record) {
        let line = format!("{record}\n");
        let written = (&*self.0).write(line.as_bytes());
        assert_eq!(written.expect("the ledger can be written"), line.len());
    }

    /// Reads all records.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line is no record.
    pub fn read(path: &Path) -> io::Result<Vec<Record>> {
        std::fs::read_to_string(path)?
            .lines()
            .map(|line| {
                let parsed = line.parse();
                parsed.map_err(|()| io::Error::other(format!("no record: {line:?}")))
            })
            .collect()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.worker, self.restarts)
    }
}

impl FromStr for Life {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (worker, restarts) = text.split_once('.').ok_or(())?;
        Ok(Self {
            worker: worker.parse().map_err(drop)?,
            restarts: restarts.parse().map_err(drop)?,
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { jid, kind } => write!(f, "sent {jid} {kind}"),
            Self::Stored(jid) => write!(f, "stored {jid}"),
            Self::MayBeStored(jid) => write!(f, "may_be_stored {jid}"),
            Self::NotStored(jid) => write!(f, "not_stored {jid}"),
            Self::Conflict { jid, holder } => write!(f, "conflict {jid} {holder}"),
            Self::Removed(jid) => write!(f, "removed {jid}"),
            Self::Repaired(life, jid) => write!(f, "repaired {life} {jid}"),
            Self::Tick { jid, due } => write!(f, "tick {jid} {due}"),
            Self::Unheld(jid) => write!(f, "unheld {jid}"),
            Self::Started(life, Attempt { jid, number }) => {
                write!(f, "started {life} {jid} {number}")
            }
            Self::Ended(life, Attempt { jid, number }) => write!(f, "ended {life} {jid} {number}"),
            Self::Settled(life, Attempt { jid, number }) => {
                write!(f, "settled {life} {jid} {number}")
            }
            Self::Lost(life) => write!(f, "lost {life}"),
            Self::Restored(life, jobs) => write!(f, "restored {life} {jobs}"),
            Self::Node(life, id) => write!(f, "node {life} {id}"),
            Self::Caught(life, panics) => write!(f, "caught {life} {panics}"),
            Self::Rest(life, running) => write!(f, "rest {life} {running}"),
            Self::Died(life) => write!(f, "died {life}"),
            Self::Fault {
                number,
                fault,
                worker,
            } => {
                write!(f, "fault {number} {fault}")?;
                worker.map_or(Ok(()), |worker| write!(f, " {worker}"))
            }
            Self::Over { number, struck } => write!(f, "over {number} {struck}"),
        }
    }
}

impl FromStr for Record {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(());
        let record = match word()? {
            "sent" => Self::Sent {
                jid: word()?.to_owned(),
                kind: word()?.parse()?,
            },
            "stored" => Self::Stored(word()?.to_owned()),
            "may_be_stored" => Self::MayBeStored(word()?.to_owned()),
            "not_stored" => Self::NotStored(word()?.to_owned()),
            "conflict" => Self::Conflict {
                jid: word()?.to_owned(),
                holder: word()?.to_owned(),
            },
            "removed" => Self::Removed(word()?.to_owned()),
            "repaired" => Self::Repaired(word()?.parse()?, word()?.to_owned()),
            "tick" => Self::Tick {
                jid: word()?.to_owned(),
                due: word()?.parse().map_err(drop)?,
            },
            "unheld" => Self::Unheld(word()?.to_owned()),
            "lost" => Self::Lost(word()?.parse()?),
            "restored" => Self::Restored(word()?.parse()?, word()?.parse().map_err(drop)?),
            "node" => Self::Node(word()?.parse()?, word()?.to_owned()),
            "caught" => Self::Caught(word()?.parse()?, word()?.parse().map_err(drop)?),
            "rest" => Self::Rest(word()?.parse()?, word()?.parse().map_err(drop)?),
            "died" => Self::Died(word()?.parse()?),
            "fault" => Self::Fault {
                number: word()?.parse().map_err(drop)?,
                fault: word()?.parse()?,
                worker: word().ok().map(str::parse).transpose().map_err(drop)?,
            },
            "over" => Self::Over {
                number: word()?.parse().map_err(drop)?,
                struck: word()?.parse().map_err(drop)?,
            },
            run @ ("started" | "ended" | "settled") => {
                let life = word()?.parse()?;
                let attempt = Attempt {
                    jid: word()?.to_owned(),
                    number: word()?.parse().map_err(drop)?,
                };
                match run {
                    "started" => Self::Started(life, attempt),
                    "ended" => Self::Ended(life, attempt),
                    _ => Self::Settled(life, attempt),
                }
            }
            _ => return Err(()),
        };
        words.next().is_none().then_some(record).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let life = Life {
            worker: 2,
            restarts: 11,
        };
        let attempt = Attempt {
            jid: "0f".to_owned(),
            number: 3,
        };
        let records = [
            Record::Sent {
                jid: "0f".to_owned(),
                kind: Kind::Poison,
            },
            Record::Stored("0f".to_owned()),
            Record::Conflict {
                jid: "0f".to_owned(),
                holder: "0e".to_owned(),
            },
            Record::Removed("0f".to_owned()),
            Record::Repaired(life, "0f".to_owned()),
            Record::Tick {
                jid: "0f".to_owned(),
                due: 1_700_000_000,
            },
            Record::Unheld("0f".to_owned()),
            Record::Started(life, attempt.clone()),
            Record::Ended(life, attempt.clone()),
            Record::Settled(life, attempt),
            Record::Restored(life, 7),
            Record::Node(life, "here.0123456789ab".to_owned()),
            Record::Caught(life, 70),
            Record::Rest(life, 1),
            Record::Died(life),
            Record::Fault {
                number: 4,
                fault: Fault::OutOfMemory,
                worker: None,
            },
            Record::Fault {
                number: 5,
                fault: Fault::KillWorker,
                worker: Some(1),
            },
            Record::Over {
                number: 4,
                struck: true,
            },
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        // Two who write, as two processes do.
        let ledgers = [Ledger::open(&path).unwrap(), Ledger::open(&path).unwrap()];
        for (record, ledger) in records.iter().zip(ledgers.iter().cycle()) {
            ledger.write(record);
        }
        assert_eq!(Ledger::read(&path).unwrap(), records);
    }
}
