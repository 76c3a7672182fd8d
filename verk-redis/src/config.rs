//! The address of Redis, and how to use it: [`RedisConfig`].

mod secret;

use std::{collections::BTreeMap, env, ffi::OsString, path::Path, time::Duration};

use verk_core::{
    config::ScheduleKeys,
    error::ConfigErrors,
    settings::{self, duration},
    settings_methods, settings_struct,
};

pub(crate) use secret::redacted;
use secret::{Secret, Url};

/// Calls the macro `then` with the settings of Redis. verk-core's `config/settings.rs` explains the
/// entries.
macro_rules! settings_of_redis {
    ($then:ident! $($before:tt)*) => {
        $then! {
            $($before)*

            /// Where the server is; see [`new`](RedisConfig::new).
            url: Url = Url::from("redis://127.0.0.1:6379"),
                set by (url: impl Into<String>) Url::from(url);

            /// Over how many slots of a cluster the queues are spread, at most 256. Each slot is a
            /// [cell](verk_core::cells), a complete storage on one primary. 2, 4, 8, ... of them
            /// are spread evenly. All programs need the same number. The URL may have it instead,
            /// as `?cells=16`. Without it, and with 1, all keys are in the slot of the prefix.
            cells: Option<usize> = None,
                set by (cells: impl Into<Option<usize>>) cells.into();

            /// How many connections carry all commands that do not wait, in each tokio runtime that
            /// uses the storage. Each can carry many requests at once. At least 1. With
            /// [`cells`](Self::cells), half as many, rounded up, go to each primary, for all of its
            /// cells.
            pool_size: u32 = 4;

            /// How many idle queues of a node wait for their next job on a connection of their own,
            /// so that the job starts within a round trip: those that had a job last. If a node has
            /// more queues, the others share one poll, so a job of a quiet queue may start 250 ms
            /// later. Connections are opened when they are needed. With 0 all queues share the
            /// poll.
            blocking_connections: usize = 16;

            /// How long an operation waits for a connection before it fails.
            ///
            /// While the server refuses connections, an enqueue fails after this time, and nothing
            /// is stored. A web server that only enqueues may need less, such as 500 ms. For as
            /// long, a request is sent again that no server of a cluster has taken.
            #[serde(with = "duration")]
            connect_timeout: Duration = Duration::from_secs(5);

            /// How long an operation waits for a reply before it gives up the connection. If the
            /// operation itself waits on purpose, that time is added.
            #[serde(with = "duration")]
            response_timeout: Duration = Duration::from_secs(5);

            /// The authority that signed the server's certificate, as PEM or as the path of a PEM
            /// file, which may have several. Only these are trusted. Without it, those are trusted
            /// that the system trusts. Needs the feature `tls` and a `rediss` URL.
            ///
            /// No setting skips the check of a certificate.
            tls_ca: Option<String> = None,
                set by (ca: impl Into<String>) Some(ca.into());

            /// The certificate that this client shows to a server that asks for one, with its
            /// chain, as PEM or as the path of a PEM file. Needs a [`tls_key`](Self::tls_key), the
            /// feature `tls` and a `rediss` URL.
            tls_cert: Option<String> = None,
                set by (cert: impl Into<String>) Some(cert.into());

            /// The key of [`tls_cert`](Self::tls_cert), as PEM or as the path of a PEM file.
            tls_key: Option<Secret> = None,
                set by (key: impl Into<String>) Some(Secret::from(key));

            /// The text before every key, with a colon, so that several programs can share one
            /// database without seeing each other. Sidekiq and Elixir's Verk then need the same.
            /// Without it, the prefix of the node's configuration is used.
            prefix: Option<String> = None,
                set by (prefix: impl Into<Option<String>>) prefix.into();

            /// The sets in which jobs wait for their time. Without it, those of the node's
            /// configuration.
            schedule_keys: Option<ScheduleKeys> = None,
                set by (schedule_keys: impl Into<Option<ScheduleKeys>>) schedule_keys.into();
        }
    };
}

settings_of_redis! {
    settings_struct!

    /// The settings for [`RedisStorage::connect`](crate::RedisStorage::connect).
    ///
    /// Neither its `Debug` nor its `Serialize` shows a password or a key. serde reads the fields of
    /// the table `[redis]` of a file. A parser may print a line of the file in its errors;
    /// [`from_file`](Self::from_file) and [`from_table`](Self::from_table) do not.
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
    #[must_use]
    pub struct RedisConfig, in Some("redis"), fields(pub(crate));
}

settings_of_redis! {
    settings_methods!

    impl RedisConfig [];
}

impl RedisConfig {
    /// A configuration for the server at `url`:
    ///
    /// - `redis://user:password@host:6379/0`, where the path is the number of the database;
    /// - `rediss://...`, the same with TLS (feature `tls`);
    /// - `redis+unix:///path/to/socket?db=0&user=user&pass=password`, a unix socket;
    /// - `redis+sentinel://user:password@host1:26379,host2:26379/name/0`, the primary that these
    ///   Sentinels know by `name`; `rediss+sentinel://...` uses TLS with all of them. User and
    ///   password are for the primary; `?sentinel_user=user&sentinel_pass=password` are for the
    ///   Sentinels. The port of a Sentinel defaults to 26379;
    /// - `redis+cluster://user:password@host1:6379,host2:6379`, a Redis Cluster or Valkey Cluster
    ///   of which these are some servers; `rediss+cluster://...` uses TLS with all of them. All
    ///   keys are in one slot, so the [prefix](Self::prefix) needs a hash tag, such as `{shop}`;
    ///   or they are in several, with `?cells=16` at the end or [`cells`](Self::cells).
    ///
    /// Percent-encode the characters `@ : / ? # %` in a user or password.
    pub fn new(url: impl Into<String>) -> Self {
        Self::default().url(url)
    }

    /// Returns the defaults, changed by the environment: see [`with_env`](Self::with_env).
    ///
    /// # Errors
    ///
    /// As [`with_env`](Self::with_env).
    pub fn from_env() -> Result<Self, ConfigErrors> {
        Self::default().with_env()
    }

    /// Changes the settings that `VERK_REDIS_...` environment variables have: the variable of
    /// `pool_size` is `VERK_REDIS_POOL_SIZE`, and so on. The server is that at `VERK_REDIS_URL`,
    /// else that at `REDIS_URL`. Other names that begin with `VERK_REDIS_` cause a warning.
    ///
    /// # Errors
    ///
    /// Every value that does not parse, with the variable and the accepted values.
    pub fn with_env(self) -> Result<Self, ConfigErrors> {
        self.with_vars(env::vars_os())
    }

    fn with_vars(
        self,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        let mut vars: BTreeMap<_, _> = vars.into_iter().collect();
        if let Some(url) = vars.remove(&OsString::from("REDIS_URL")) {
            vars.entry("VERK_REDIS_URL".into()).or_insert(url);
        }
        settings::change(self, vars)
    }

    /// Returns the defaults, changed by the table `[redis]` of a TOML file, which may be that of
    /// the node's [`Config`](verk_core::Config).
    ///
    /// ```no_run
    /// use verk_core::{Config, Verk};
    /// use verk_redis::{RedisBuilderExt, RedisConfig};
    ///
    /// # fn example() -> Result<(), verk_core::error::ConfigErrors> {
    /// let builder = Verk::builder()
    ///     .config(Config::from_file("verk.toml")?.with_env()?)
    ///     .redis(RedisConfig::from_file("verk.toml")?.with_env()?);
    /// # drop(builder);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the file cannot be read, and every field of the table that does not parse or is
    /// unknown, with its place. No message shows a password.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        settings::read(path.as_ref(), None)
    }

    /// As [`from_file`](Self::from_file), where verk's settings are in a table of a file that has
    /// the program's own settings too: with `"verk"`, reads `[verk.redis]`. See
    /// [`Config::from_table`](verk_core::Config::from_table).
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file), and when there is no table `table`.
    pub fn from_table(path: impl AsRef<Path>, table: &str) -> Result<Self, ConfigErrors> {
        settings::read(path.as_ref(), Some(table))
    }

    /// As [`from_file`](Self::from_file), from the text of such a file.
    ///
    /// # Errors
    ///
    /// Every field of the table that does not parse or is unknown, with its place.
    pub fn from_toml(text: &str) -> Result<Self, ConfigErrors> {
        settings::parse(text, None)
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
            ("redis+cluster://:secret@a,b:1", "redis+cluster://***@a,b:1"),
            (
                "redis+cluster://:secret@a,b:1/?cells=16",
                "redis+cluster://***@a,b:1/?cells=16",
            ),
            ("redis+cluster://a/?cells=secret", "redis+cluster://a/?***"),
            (
                "redis+cluster://a/?cells=16&secret",
                "redis+cluster://a/?***",
            ),
            ("redis://a/?cells=16", "redis://a/?***"),
        ] {
            assert_eq!(redacted(url), shown);
            let debug = format!("{:?}", RedisConfig::new(url));
            assert!(!debug.contains("secret"), "{debug}");
            let json = serde_json::to_value(RedisConfig::new(url)).unwrap();
            assert_eq!(json["url"], shown);
        }
    }

    #[test]
    fn no_key_is_shown() {
        for key in [
            "-----BEGIN PRIVATE KEY-----\nsecret",
            // A key in a wrong form looks like a path.
            "secret",
        ] {
            let config = RedisConfig::new("rediss://host")
                .tls_cert("cert.pem")
                .tls_key(key);
            let debug = format!("{config:?}");
            assert!(
                debug.contains("cert.pem") && !debug.contains("secret"),
                "{debug}"
            );
            let json = serde_json::to_value(config).unwrap();
            assert_eq!(json["tls_key"], "***");
        }
    }

    #[test]
    fn a_file_is_shared_with_the_node() {
        let text = r#"
            heartbeat = "5s"
            prefix = "shop"

            [redis]
            url = "redis://:secret@host"
            pool_size = 2
            connect_timeout = "1s"
            response_timeout = "2s"
        "#;
        let config = RedisConfig::from_toml(text).unwrap();
        assert_eq!(&*config.url, "redis://:secret@host");
        assert_eq!(config.prefix, None);
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
                "redis.ulr = \"redis://:secret@host\"",
                "line 1, column 7: redis.ulr: no such field; did you mean url?",
            ),
            ("\nredis.url = \"redis://:secret@host", "line 2, column "),
            ("redis.url = redis://:secret@host", "line 1, column "),
            (
                "[redis]\nurl = [\"redis://:secret@host\"]",
                "line 2, column 7: redis.url must be a URL such as",
            ),
            (
                "[redis]\npool_size = \"redis://:secret@host\"",
                "line 2, column 13: redis.pool_size must be a whole number",
            ),
            (
                "redis = \"redis://:secret@host\"",
                "line 1, column 9: redis must be a table",
            ),
            (
                "[redis]\nurl = \"redis://:secret@host\"\nurl = 1",
                "line 3, column 1: ",
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

    #[test]
    fn the_environment_shows_no_password() {
        let config = |vars: &[(&str, &str)]| {
            let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
            RedisConfig::default().with_vars(vars)
        };
        let url = ("REDIS_URL", "redis://elsewhere");
        assert_eq!(&*config(&[url]).unwrap().url, "redis://elsewhere");
        let ours = ("VERK_REDIS_URL", "redis://here");
        assert_eq!(&*config(&[url, ours]).unwrap().url, "redis://here");
        let pool = ("VERK_REDIS_POOL_SIZE", "8");
        assert_eq!(config(&[pool]).unwrap().pool_size, 8);
        let error = config(&[("VERK_REDIS_POOL_SIZE", "many")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"VERK_REDIS_POOL_SIZE is "many"; accepted: a whole number, not negative"#
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_password_that_is_no_text_is_not_shown() {
        use std::os::unix::ffi::OsStringExt as _;

        let url = OsString::from_vec(b"redis://:secret\xff@host".to_vec());
        let error = RedisConfig::default()
            .with_vars([("VERK_REDIS_URL".into(), url)])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "VERK_REDIS_URL is ***; accepted: a URL such as redis://127.0.0.1:6379"
        );
    }
}
