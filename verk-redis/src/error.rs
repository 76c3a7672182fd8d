//! The errors of this crate, and what an error of Redis says about a change that was sent.

use bb8_redis::redis::{ErrorKind, RedisError, ServerErrorKind};
use thiserror::Error;
use verk_core::{Applied, BoxError, StorageError};

/// Connecting to Redis failed, or was refused here because Redis can't be used as it is.
///
/// No error ever shows a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is none that this crate can connect to. Correct it.
    #[error("the Redis URL {url:?} is not valid")]
    InvalidUrl {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        source: BoxError,
    },
    /// A certificate or a key can't be used. Correct the setting.
    #[error("the setting {setting} can't be used")]
    InvalidTls {
        /// The setting, as in a file.
        setting: &'static str,
        /// What is wrong with it. It has nothing of a key.
        source: BoxError,
    },
    /// The prefix is too long or has control characters. Choose another.
    #[error(
        "the key prefix {prefix:?} is not valid: it must have at most 256 bytes and no control characters"
    )]
    InvalidPrefix {
        /// The prefix, cut.
        prefix: String,
    },
    /// Nobody answers there, or the server refuses this client. Check that Redis runs, its address and its
    /// credentials; trying again may help.
    #[error("could not connect to Redis at {address}")]
    Connect {
        /// Where it was looked for.
        address: String,
        /// What happened.
        source: BoxError,
    },
    /// The server is too old. Upgrade it to Redis 6.2 or newer, or to Valkey.
    #[error("Redis at {address} has version {version}, but verk needs 6.2 or newer")]
    TooOld {
        /// The address of the server.
        address: String,
        /// What it says it is.
        version: String,
    },
    /// [`delete_prefix`](crate::RedisStorage::delete_prefix) was called on a storage without a prefix: it
    /// would delete everything. Configure a prefix.
    #[error("refusing to delete all keys: the storage has no prefix")]
    NoPrefix,
    /// The call does not come from a tokio runtime, which connections and time-outs need; nothing was
    /// sent. Call it inside of one.
    #[error(
        "there is no tokio runtime here, and verk needs one for its connections: use `#[tokio::main]`, `#[tokio::test]` or `runtime.block_on(..)`"
    )]
    NoRuntime,
    /// An operation on the server failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A command failed; it becomes a [`StorageError`] once it is known what it was for.
#[derive(Debug)]
pub(crate) struct Failure {
    applied: Applied,
    source: BoxError,
}

impl Failure {
    /// What was to be sent was not sent.
    pub(crate) fn not_sent(source: impl Into<BoxError>) -> Self {
        Self {
            applied: Applied::NotApplied,
            source: source.into(),
        }
    }

    /// The server answered something that makes no sense here.
    pub(crate) fn unexpected_reply(expected: &'static str) -> Self {
        Self {
            applied: Applied::Unknown,
            source: UnexpectedReply { expected }.into(),
        }
    }

    /// A command was refused, or its reply did not come.
    pub(crate) fn of_command(error: RedisError) -> Self {
        Self {
            applied: applied(&error),
            source: error.into(),
        }
    }

    /// A script was refused, broke, or its reply did not come.
    pub(crate) fn of_script(error: RedisError) -> Self {
        let broke = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
        Self {
            // What a script did before it broke is not taken back.
            applied: if broke {
                Applied::Unknown
            } else {
                applied(&error)
            },
            source: error.into(),
        }
    }

    /// A part of a batch was refused; the text is the script's.
    pub(crate) fn refused(text: &[u8]) -> Self {
        Self::not_sent(Refused(String::from_utf8_lossy(text).into_owned()))
    }

    /// The same, for a step that came before what was to be done.
    pub(crate) fn before_sending(self) -> Self {
        Self {
            applied: Applied::NotApplied,
            ..self
        }
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied
    }

    /// Whether the connection ended: another one may do at once.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.applied == Applied::Unknown
            && (self.source.downcast_ref::<RedisError>())
                .is_some_and(|error| error.is_io_error() && !error.is_timeout())
    }

    /// Whether no reply came in time.
    pub(crate) fn is_silence(&self) -> bool {
        (self.source.downcast_ref::<RedisError>()).is_some_and(RedisError::is_timeout)
    }

    /// Adds what failed; `op` completes "failed to ...".
    pub(crate) fn during(self, op: &'static str) -> StorageError {
        StorageError::new(op, self.applied, self.source)
    }
}

/// Whether a command that ended with `error` may have taken effect.
///
/// An error that the server answers with says that it did not: OOM, READONLY, LOADING, MASTERDOWN, NOREPLICAS,
/// MISCONF, BUSY, TRYAGAIN, CLUSTERDOWN, NOSCRIPT, NOAUTH, NOPERM, WRONGTYPE and all the others. What is
/// left are time-outs, broken connections and replies that can't be read.
pub(crate) fn applied(error: &RedisError) -> Applied {
    match error.kind() {
        ErrorKind::Server(_)
        | ErrorKind::Extension
        | ErrorKind::Client
        | ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig => Applied::NotApplied,
        _ => Applied::Unknown,
    }
}

#[derive(Debug, Error)]
#[error("{0}")]
struct Refused(String);

#[derive(Debug, Error)]
#[error("unexpected reply: not {expected}")]
struct UnexpectedReply {
    expected: &'static str,
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, io};

    use bb8_redis::redis::{ServerError, parse_redis_value};

    use super::*;

    fn answered(line: &str) -> RedisError {
        let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn what_the_server_refuses_is_not_applied() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots",
            "BUSY Redis is busy running a script.",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "CLUSTERDOWN The cluster is down",
            "NOSCRIPT No matching script.",
            "NOAUTH Authentication required.",
            "NOPERM this user has no permissions",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ] {
            for failure in [
                Failure::of_command(answered(line)),
                Failure::of_script(answered(line)),
            ] {
                assert_eq!(failure.applied(), Applied::NotApplied, "{line}");
            }
        }
    }

    #[test]
    fn a_script_that_broke_may_have_done_something() {
        let line = "ERR user_script:7: attempt to index a nil value";
        assert_eq!(
            Failure::of_command(answered(line)).applied(),
            Applied::NotApplied
        );
        assert_eq!(
            Failure::of_script(answered(line)).applied(),
            Applied::Unknown
        );
    }

    #[test]
    fn without_a_reply_nobody_knows() {
        for kind in [
            io::ErrorKind::TimedOut,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::UnexpectedEof,
        ] {
            let failure = Failure::of_command(io::Error::from(kind).into());
            assert_eq!(failure.applied(), Applied::Unknown, "{kind}");
        }
    }

    #[test]
    fn the_original_error_is_the_source() {
        let error = Failure::of_command(answered("OOM no room")).during("enqueue jobs");
        assert_eq!(error.to_string(), "failed to enqueue jobs (not applied)");
        let source = error.source().unwrap();
        assert!(source.to_string().contains("OOM"), "{source}");
        let _: Option<&ServerError> = source.source().and_then(|source| source.downcast_ref());
    }
}
