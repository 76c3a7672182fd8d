//! Why Redis refused a request: [`Cause`], with one sentence that says what to do.

use std::{borrow::Cow, error::Error as _, fmt, io, sync::Arc};

use bb8_redis::redis::{ConnectionAddr, ErrorKind, RedisError, ServerErrorKind};
use verk_core::error::StorageErrorKind as Kind;

/// An error of Redis, or of the connection to it.
///
/// It prints what to do about it, if that is known, and the text of Redis.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    kind: Kind,
    /// What it means and what to do.
    advice: Option<Cow<'static, str>>,
    error: RedisError,
}

impl Cause {
    /// The cause of a connection to `addr` that could not be opened.
    pub(crate) fn of_connecting(error: RedisError, addr: Option<&ConnectionAddr>) -> Self {
        let error = without_arguments(error);
        let (kind, advice) = match refused(&error) {
            Some((kind, advice)) => (kind, advice),
            None => (Kind::Unreachable, unreachable(&error)),
        };
        // Errors of TLS take many forms.
        let hint = addr.and_then(|addr| tls_hint(&error, addr));
        Self {
            kind,
            advice: hint.or(advice).map(Cow::Borrowed),
            error,
        }
    }

    /// Of a request that was sent.
    pub(crate) fn of_request(error: RedisError) -> Self {
        let error = without_arguments(error);
        let (kind, advice) = refused(&error).unwrap_or_else(|| no_reply(&error));
        Self {
            kind,
            advice: advice.map(Cow::Borrowed),
            error,
        }
    }

    /// As this one, of a server of a cluster, with what it says of the slot.
    pub(crate) fn of_slot(&mut self, advice: String) {
        self.kind = Kind::Unavailable;
        self.advice = Some(Cow::Owned(advice));
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn error(&self) -> &RedisError {
        &self.error
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(advice) = &self.advice {
            write!(f, "{advice}: ")?;
        }
        self.error.fmt(f)
    }
}

/// The source of a `RedisError` has the same text as the error, so there is none here.
impl std::error::Error for Cause {}

/// A refusal by the server or the client library; `None` for an error of the connection.
fn refused(error: &RedisError) -> Option<(Kind, Option<&'static str>)> {
    let known = |kind, advice| Some((kind, Some(advice)));
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => return None,
        ErrorKind::RESP3NotSupported => {
            return known(
                Kind::Misconfigured,
                "this Redis is too old: verk needs 6.2 or newer",
            );
        }
        ErrorKind::InvalidClientConfig if is_unknown_host(error) => return None,
        ErrorKind::InvalidClientConfig => return Some((Kind::Misconfigured, None)),
        ErrorKind::AuthenticationFailed => return known(Kind::NotPermitted, WRONG_PASSWORD),
        ErrorKind::MasterNameNotFoundBySentinel => return Some((Kind::Unreachable, None)),
        _ => {}
    }
    Some(of_code(
        error.code().unwrap_or_default(),
        &error.to_string(),
    ))
}

/// The meaning of an error of the server. Scripts pass such errors on as text.
pub(crate) fn of_code(code: &str, text: &str) -> (Kind, Option<&'static str>) {
    let says = |part| text.contains(part);
    match code {
        "NOAUTH" => (Kind::NotPermitted, Some(NO_PASSWORD)),
        "WRONGPASS" => (Kind::NotPermitted, Some(WRONG_PASSWORD)),
        "NOPERM" => (Kind::NotPermitted, Some(NO_RIGHT)),
        "DENIED" => (
            Kind::NotPermitted,
            Some("Redis is in protected mode and refuses other machines: give it a password"),
        ),
        "OOM" => (
            Kind::Full,
            Some("Redis has no memory left: raise its maxmemory, or let jobs be done"),
        ),
        "WRONGTYPE" => (Kind::WrongType, None),
        "READONLY" => (
            Kind::Unavailable,
            Some("this Redis is a replica and takes no changes: connect to the primary"),
        ),
        "MASTERDOWN" => (
            Kind::Unavailable,
            Some("this Redis is a replica that lost its primary: connect to the primary"),
        ),
        "LOADING" => (
            Kind::Unavailable,
            Some("Redis is loading its data: wait until it has"),
        ),
        "MISCONF" => (
            Kind::Unavailable,
            Some(
                "Redis cannot write to its disk and takes no changes: look at the disk and its log",
            ),
        ),
        "NOREPLICAS" => (
            Kind::Unavailable,
            Some("Redis has fewer replicas than min-replicas-to-write: look at the replicas"),
        ),
        "BUSY" => (
            Kind::Unavailable,
            Some("Redis runs a script of somebody that takes long: wait, or use SCRIPT KILL"),
        ),
        "QUEUEMOVED" => (Kind::Moved, Some("the queue moves")),
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN" => (
            Kind::Misconfigured,
            Some("this is a server of a cluster: its URL begins with redis+cluster"),
        ),
        _ if says("unknown command") => (
            Kind::NotPermitted,
            Some("Redis does not have a command that verk needs, or hides it (rename-command)"),
        ),
        // What a script says of a command that the user may not run.
        _ if says("The user executing the script can't") => (Kind::NotPermitted, Some(NO_RIGHT)),
        _ if says("max number of clients") => (
            Kind::Unavailable,
            Some("Redis has as many clients as it accepts: raise its maxclients"),
        ),
        _ if says("switch database") || says("DB index") => (
            Kind::Misconfigured,
            Some("Redis has no database of this number: correct the number in the URL"),
        ),
        _ => (Kind::Refused, None),
    }
}

/// What to do about a connection that could not be opened.
fn unreachable(error: &RedisError) -> Option<&'static str> {
    if is_unknown_host(error) {
        return Some(
            "the name of the host is not known: correct it in the URL, or look at the DNS",
        );
    }
    if error.kind() == ErrorKind::Parse {
        return Some(
            "what answers there does not speak Redis's protocol: correct the port in the URL (for one with TLS it begins with rediss)",
        );
    }
    Some(match io_error(error)?.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there: start Redis, or correct the URL",
        io::ErrorKind::NotFound => {
            "there is no such socket: start Redis, or correct the path in the URL"
        }
        io::ErrorKind::PermissionDenied => "this user may not open the socket of Redis",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no network leads there: correct the host in the URL, or look at the network"
        }
        io::ErrorKind::TimedOut => {
            "no answer came in time: look at the host and the port in the URL, and at the firewall"
        }
        _ => return None,
    })
}

/// The cause of a request that was sent, and got no reply.
fn no_reply(error: &RedisError) -> (Kind, Option<&'static str>) {
    match error.kind() {
        ErrorKind::Parse => (Kind::Other, Some("the reply is not in Redis's protocol")),
        _ if error.is_timeout() => (
            Kind::NoReply,
            Some("no reply came within the response time-out (redis.response_timeout)"),
        ),
        _ => (Kind::NoReply, Some("the connection ended before the reply")),
    }
}

fn is_unknown_host(error: &RedisError) -> bool {
    let text = error.to_string();
    // The system has no kind for this error; the texts are those of the standard library and of
    // redis.
    text.contains("failed to lookup address") || text.contains("No address found for host")
}

/// Which setting of TLS may be wrong.
fn tls_hint(error: &RedisError, addr: &ConnectionAddr) -> Option<&'static str> {
    const NO_TLS: &str =
        "there was no TLS handshake; for a port without TLS the URL begins with redis, not rediss";
    match addr {
        ConnectionAddr::TcpTls { .. } if error.is_timeout() => Some(NO_TLS),
        #[cfg(feature = "tls")]
        ConnectionAddr::TcpTls { .. } => match of_rustls(error)? {
            rustls::Error::InvalidCertificate(_) => Some(
                "the server's certificate was refused: an authority of redis.tls_ca must have signed it (without that setting, one that the system trusts), for the host of the URL",
            ),
            rustls::Error::AlertReceived(_) => Some(
                "the server ended the TLS handshake; it may ask for a certificate (redis.tls_cert and redis.tls_key), or not accept the one it got",
            ),
            rustls::Error::InvalidMessage(_) => Some(NO_TLS),
            _ => None,
        },
        ConnectionAddr::Tcp(..)
            if error.is_connection_dropped() && !error.is_connection_refusal() =>
        {
            Some(
                "the connection was closed before any answer; for a port with TLS the URL begins with rediss, not redis",
            )
        }
        _ => None,
    }
}

#[cfg(feature = "tls")]
/// The error of rustls, if that is the cause.
fn of_rustls(error: &RedisError) -> Option<&rustls::Error> {
    io_error(error)?.get_ref()?.downcast_ref()
}

/// The error of the system, if that is the cause.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let shared: &Arc<dyn std::error::Error + Send + Sync> = error.source()?.downcast_ref()?;
    shared.downcast_ref()
}

/// The error without the arguments that a server repeats.
fn without_arguments(error: RedisError) -> RedisError {
    match error.detail().and_then(cut_arguments) {
        Some(command) => RedisError::from((
            ErrorKind::Server(ServerErrorKind::ResponseError),
            "Redis refused a command",
            command.to_owned(),
        )),
        None => error,
    }
}

/// A server that does not know a command repeats its arguments, which may be payloads. Returns the
/// text before them; `None` if there are none.
pub(crate) fn cut_arguments(text: &str) -> Option<&str> {
    let (command, _) = text.split_once("with args beginning with")?;
    Some(command.trim_end_matches([' ', ',']))
}

const NO_RIGHT: &str =
    "the Redis user lacks a right; the guide's page on Redis lists those that verk needs";
const NO_PASSWORD: &str = "Redis needs a password: put it into the URL, redis://:password@host";
const WRONG_PASSWORD: &str = "Redis refuses the user or the password of the URL: correct them";
