//! Redis Sentinel: finds the current primary.

use std::time::Duration;

use bb8_redis::redis::{
    self, Client, ConnectionInfo, ErrorKind, RedisResult, Value, from_redis_value,
    io::tcp::TcpSettings,
};

use crate::connect::{
    directory::{self, Address, Directory},
    endpoint::invalid,
    tls::Tls,
};

const DEFAULT_PORT: u16 = 26379;

/// The Sentinels that know the primary by a name.
pub(crate) struct Sentinels {
    /// What the primary is called.
    name: String,
    directory: Directory,
}

/// The parts of a URL. They may be passwords, so `Debug` is only for tests.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct SentinelUrl {
    name: String,
    /// A URL for each Sentinel.
    sentinels: Vec<String>,
    /// A URL for the primary, with a meaningless host.
    primary: String,
}

/// Parses
/// `redis+sentinel://user:password@host:port,host:port/name/db?sentinel_user=user&sentinel_pass=password`;
/// `None` for any other scheme.
pub(crate) fn parse(url: &str) -> Option<RedisResult<SentinelUrl>> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.strip_suffix("+sentinel")?;
    Some(match scheme {
        "redis" | "rediss" => take_apart(scheme, rest),
        _ => Err(invalid("before +sentinel comes redis or rediss")),
    })
}

fn take_apart(scheme: &str, rest: &str) -> RedisResult<SentinelUrl> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
        None => (String::new(), authority),
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    let (name, db) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(invalid("the path begins with the name of the primary"));
    }
    let (mut user, mut pass) = ("", "");
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "sentinel_user" => user = value,
            "sentinel_pass" => pass = value,
            _ => {
                return Err(invalid(
                    "the query has sentinel_user and sentinel_pass only",
                ));
            }
        }
    }
    let sentinel_credentials = match (user, pass) {
        ("", "") => String::new(),
        (user, pass) => format!("{user}:{pass}@"),
    };
    Ok(SentinelUrl {
        name: name.to_owned(),
        sentinels: directory::urls(scheme, &sentinel_credentials, hosts, DEFAULT_PORT),
        primary: format!("{scheme}://{credentials}primary/{db}"),
    })
}

impl Sentinels {
    pub(crate) fn new(url: &SentinelUrl, tls: Tls, tcp: &TcpSettings) -> RedisResult<Self> {
        Ok(Self {
            name: url.name.clone(),
            directory: Directory::new(&url.sentinels, &url.primary, tls, tcp)?,
        })
    }

    /// The primary that most Sentinels name.
    pub(crate) async fn find_primary(&self, patience: Duration) -> RedisResult<Client> {
        let nobody = (
            ErrorKind::MasterNameNotFoundBySentinel,
            "no Sentinel names a primary",
        );
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let read = |answer| self.read(answer);
        self.directory.find(&question, read, nobody, patience).await
    }

    fn read(&self, answer: Value) -> RedisResult<Address> {
        let address: Option<Address> = from_redis_value(answer)?;
        address.ok_or_else(|| {
            let what = "it watches no primary of this name";
            (
                ErrorKind::MasterNameNotFoundBySentinel,
                what,
                self.name.clone(),
            )
                .into()
        })
    }

    /// For messages.
    pub(crate) fn address(&self) -> String {
        let sentinels = self.directory.addresses();
        format!("{} of the Sentinels {sentinels}", self.name)
    }

    /// How to connect to the primary, with a meaningless address.
    pub(crate) fn primary(&self) -> &ConnectionInfo {
        self.directory.named()
    }

    /// How to connect to one of the Sentinels.
    pub(crate) fn sentinel(&self) -> Option<&ConnectionInfo> {
        self.directory.asked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let full = "redis+sentinel://user:pa%40ss@one:1,[::1],three/main/2?sentinel_user=who&sentinel_pass=asks";
        assert_eq!(
            parse(full).unwrap().unwrap(),
            SentinelUrl {
                name: "main".to_owned(),
                sentinels: vec![
                    "redis://who:asks@one:1".to_owned(),
                    "redis://who:asks@[::1]:26379".to_owned(),
                    "redis://who:asks@three:26379".to_owned(),
                ],
                primary: "redis://user:pa%40ss@primary/2".to_owned(),
            }
        );
        let short = parse("rediss+sentinel://[::1]:7/main").unwrap().unwrap();
        assert_eq!(short.sentinels, ["rediss://[::1]:7"]);
        assert_eq!(short.primary, "rediss://primary/");
    }

    #[test]
    fn other_urls_are_left_alone_and_wrong_ones_refused() {
        assert!(parse("redis://host/0").is_none());
        assert!(parse("sentinel").is_none());
        for url in [
            "redis+sentinel://host",
            "redis+sentinel://host/",
            "http+sentinel://host/main",
            "redis+sentinel://host/main?db=1",
        ] {
            assert!(parse(url).unwrap().is_err(), "{url}");
        }
        for url in ["redis+sentinel:///main", "redis+sentinel://host/main/two"] {
            let config = crate::RedisConfig::new(url);
            let error = crate::connect::endpoint::Endpoint::new(&config)
                .err()
                .unwrap();
            assert!(matches!(error, crate::Error::InvalidUrl { .. }), "{url}");
        }
    }
}
