//! The storage that a command works on: [`Connection`].

use std::{env, path::PathBuf};

use clap::Args;
use serde_json::{Map, Value};
use verk_core::{Config, Verk, VerkBuilder, error::ConfigErrors};
use verk_redis::{RedisBuilderExt, RedisConfig};

use crate::failure::Failure;

/// Where the storage is: the options of the binary `verk`. What they leave open, the environment
/// says, then the file, as for a node.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Connection {
    /// The URL of Redis, without a password: others see the arguments of a process. For a URL with
    /// one, set `VERK_REDIS_URL`, or use a file
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    redis: Option<String>,
    /// The text before every key, as the programs have it that share the Redis
    #[arg(long, global = true, value_name = "TEXT", help_heading = "Connection")]
    prefix: Option<String>,
    /// A file with the settings of a node, in TOML, such as `verk.toml`
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    config: Option<PathBuf>,
    /// The table of the file in which they are, such as `verk`
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Connection",
        requires = "config"
    )]
    table: Option<String>,
}

/// The variable with the URL of the target of a migration.
const TARGET: &str = "VERK_MIGRATE_TO";

/// A setting that is in force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The name as a file has it: `max_retry_count`, `redis.url`.
    pub(crate) name: String,
    /// As JSON. Secrets are `***`.
    pub(crate) value: String,
    /// An option, a variable, a file, or `default`.
    pub(crate) source: String,
}

impl Connection {
    /// Builds a handle that runs no queue.
    pub(crate) async fn connect(&self) -> Result<Verk, Failure> {
        let (config, redis) = self.read()?;
        let mut builder = Verk::builder().config(config).redis(redis);
        // How many dead jobs are kept is the nodes' to say: a `kill` must not cut them.
        if !self.sets("max_dead_jobs")? {
            builder = builder.max_dead_jobs(usize::MAX);
        }
        node_free(builder).await
    }

    /// Builds a handle for another Redis, with the same other settings.
    pub(crate) async fn connect_to(&self, url: &str) -> Result<Verk, Failure> {
        let other = Self {
            redis: Some(url.to_owned()),
            ..self.clone()
        };
        other.connect().await
    }

    /// Builds a handle for the target of a migration: this URL, or that of the variable, which may
    /// have a password. Without a prefix it has that of the source. The number of cells is that of
    /// the URL.
    pub(crate) async fn connect_target(
        &self,
        url: Option<&str>,
        prefix: Option<&str>,
    ) -> Result<Verk, Failure> {
        let (config, redis) = self.read()?;
        let mut redis = redis.cells(None);
        redis = match (url, env::var(TARGET)) {
            (Some(url), _) => {
                let url = without_password(url).map_err(|_| {
                    Failure::usage(format!(
                        "--to has a user or a password, which others would see in the list of processes: set {TARGET}"
                    ))
                })?;
                url.merge_into(redis)
            }
            (None, Ok(url)) => redis.url(url),
            (None, Err(_)) => {
                return Err(Failure::usage(format!(
                    "say where to: --to URL, such as --to redis://other:6379, or {TARGET}"
                )));
            }
        };
        if let Some(prefix) = prefix {
            redis = redis.prefix(prefix.to_owned());
        }
        let builder = Verk::builder().config(config).redis(redis);
        node_free(builder.max_dead_jobs(usize::MAX)).await
    }

    fn read(&self) -> Result<(Config, RedisConfig), Failure> {
        let (config, redis) = self.of_file()?;
        let config = config.with_env().map_err(of_config)?;
        let mut redis = redis.with_env().map_err(of_config)?;
        if let Some(url) = &self.redis {
            redis = without_password(url)?.merge_into(redis);
        }
        if let Some(prefix) = &self.prefix {
            redis = redis.prefix(prefix.clone());
        }
        Ok((config, redis))
    }

    fn of_file(&self) -> Result<(Config, RedisConfig), Failure> {
        let Some(file) = &self.config else {
            return Ok(Default::default());
        };
        let read = || -> Result<_, ConfigErrors> {
            Ok(match &self.table {
                Some(table) => (
                    Config::from_table(file, table)?,
                    RedisConfig::from_table(file, table)?,
                ),
                None => (Config::from_file(file)?, RedisConfig::from_file(file)?),
            })
        };
        read().map_err(of_config)
    }

    /// Whether a file or the environment sets this field.
    fn sets(&self, name: &str) -> Result<bool, Failure> {
        let (of_file, _) = self.of_file()?;
        let in_file = object(&of_file).get(name) != object(&Config::default()).get(name);
        Ok(in_file || variable("", name).is_some())
    }

    /// All settings, and where each comes from.
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, Failure> {
        let (config, redis) = self.read()?;
        let (config_of_file, redis_of_file) = self.of_file()?;
        let file = self.config.as_ref();
        let file = file.map_or_else(String::new, |file| file.display().to_string());
        let mut settings = Vec::new();
        let layers = [
            (
                "",
                object(&Config::default()),
                object(&config_of_file),
                object(&config),
            ),
            (
                "redis.",
                object(&RedisConfig::default()),
                object(&redis_of_file),
                object(&redis),
            ),
        ];
        for (table, default, of_file, in_force) in layers {
            for (name, value) in in_force {
                let variable = variable(table, &name);
                let source = match (&*format!("{table}{name}"), variable) {
                    ("redis.url", _) if self.redis.is_some() => "--redis".to_owned(),
                    ("redis.prefix", _) if self.prefix.is_some() => "--prefix".to_owned(),
                    (_, Some(variable)) => variable,
                    _ if of_file.get(&name) != default.get(&name) => file.clone(),
                    _ => "default".to_owned(),
                };
                settings.push(Setting {
                    name: format!("{table}{name}"),
                    value: value.to_string(),
                    source,
                });
            }
        }
        Ok(settings)
    }
}

/// The variable that sets this field, if there is one.
fn variable(table: &str, name: &str) -> Option<String> {
    let of_table = table.replace('.', "_");
    let mut names = vec![format!("VERK_{of_table}{name}").to_uppercase()];
    if (table, name) == ("redis.", "url") {
        names.push("REDIS_URL".to_owned());
    }
    names.into_iter().find(|name| env::var_os(name).is_some())
}

fn object(settings: &impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// A URL that may stand in an argument.
struct PublicUrl(String);

impl PublicUrl {
    fn merge_into(self, redis: RedisConfig) -> RedisConfig {
        redis.url(self.0)
    }
}

/// A URL without a user and a password: the settings show exactly such a URL as it is.
fn without_password(url: &str) -> Result<PublicUrl, Failure> {
    let shown = object(&RedisConfig::new(url));
    if shown.get("url").and_then(Value::as_str) == Some(url) {
        return Ok(PublicUrl(url.to_owned()));
    }
    Err(Failure::usage(
        "--redis has a user or a password, which others would see in the list of processes: set VERK_REDIS_URL, or put it into a file for --config",
    ))
}

fn of_config(errors: ConfigErrors) -> Failure {
    Failure::Usage(errors.to_string())
}

/// Builds a handle that registers no node, whatever queues the builder has.
pub(crate) async fn node_free(builder: VerkBuilder) -> Result<Verk, Failure> {
    Ok(builder.disabled(true).build().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(redis: &str) -> Connection {
        Connection {
            redis: Some(redis.to_owned()),
            ..Connection::default()
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for url in [
            "redis://user:hunter2@host:6379/0",
            "rediss://:hunter2@host",
            "redis+unix:///run/redis.sock?pass=hunter2",
            "redis+sentinel://a,b/name?sentinel_pass=hunter2",
            "redis+cluster://:hunter2@a,b",
        ] {
            let error = connection(url).read().unwrap_err();
            assert_eq!(error.exit(), 2);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(connection("redis://host:6379/0").read().is_ok());
        assert!(connection("redis+unix:///run/redis.sock").read().is_ok());
        let cells = connection("redis+cluster://a,b/?cells=16");
        assert!(cells.read().is_ok());
    }

    #[test]
    fn a_setting_says_where_it_comes_from() {
        let settings = connection("redis://host:1").settings().unwrap();
        let named = |name: &str| {
            settings
                .iter()
                .find(|setting| setting.name == name)
                .unwrap()
        };
        let url = named("redis.url");
        assert_eq!(
            (&*url.value, &*url.source),
            ("\"redis://host:1\"", "--redis")
        );
        assert_eq!(named("max_retry_count").source, "default");
    }
}
