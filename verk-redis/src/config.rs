//! Where Redis is and how to talk to it: [`RedisConfig`].

use std::{env, fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize, Serializer};
use verk_core::{
    ConfigErrors, ScheduleKeys,
    config_file::{self, duration},
    log,
};

/// The settings of a file that are for Redis.
const FIELDS: &[&str] = &[
    "redis_url",
    "redis_pool_size",
    "redis_blocking_connections",
    "redis_connect_timeout",
    "redis_response_timeout",
    "redis_tls_ca",
    "redis_tls_cert",
    "redis_tls_key",
];

/// The variables of the environment that are for Redis.
const VARIABLES: &[&str] = &[
    "VERK_REDIS_URL",
    "VERK_REDIS_TLS_CA",
    "VERK_REDIS_TLS_CERT",
    "VERK_REDIS_TLS_KEY",
];

/// What [`RedisStorage::connect`](crate::RedisStorage::connect) needs to know.
///
/// Neither its `Debug` nor its `Serialize` shows a password or a key.
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
#[derive(Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct RedisConfig {
    #[serde(rename = "redis_url", serialize_with = "serialize_redacted")]
    pub(crate) url: String,
    /// In a file, it is for the node's configuration.
    #[serde(skip)]
    pub(crate) prefix: Option<String>,
    /// As the prefix.
    #[serde(skip)]
    pub(crate) schedule_keys: Option<ScheduleKeys>,
    #[serde(rename = "redis_pool_size")]
    pub(crate) pool_size: u32,
    #[serde(rename = "redis_blocking_connections")]
    pub(crate) blocking_connections: usize,
    #[serde(rename = "redis_connect_timeout", with = "duration")]
    pub(crate) connect_timeout: Duration,
    #[serde(rename = "redis_response_timeout", with = "duration")]
    pub(crate) response_timeout: Duration,
    #[serde(rename = "redis_tls_ca", skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<String>,
    #[serde(rename = "redis_tls_cert", skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<String>,
    #[serde(
        rename = "redis_tls_key",
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_key"
    )]
    pub(crate) tls_key: Option<String>,
}

impl RedisConfig {
    /// A configuration for the server at `url`:
    ///
    /// - `redis://user:password@host:6379/0`, where the path is the number of the database;
    /// - `rediss://...`, the same with TLS (feature `tls`);
    /// - `redis+unix:///path/to/socket?db=0&user=user&pass=password`, a unix socket;
    /// - `redis+sentinel://user:password@host1:26379,host2:26379/name/0`, the primary that these Sentinels know by `name`;
    ///   `rediss+sentinel://...` speaks TLS with all of them. User and password are for the primary; `?sentinel_user=user&sentinel_pass=password`
    ///   are for the Sentinels. The port of a Sentinel defaults to 26379.
    ///
    /// What is special in a URL (`@ : / ? # %`) is percent-encoded in a user or password.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: None,
            schedule_keys: None,
            pool_size: 4,
            blocking_connections: 16,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
        }
    }

    /// The server at `VERK_REDIS_URL`, else at `REDIS_URL`, else at `redis://127.0.0.1:6379`.
    pub fn from_env() -> Self {
        Self::default().with_env()
    }

    /// Changes the server to that at `VERK_REDIS_URL`, else to that at `REDIS_URL`, if there is one of them, and the certificates to those
    /// of `VERK_REDIS_TLS_CA`, `VERK_REDIS_TLS_CERT` and `VERK_REDIS_TLS_KEY`. Other names that begin with `VERK_REDIS_` are warned of.
    pub fn with_env(mut self) -> Self {
        for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
            if name.starts_with("VERK_REDIS_") && !VARIABLES.contains(&name.as_str()) {
                let known = VARIABLES.join(", ");
                log::warn!("no setting of verk is called {name}; there are {known}");
            }
        }
        for (setting, name) in [
            (&mut self.tls_ca, "VERK_REDIS_TLS_CA"),
            (&mut self.tls_cert, "VERK_REDIS_TLS_CERT"),
            (&mut self.tls_key, "VERK_REDIS_TLS_KEY"),
        ] {
            if let Ok(value) = env::var(name) {
                *setting = Some(value);
            }
        }
        if let Ok(url) = env::var("VERK_REDIS_URL").or_else(|_| env::var("REDIS_URL")) {
            self.url = url;
        }
        self
    }

    /// The defaults, changed by a TOML file, which may be that of the node's [`Config`](verk_core::Config): reads `redis_url`,
    /// `redis_pool_size`, `redis_blocking_connections`, `redis_connect_timeout`, `redis_response_timeout`, `redis_tls_ca`, `redis_tls_cert` and
    /// `redis_tls_key`, and no other settings. The prefix and the schedule keys are the node's.
    ///
    /// ```no_run
    /// use verk_core::{Config, Verk};
    /// use verk_redis::{RedisBuilderExt, RedisConfig};
    ///
    /// # fn example() -> Result<(), verk_core::ConfigErrors> {
    /// let builder = Verk::builder()
    ///     .config(Config::from_file("verk.toml")?.with_env()?)
    ///     .redis(RedisConfig::from_file("verk.toml")?.with_env());
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and every setting of Redis that does not parse or that there is none of, with its place.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        config_file::read(path.as_ref(), Self::from_toml)
    }

    /// As [`from_file`](Self::from_file), from the text of such a file.
    ///
    /// # Errors
    ///
    /// Every setting of Redis that does not parse or that there is none of, with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        config_file::parse(text, FIELDS, |field| field.starts_with("redis_"))
    }

    /// Puts `prefix` and a colon before every key, so that several programs can share one database
    /// without seeing each other. Sidekiq and Elixir's Verk then need the same. Defaults to none.
    pub fn prefix(mut self, prefix: impl Into<Option<String>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// In which sets jobs wait for their time. Defaults to [`ScheduleKeys::Shared`].
    pub fn schedule_keys(mut self, schedule_keys: impl Into<Option<ScheduleKeys>>) -> Self {
        self.schedule_keys = schedule_keys.into();
        self
    }

    /// How many connections are kept for all that is answered at once, in each tokio runtime that uses the storage. Each can carry many requests at once. At least 1. Defaults to 4.
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
    ///
    /// While the server refuses connections, an enqueue waits for so long before it fails, with nothing
    /// stored. A web server that only enqueues may want less, such as 500 ms.
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

    /// The authority that signed the server's certificate, as PEM or as the path of a PEM file, which may hold several: these are
    /// trusted, and no others. Defaults to those that the system trusts. Needs the feature `tls` and a `rediss` URL.
    ///
    /// There is no setting that skips the check of a certificate.
    pub fn tls_ca(mut self, ca: impl Into<String>) -> Self {
        self.tls_ca = Some(ca.into());
        self
    }

    /// The certificate, with its chain, and the key that this client shows to a server that asks for them, each as PEM or as the
    /// path of a PEM file. Defaults to none. Needs the feature `tls` and a `rediss` URL.
    pub fn tls_client(mut self, cert: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls_cert = Some(cert.into());
        self.tls_key = Some(key.into());
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
            .field("schedule_keys", &self.schedule_keys)
            .field("pool_size", &self.pool_size)
            .field("blocking_connections", &self.blocking_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("tls_ca", &self.tls_ca)
            .field("tls_cert", &self.tls_cert)
            .field("tls_key", &self.tls_key.as_ref().map(|_| "***"))
            .finish()
    }
}

fn serialize_redacted<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&redacted(url))
}

fn serialize_key<S: Serializer>(key: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    key.as_ref().map(|_| "***").serialize(serializer)
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
            (
                "redis+sentinel://:secret@a,b:1/name/2?sentinel_pass=secret",
                "redis+sentinel://***@a,b:1/name/2?***",
            ),
        ] {
            assert_eq!(redacted(url), shown);
            let debug = format!("{:?}", RedisConfig::new(url));
            assert!(!debug.contains("secret"), "{debug}");
            let json = serde_json::to_value(RedisConfig::new(url)).unwrap();
            assert_eq!(json["redis_url"], shown);
        }
    }

    #[test]
    fn no_key_is_shown() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nsecret",
            // A key in a wrong form looks like a path.
            "secret",
        ] {
            let config = RedisConfig::new("rediss://host").tls_client("cert.pem", key);
            let debug = format!("{config:?}");
            assert!(
                debug.contains("cert.pem") && !debug.contains("secret"),
                "{debug}"
            );
            let json = serde_json::to_value(config).unwrap();
            assert_eq!(json["redis_tls_key"], "***");
        }
    }

    #[test]
    fn a_file_is_shared_with_the_node() {
        let text = "heartbeat = \"5s\"\nredis_url = \"redis://:secret@host\"\nredis_pool_size = 2\nredis_connect_timeout = \"1s\"\nredis_response_timeout = \"2s\"\nprefix = \"shop\"\n";
        let config = RedisConfig::from_toml(text).unwrap();
        assert_eq!(config.url, "redis://:secret@host");
        assert_eq!(config.pool_size, 2);
        assert_eq!(config.connect_timeout, Duration::from_secs(1));
        assert_eq!(config.response_timeout, Duration::from_secs(2));
        let node = verk_core::Config::from_toml(text).unwrap();
        assert_eq!(node.heartbeat, Duration::from_secs(5));
    }

    #[test]
    fn mistakes_in_a_file_show_no_password() {
        for (text, start) in [
            (
                "redis_ulr = \"redis://:secret@host\"",
                "line 1, column 1: redis_ulr: no such field; did you mean redis_url?",
            ),
            ("\nredis_url = \"redis://:secret@host", "line 2, column "),
            ("redis_url = redis://:secret@host", "line 1, column "),
            (
                "redis_url = [\"redis://:secret@host\"]",
                "line 1, column 13: redis_url: invalid type",
            ),
            (
                "redis_pool_size = \"2\"",
                "line 1, column 19: redis_pool_size: ",
            ),
        ] {
            let error = RedisConfig::from_toml(text).unwrap_err();
            let (error, debug) = (error.to_string(), format!("{:?}", error.as_slice()));
            assert!(error.starts_with(start), "{error}");
            assert!(
                !error.contains("secret") && !debug.contains("secret"),
                "{debug}"
            );
        }
    }
}
