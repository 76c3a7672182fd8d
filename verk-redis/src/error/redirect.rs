//! What a server of a cluster answers to a request that it does not take: [`Redirect`].

use bb8_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a server did not take a request, and what to do. Nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redirect<'a> {
    /// Another server is the one to write to, or will be soon: find it.
    Elsewhere,
    /// The slot is being moved, and this server has none of the keys. The one at the address may
    /// take the request, after `ASKING`.
    Ask(&'a str),
    /// The slot is being moved, and this server has only some of the keys: try again soon.
    TryAgain,
}

impl<'a> Redirect<'a> {
    /// What the answer means; `None` for any other error.
    pub(crate) fn of(error: &'a RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::Moved
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown => Some(Self::Elsewhere),
                ServerErrorKind::Ask => {
                    let (address, _) = error.redirect_node()?;
                    Some(Self::Ask(address))
                }
                ServerErrorKind::TryAgain => Some(Self::TryAgain),
                _ => None,
            },
            // It ends a wait, because the server becomes a replica.
            _ => (error.code() == Some("UNBLOCKED")).then_some(Self::Elsewhere),
        }
    }
}

#[cfg(test)]
mod tests {
    use verk_core::error::Applied;

    use super::*;
    use crate::error::{Failure, applied, tests::answered};

    #[test]
    fn an_answer_says_what_to_do() {
        for (line, redirect) in [
            ("MOVED 3808 127.0.0.1:7001", Some(Redirect::Elsewhere)),
            (
                "CLUSTERDOWN Hash slot not served",
                Some(Redirect::Elsewhere),
            ),
            (
                "UNBLOCKED force unblock from blocking operation, instance state changed",
                Some(Redirect::Elsewhere),
            ),
            (
                "READONLY You can't write against a read only replica.",
                Some(Redirect::Elsewhere),
            ),
            (
                "ASK 3808 127.0.0.1:7001",
                Some(Redirect::Ask("127.0.0.1:7001")),
            ),
            (
                "TRYAGAIN Multiple keys request during rehashing of slot",
                Some(Redirect::TryAgain),
            ),
            ("OOM command not allowed", None),
            ("ERR unknown", None),
            (
                "CROSSSLOT Keys in request don't hash to the same slot",
                None,
            ),
        ] {
            let error = answered(line);
            assert_eq!(Redirect::of(&error), redirect, "{line}");
            assert_eq!(applied(&error), Applied::NotApplied, "{line}");
            let failure = Failure::of_script(answered(line));
            assert_eq!(failure.redirect(), redirect, "{line}");
            if redirect.is_some() {
                assert_eq!(failure.applied(), Applied::NotApplied, "{line}");
            }
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(Redirect::of(&lost), None);
    }
}
