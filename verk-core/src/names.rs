//! The names that several programs use: [`Jid`], [`QueueName`], [`NodeId`].

use std::{fmt, sync::Arc};

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest queue or node name that verk accepts, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// The id of a job, unique for its whole life.
///
/// verk makes 24 lower-case hex digits from 12 random bytes, as Sidekiq does. It keeps ids that
/// other programs made: Elixir's Verk writes up to 20 decimal digits.
///
/// ```
/// use verk_core::Jid;
///
/// let jid = Jid::random();
/// assert_eq!(jid.as_str().len(), 24);
/// assert_ne!(jid, Jid::random());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid(CompactString);

impl Jid {
    /// Makes a new id from 96 random bits.
    #[must_use]
    pub fn random() -> Self {
        let mut jid = [0; 24];
        let bytes = rand::random::<u128>().to_le_bytes();
        for (byte, digits) in bytes.iter().zip(jid.as_chunks_mut().0) {
            *digits = HEX[usize::from(*byte)];
        }
        Self(str::from_utf8(&jid).expect("digits are text").into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The two hex digits of each byte.
const HEX: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        hex[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    hex
};

impl From<&str> for Jid {
    fn from(jid: &str) -> Self {
        Self(jid.into())
    }
}

impl From<String> for Jid {
    fn from(jid: String) -> Self {
        Self(jid.into())
    }
}

impl From<&Jid> for Jid {
    fn from(jid: &Jid) -> Self {
        jid.clone()
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a queue: 1 to [`MAX_NAME_BYTES`] bytes without control characters.
///
/// ```
/// use verk_core::QueueName;
///
/// let queue: QueueName = "mailers".parse().unwrap();
/// assert_eq!(queue.as_str(), "mailers");
/// assert!("".parse::<QueueName>().is_err());
/// assert!("two\nlines".parse::<QueueName>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(CompactString);

impl QueueName {
    /// Checks `name` and wraps it.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when the name is empty, longer than [`MAX_NAME_BYTES`] or has control
    /// characters.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        check_name("queue", name).map(|()| Self(name.into()))
    }

    /// As [`new`](Self::new), for a name of which the caller knows whether it [is one](is_name).
    #[inline]
    pub(crate) fn checked(name: &str, is_name: bool) -> Result<Self, InvalidName> {
        match is_name {
            true => Ok(Self(name.into())),
            false => Self::new(name),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for QueueName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl TryFrom<String> for QueueName {
    type Error = InvalidName;

    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one registration of a node: `NAME.HEX12`, where `HEX12` is 12 random hex digits.
///
/// The id is new each time a node registers, so that the keys of a node that was declared dead are
/// never used again. `NAME` is the configured `node_id`, or the host name, and may have dots.
///
/// ```
/// use verk_core::names::NodeId;
///
/// let id = NodeId::register("web.1").unwrap();
/// assert_eq!(id.name(), "web.1");
/// assert_ne!(id, NodeId::register("web.1").unwrap());
///
/// // Ids of other programs (an Elixir node) have no such ending: the whole id is the name.
/// assert_eq!(NodeId::from("elixir-1").name(), "elixir-1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

impl NodeId {
    const SUFFIX_DIGITS: usize = 12;

    /// Makes a new id for a node called `name`.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when the name is empty, longer than [`MAX_NAME_BYTES`] or has control
    /// characters.
    pub fn register(name: &str) -> Result<Self, InvalidName> {
        check_name("node", name)?;
        Ok(Self(
            format!("{name}.{:012x}", rand::random::<u64>() >> 16).into(),
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before the random ending, or the whole id if it has no such ending.
    #[must_use]
    pub fn name(&self) -> &str {
        match self.0.rsplit_once('.') {
            Some((name, suffix))
                if suffix.len() == Self::SUFFIX_DIGITS
                    && suffix.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                name
            }
            _ => &self.0,
        }
    }
}

impl From<&str> for NodeId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name of a queue, a node or an entry of the timetable that verk does not accept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{kind} name {name:?} is not valid: it must have 1 to {MAX_NAME_BYTES} bytes and no control characters"
)]
pub struct InvalidName {
    kind: &'static str,
    name: String,
}

/// Whether an entry of the timetable may have this name: the same rule as for a queue.
#[cfg(feature = "cron")]
pub(crate) fn check_entry_name(name: &str) -> Result<(), InvalidName> {
    check_name("entry", name)
}

fn check_name(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    if !is_name(name) {
        // The message is one line in a log, so a hostile name is cut.
        let name = name.chars().take(64).collect();
        return Err(InvalidName { kind, name });
    }
    Ok(())
}

/// Whether a queue or a node may have this name.
pub(crate) const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut before = 0;
    let mut index = 0;
    while index < name.len() {
        let byte = name[index];
        // Those of Unicode beyond ASCII are U+0080 to U+009F.
        if byte.is_ascii_control() || before == 0xc2 && byte <= 0x9f {
            return false;
        }
        before = byte;
        index += 1;
    }
    !name.is_empty() && name.len() <= MAX_NAME_BYTES
}
