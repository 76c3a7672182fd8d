//! Redis Sentinel: finds the current primary.
//!
//! A connection asks once, and no answer is kept: when a broken connection is opened again, it asks
//! again.

use std::{collections::HashMap, time::Duration};

use bb8_redis::redis::{
    self, AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError,
    RedisResult, Value, aio::ConnectionLike, from_redis_value, io::tcp::TcpSettings,
};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::{
    connect::{
        endpoint::{invalid, parse as parse_server, with_push_messages},
        tls::Tls,
    },
    error::cause::Cause,
};

const DEFAULT_PORT: u16 = 26379;

/// The Sentinels that know the primary by a name.
pub(crate) struct Sentinels {
    /// What the primary is called.
    name: String,
    sentinels: Vec<Client>,
    /// Everything that is known of the primary, with a meaningless address.
    primary: ConnectionInfo,
    tls: Tls,
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
    let sentinels = hosts.split(',').map(|host| {
        // Behind the brackets of an IPv6 address.
        let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
        let port = if has_port {
            String::new()
        } else {
            format!(":{DEFAULT_PORT}")
        };
        format!("{scheme}://{sentinel_credentials}{host}{port}")
    });
    Ok(SentinelUrl {
        name: name.to_owned(),
        sentinels: sentinels.collect(),
        primary: format!("{scheme}://{credentials}primary/{db}"),
    })
}

impl Sentinels {
    pub(crate) fn new(url: &SentinelUrl, tls: Tls, tcp: &TcpSettings) -> RedisResult<Self> {
        let sentinels = url.sentinels.iter();
        let sentinels = sentinels.map(|url| tls.client(parse_server(url, tcp)?));
        Ok(Self {
            name: url.name.clone(),
            sentinels: sentinels.collect::<RedisResult<_>>()?,
            primary: with_push_messages(parse_server(&url.primary, tcp)?),
            tls,
        })
    }

    /// The primary that most Sentinels name, because a Sentinel that is cut off may still name the
    /// old one. All are asked at once, for no longer than `patience`.
    pub(crate) async fn find_primary(&self, patience: Duration) -> RedisResult<Client> {
        let asked = self.sentinels.iter();
        let mut answers: FuturesUnordered<_> =
            asked.map(|sentinel| self.ask(sentinel, patience)).collect();
        let mut votes: HashMap<(String, u16), usize> = HashMap::new();
        let mut failures = Vec::new();
        while let Some((sentinel, answer)) = answers.next().await {
            match answer {
                Ok(address) => {
                    let count = votes.entry(address.clone()).or_default();
                    *count += 1;
                    if *count * 2 > self.sentinels.len() {
                        return self.client(address);
                    }
                }
                Err(error) => {
                    let addr = sentinel.get_connection_info().addr();
                    let cause = Cause::of_connecting(error, Some(addr));
                    failures.push(format!("{}: {cause}", address_of(sentinel)));
                }
            }
        }
        match votes.into_iter().max_by_key(|(_, count)| *count) {
            Some((address, _)) => self.client(address),
            None => Err(RedisError::from((
                ErrorKind::MasterNameNotFoundBySentinel,
                "no Sentinel names a primary",
                failures.join("; "),
            ))),
        }
    }

    async fn ask<'a>(
        &self,
        sentinel: &'a Client,
        patience: Duration,
    ) -> (&'a Client, RedisResult<(String, u16)>) {
        // Two steps share the patience.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(patience / 2))
            .set_response_timeout(Some(patience / 2));
        let answer = async {
            let mut connection = sentinel
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            let mut question = redis::cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
            let address: Option<(String, u16)> = question.query_async(&mut connection).await?;
            address.ok_or_else(|| {
                let what = "it watches no primary of this name";
                (
                    ErrorKind::MasterNameNotFoundBySentinel,
                    what,
                    self.name.clone(),
                )
                    .into()
            })
        };
        (sentinel, answer.await)
    }

    fn client(&self, (host, port): (String, u16)) -> RedisResult<Client> {
        let addr = match self.primary.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.tls.client(self.primary.clone().set_addr(addr))
    }

    /// For messages.
    pub(crate) fn address(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(address_of).collect();
        format!("{} of the Sentinels {}", self.name, sentinels.join(", "))
    }

    /// How to connect to the primary, with a meaningless address.
    pub(crate) fn primary(&self) -> &ConnectionInfo {
        &self.primary
    }

    /// How to connect to one of the Sentinels. They share their user and password.
    pub(crate) fn sentinel(&self) -> Option<&ConnectionInfo> {
        self.sentinels.first().map(Client::get_connection_info)
    }
}

/// Refuses a server that is no primary (any more, or yet): Sentinels learn of that later than the
/// server itself.
pub(crate) async fn assert_primary(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    // Unlike ROLE it needs no rights.
    let hello: Value = redis::cmd("HELLO").query_async(connection).await?;
    let hello: HashMap<String, Value> = from_redis_value(hello)?;
    let role = hello.get("role").cloned().map(from_redis_value::<String>);
    match role.transpose()?.as_deref() {
        Some("master") => Ok(()),
        role => Err(RedisError::from((
            ErrorKind::Io,
            "the Sentinels name a server that is no primary",
            format!("it is {role:?}"),
        ))),
    }
}

fn address_of(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
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
