//! The errors of this crate, and whether a change that was sent took effect despite an error of
//! Redis.

pub(crate) mod cause;
pub(crate) mod redirect;

use bb8_redis::redis::{ErrorKind, RedisError, ServerErrorKind};
use thiserror::Error;
use verk_core::{
    BoxError, StorageError,
    error::{Applied, ErrorChain, StorageErrorKind},
};

use self::{cause::Cause, redirect::Redirect};

/// Connecting to Redis failed, or this crate refused to use it.
///
/// Each prints its whole cause, and has no [`source`](std::error::Error::source), because loggers
/// would print the source twice. No error ever shows a password.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is invalid, or has an unknown scheme. Correct it.
    #[error("the Redis URL {url:?} is not valid: {}", ErrorChain(&**source))]
    InvalidUrl {
        /// The URL without its password.
        url: String,
        /// What is wrong with it.
        r#source: BoxError,
    },
    /// A certificate or a key can't be used. Correct the setting.
    #[error("the setting {setting} can't be used: {}", ErrorChain(&**source))]
    InvalidTls {
        /// The setting, as in a file.
        setting: &'static str,
        /// What is wrong with it. It has no part of a key.
        r#source: BoxError,
    },
    /// The prefix is too long or has control characters. Choose another.
    #[error(
        "the key prefix {prefix:?} is not valid: it must have at most 256 bytes and no control characters"
    )]
    InvalidPrefix {
        /// The prefix, cut.
        prefix: String,
    },
    /// On a cluster, all keys must be in one slot, and the prefix has no hash tag that says which.
    /// Configure a prefix with one, such as `{shop}`, or [cells](crate::RedisConfig::cells).
    #[error(
        "on a cluster the key prefix needs a hash tag, such as {{shop}}, so that all keys are in one slot, unless redis.cells says over how many slots they are spread: it is {prefix:?}"
    )]
    NoHashTag {
        /// The prefix, cut.
        prefix: String,
    },
    /// The number of cells, by [`RedisConfig::cells`](crate::RedisConfig::cells) or the URL, cannot
    /// be used. Correct it.
    #[error("redis.cells is {cells}: {reason}")]
    InvalidCells {
        /// The number.
        cells: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The prefix has a brace, and each of several cells has a hash tag of its own. Configure a
    /// prefix without braces, such as `shop`.
    #[error(
        "each of the {cells} cells gets a hash tag of its own, so the key prefix must have no brace, as in \"shop\": it is {prefix:?}"
    )]
    TagWithCells {
        /// How many cells there are.
        cells: usize,
        /// The prefix, cut.
        prefix: String,
    },
    /// Nothing listens there, or the server refuses this client. Check that Redis runs, its address
    /// and its credentials. Trying again may help.
    #[error("no connection to Redis at {address}: {}", ErrorChain(&**source))]
    Connect {
        /// Where it was looked for.
        address: String,
        /// Which kind of failure it is.
        kind: StorageErrorKind,
        /// The cause, and what to do about it.
        r#source: BoxError,
    },
    /// The server is too old. Upgrade it to Redis 6.2 or newer, or to Valkey.
    #[error("Redis at {address} has version {version}, but verk needs 6.2 or newer")]
    TooOld {
        /// The address of the server.
        address: String,
        /// What it says it is.
        version: String,
    },
    /// [`delete_prefix`](crate::RedisStorage::delete_prefix) was called on a storage without a
    /// prefix: it would delete everything. Configure a prefix.
    #[error("refusing to delete all keys: the storage has no prefix")]
    NoPrefix,
    /// The call does not come from a tokio runtime, which connections and time-outs need; nothing
    /// was sent. Call it inside of a runtime.
    #[error(
        "there is no tokio runtime here, and verk needs one for its connections: use `#[tokio::main]`, `#[tokio::test]` or `runtime.block_on(..)`"
    )]
    NoRuntime,
    /// An operation on the server failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Error {
    /// There is no connection to the server at `address`.
    pub(crate) fn not_connected(address: String, cause: Cause) -> Self {
        Self::Connect {
            address,
            kind: cause.kind(),
            source: cause.into(),
        }
    }

    /// Returns the kind of failure, so that a program can decide by it.
    #[must_use]
    pub fn kind(&self) -> StorageErrorKind {
        match self {
            Self::InvalidUrl { .. }
            | Self::InvalidTls { .. }
            | Self::InvalidPrefix { .. }
            | Self::NoHashTag { .. }
            | Self::InvalidCells { .. }
            | Self::TagWithCells { .. }
            | Self::TooOld { .. }
            | Self::NoPrefix
            | Self::NoRuntime => StorageErrorKind::Misconfigured,
            Self::Connect { kind, .. } => *kind,
            Self::Storage(error) => error.kind(),
        }
    }
}

/// The beginning of a text that somebody configured, for a message.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A command failed. It becomes a [`StorageError`] once the operation is known.
#[derive(Debug)]
pub(crate) struct Failure {
    applied: Applied,
    kind: StorageErrorKind,
    source: BoxError,
}

impl Failure {
    /// There was no connection, so nothing was sent.
    pub(crate) fn not_sent(source: impl Into<BoxError>) -> Self {
        let source: BoxError = source.into();
        match source.downcast::<RedisError>() {
            Ok(error) => {
                let cause = Cause::of_connecting(*error, None);
                Self {
                    applied: Applied::NotApplied,
                    kind: cause.kind(),
                    source: cause.into(),
                }
            }
            Err(source) => Self {
                applied: Applied::NotApplied,
                kind: match (
                    source.downcast_ref::<StorageError>(),
                    source.downcast_ref::<Error>(),
                ) {
                    (Some(error), _) => error.kind(),
                    (_, Some(error)) => error.kind(),
                    (None, None) => StorageErrorKind::Unreachable,
                },
                source,
            },
        }
    }

    /// The server answered with an unexpected value.
    pub(crate) fn unexpected_reply(expected: &'static str) -> Self {
        Self {
            applied: Applied::Unknown,
            kind: StorageErrorKind::Other,
            source: UnexpectedReply { expected }.into(),
        }
    }

    /// There is no connection to the server at `address`.
    pub(crate) fn not_connected(address: String, cause: Cause) -> Self {
        Self {
            applied: Applied::NotApplied,
            kind: cause.kind(),
            source: Error::not_connected(address, cause).into(),
        }
    }

    /// A command was refused, or its reply did not come.
    pub(crate) fn of_command(error: RedisError) -> Self {
        let applied = applied(&error);
        let cause = Cause::of_request(error);
        Self {
            applied,
            kind: cause.kind(),
            source: cause.into(),
        }
    }

    /// A script was refused, broke, or its reply did not come.
    pub(crate) fn of_script(error: RedisError) -> Self {
        let broke = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
        let mut failure = Self::of_command(error);
        // Changes of a script before it broke are not undone.
        if broke {
            failure.applied = Applied::Unknown;
        }
        failure
    }

    /// As this one, which a server of a cluster caused, with what that means for the slot.
    pub(crate) fn of_slot(mut self, advice: String) -> Self {
        if let Some(cause) = self.source.downcast_mut::<Cause>() {
            cause.of_slot(advice);
            self.kind = cause.kind();
        }
        self
    }

    /// A part of a batch was refused; the text is that of the script.
    pub(crate) fn refused(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let text = cause::cut_arguments(&text).unwrap_or(&text);
        let code = text.split(' ').next().unwrap_or_default();
        let (kind, advice) = cause::of_code(code, text);
        let advice = advice
            .map(|advice| format!("{advice}: "))
            .unwrap_or_default();
        Self {
            applied: Applied::NotApplied,
            kind,
            source: format!("{advice}{text}").into(),
        }
    }

    /// The same, for a step before the real change.
    pub(crate) fn before_sending(self) -> Self {
        Self {
            applied: Applied::NotApplied,
            ..self
        }
    }

    pub(crate) fn applied(&self) -> Applied {
        self.applied
    }

    /// Whether the key has another type than the command needs.
    pub(crate) fn is_wrong_type(&self) -> bool {
        self.kind == StorageErrorKind::WrongType
    }

    /// Whether the connection ended, so that another one may work at once.
    pub(crate) fn is_disconnected(&self) -> bool {
        self.applied == Applied::Unknown
            && (self.source.downcast_ref::<Cause>())
                .is_some_and(|cause| cause.error().is_io_error() && !cause.error().is_timeout())
    }

    /// What to do if a server of a cluster did not take the request.
    pub(crate) fn redirect(&self) -> Option<Redirect<'_>> {
        let cause = self.source.downcast_ref::<Cause>()?;
        (self.applied == Applied::NotApplied).then(|| Redirect::of(cause.error()))?
    }

    /// Whether no reply came in time.
    pub(crate) fn is_silence(&self) -> bool {
        (self.source.downcast_ref::<Cause>()).is_some_and(|cause| cause.error().is_timeout())
    }

    /// Adds the operation that failed; `op` completes "failed to ...".
    pub(crate) fn during(self, op: &'static str) -> StorageError {
        StorageError::new(op, self.applied, self.source).with_kind(self.kind)
    }
}

/// Whether a command that ended with `error` may have taken effect.
///
/// If the server answers with an error, it did not: OOM, READONLY, LOADING, MASTERDOWN, NOREPLICAS,
/// MISCONF, BUSY, TRYAGAIN, CLUSTERDOWN, NOSCRIPT, NOAUTH, NOPERM, WRONGTYPE and all the others.
/// The rest are time-outs, broken connections and replies that cannot be read.
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
#[error("unexpected reply: not {expected}")]
struct UnexpectedReply {
    expected: &'static str,
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;

    use bb8_redis::redis::parse_redis_value;

    use super::*;

    /// The error that a server answers with this line.
    pub(crate) fn answered(line: &str) -> RedisError {
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
    fn a_script_whose_user_lacks_a_right_says_so() {
        for command in [
            "run this command or subcommand",
            "access at least one of the keys",
        ] {
            let line = format!("ERR The user executing the script can't {command} script: 7c12");
            let error = Failure::of_script(answered(&line)).during("pause a queue");
            assert_eq!(error.kind(), StorageErrorKind::NotPermitted, "{error}");
            assert!(error.to_string().contains("lacks a right"), "{error}");
        }
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
    fn an_error_says_what_to_do_and_what_redis_says() {
        let error = Failure::of_command(answered("OOM no room")).during("enqueue jobs");
        assert_eq!(
            error.to_string(),
            "failed to enqueue jobs (not applied): Redis has no memory left: raise its maxmemory, or let jobs be done: \"OOM\": no room"
        );
        assert_eq!(error.kind(), StorageErrorKind::Full);
    }

    #[test]
    fn an_answer_that_repeats_a_payload_is_cut() {
        let line = "ERR unknown command 'LPUSH', with args beginning with: 'queue:q' '{\"args\":[\"canary\"]}' ";
        for failure in [
            Failure::of_command(answered(line)),
            Failure::of_script(answered(line)),
            Failure::not_sent(answered(line)),
            Failure::refused(line.as_bytes()),
        ] {
            let kind = failure.kind;
            let error = failure.during("enqueue jobs");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("LPUSH"), "{shown}");
            assert_eq!(kind, StorageErrorKind::NotPermitted);
        }
    }
}
