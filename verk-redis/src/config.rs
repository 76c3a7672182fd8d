//! Where Redis is and how to talk to it: [`RedisConfig`].

use std::{env, fmt, time::Duration};

/// What [`RedisStorage::connect`](crate::RedisStorage::connect) needs to know.
///
/// Its `Debug` shows no password.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use verk_redis::RedisConfig;
///
/// let config = RedisConfig::new("redis://user:secret@redis.internal:6379/2")
///     .prefix("shop".to_owned())
///     .response_timeout(Duration::from_secs(10));
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisConfig {
    pub(crate) url: String,
    pub(crate) prefix: Option<String>,
    pub(crate) pool_size: u32,
    pub(crate) blocking_connections: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
}

impl RedisConfig {
    /// A configuration for the server at `url`, such as `redis://user:password@host:6379/0`, or
    /// `redis+unix:///path/to/socket?db=0&user=user&pass=password` for a unix socket.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: None,
            pool_size: 4,
            blocking_connections: 16,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
        }
    }

    /// The server at `VERK_REDIS_URL`, else at `REDIS_URL`, else at `redis://127.0.0.1:6379`.
    pub fn from_env() -> Self {
        let url = env::var("VERK_REDIS_URL").or_else(|_| env::var("REDIS_URL"));
        url.map_or_else(|_| Self::default(), Self::new)
    }

    /// Puts `prefix` and a colon before every key, so that several programs can share one database
    /// without seeing each other. Sidekiq and Elixir's Verk then need the same. Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<Option<String>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How many connections are kept for all that is answered at once. Each can carry many requests at once. At least 1. Defaults to 4.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// How many idle queues of a node wait for their next job on a connection of their own, so that it starts within a round
    /// trip: those that had a job last. When a node has more queues, the others share one look, so a job of one that was quiet
    /// may start 250 ms later. Connections are opened as they are needed. Defaults to 16; 0 lets all queues share the look.
    pub fn blocking_connections(mut self, connections: usize) -> Self {
        self.blocking_connections = connections;
        self
    }

    /// How long to wait for a connection before an operation fails. Defaults to 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long to wait for a reply (beyond the time that was asked for, where an operation waits on
    /// purpose) before the connection is given up. Defaults to 5 seconds.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }
}

impl Default for RedisConfig {
    /// The server at `redis://127.0.0.1:6379`.
    fn default() -> Self {
        Self::new("redis://127.0.0.1:6379")
    }
}

impl From<&str> for RedisConfig {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl From<String> for RedisConfig {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &redacted(&self.url))
            .field("prefix", &self.prefix)
            .field("pool_size", &self.pool_size)
            .field("blocking_connections", &self.blocking_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .finish()
    }
}

/// `url` without anything that may be a password, also for a text that is not quite a URL.
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A password may hold any character, so the credentials end at the last `@`. Unless that is in the query,
    // where a unix socket has its password: then nothing is sure.
    let (credentials, rest) = match rest.rsplit_once('@') {
        Some((before, _)) if before.contains('?') => ("***", ""),
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let (place, query) = match rest.split_once(['?', '#']) {
        Some((place, _)) => (place, "?***"),
        None => (rest, ""),
    };
    format!("{scheme}{credentials}{place}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:secret@host:1/2", "redis://***@host:1/2"),
            ("redis://user:secret@host", "redis://***@host"),
            ("redis://user:sec@ret/secret@host", "redis://***@host"),
            ("redis://user:sec?ret@host", "redis://***"),
            ("user:secret@host", "***@host"),
            (
                "redis+unix:///run/redis.sock?db=1&pass=secret",
                "redis+unix:///run/redis.sock?***",
            ),
            (
                "redis+unix:///run/redis.sock?pass=a@secret",
                "redis+unix://***",
            ),
        ] {
            assert_eq!(redacted(url), shown);
            let debug = format!("{:?}", RedisConfig::new(url));
            assert!(!debug.contains("secret"), "{debug}");
        }
    }
}
