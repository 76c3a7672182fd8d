//! The settings: one TOML file, and variables of the environment that beat it.

use std::{env, fs, time::Duration};

use anyhow::Context;
use serde::Deserialize;
use verk::{Config, redis::RedisConfig};

/// The settings of the shop. Those of verk are in the table `verk` of the same file.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    /// The address of the web service.
    pub listen: String,
    /// The address where a worker answers probes and serves metrics.
    pub ops_listen: String,
    /// The URL of the SQLite database.
    pub database: String,
    /// The URL that is called for each paid order.
    pub warehouse_url: String,
    cart_lifetime_seconds: u64,
    #[serde(skip)]
    path: String,
}

impl Settings {
    /// Reads the file that `SHOP_CONFIG` names, or the `shop.toml` of this crate, and then the
    /// environment.
    pub fn load() -> anyhow::Result<Self> {
        let path = env::var("SHOP_CONFIG")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/shop.toml").to_owned());
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
        let mut settings: Self =
            toml::from_str(&text).with_context(|| format!("failed to parse {path}"))?;
        settings.path = path;
        for (name, field) in [
            ("SHOP_LISTEN", &mut settings.listen),
            ("SHOP_OPS_LISTEN", &mut settings.ops_listen),
            ("SHOP_DATABASE", &mut settings.database),
            ("SHOP_WAREHOUSE_URL", &mut settings.warehouse_url),
        ] {
            if let Ok(value) = env::var(name) {
                *field = value;
            }
        }
        Ok(settings)
    }

    /// The table `verk`, and the variables `VERK_...`.
    pub fn verk(&self) -> anyhow::Result<Config> {
        Ok(Config::from_table(&self.path, "verk")?.with_env()?)
    }

    /// The table `verk.redis`, and the variables `VERK_REDIS_...` and `REDIS_URL`.
    pub fn redis(&self) -> anyhow::Result<RedisConfig> {
        Ok(RedisConfig::from_table(&self.path, "verk")?.with_env()?)
    }

    /// How long a cart lives without being used.
    pub fn cart_lifetime(&self) -> Duration {
        Duration::from_secs(self.cart_lifetime_seconds)
    }
}
