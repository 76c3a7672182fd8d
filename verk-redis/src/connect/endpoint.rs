//! Which server the connections go to: [`Endpoint`].

use std::time::Duration;

use bb8_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisError, RedisResult,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use verk_core::time::{Clock, SystemClock};

use crate::{
    config::{RedisConfig, redacted},
    connect::{
        cluster::{self, Cluster},
        directory::assert_primary,
        driven::Driven,
        fleet::Primary,
        sentinel::{self, Sentinels},
        tls::Tls,
    },
    error::{Error, cause::Cause},
};

/// A server, or those that know which one it is.
pub(crate) enum Endpoint {
    Server(Client),
    Sentinels(Sentinels),
    Cluster(Cluster),
    /// One of the primaries that the cells of a cluster share.
    Primary(Primary),
}

impl Endpoint {
    /// Reads the URL and the certificates; opens no connection.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
        let tls = Tls::new(config)?;
        let tcp = tcp_settings(config.response_timeout);
        let parsed = match (sentinel::parse(&config.url), cluster::parse(&config.url)) {
            (Some(url), _) => url
                .and_then(|url| Sentinels::new(&url, tls, &tcp))
                .map(Self::Sentinels),
            (_, Some(url)) => {
                let slot = cluster::slot_of(config.prefix.as_deref().unwrap_or_default())?;
                url.and_then(|url| Cluster::new(&url, slot, tls, &tcp))
                    .map(Self::Cluster)
            }
            (None, None) => parse(&config.url, &tcp)
                .and_then(|info| tls.client(with_push_messages(info)))
                .map(Self::Server),
        };
        parsed.map_err(|error| Error::InvalidUrl {
            url: redacted(&config.url),
            source: why_invalid(&error, &config.url).into(),
        })
    }

    /// Opens a connection; with Sentinels, to the current primary, and with a cluster, to the
    /// primary that has the slot. Takes up to `patience`.
    pub(crate) async fn connect(
        &self,
        by: By,
        config: &AsyncConnectionConfig,
        patience: Duration,
    ) -> RedisResult<Driven> {
        let primary = match self {
            Self::Server(client) => return connect(client, by, config, patience).await,
            Self::Sentinels(sentinels) => sentinels.find_primary(patience / 2).await?,
            Self::Cluster(cluster) => cluster.find_owner(patience / 2).await?,
            Self::Primary(primary) => primary.find().await?,
        };
        // The rest of the patience, at least.
        let mut connection = connect(&primary, by, config, patience / 2).await?;
        assert_primary(&mut connection).await?;
        Ok(connection)
    }

    /// Opens a connection to the server of a cluster that another one named.
    pub(crate) async fn connect_to(
        &self,
        address: &str,
        config: &AsyncConnectionConfig,
        patience: Duration,
    ) -> RedisResult<Driven> {
        match self {
            Self::Cluster(cluster) => {
                let server = cluster.server(address)?;
                connect(&server, By::ATask, config, patience).await
            }
            _ => Err(invalid("this is no cluster")),
        }
    }

    /// The slot of all keys; `None` without a cluster.
    pub(crate) fn slot(&self) -> Option<u16> {
        match self {
            Self::Cluster(cluster) => Some(cluster.slot()),
            _ => None,
        }
    }

    /// How to connect to the server. Its address may be meaningless.
    fn server(&self) -> &ConnectionInfo {
        match self {
            Self::Server(client) => client.get_connection_info(),
            Self::Sentinels(sentinels) => sentinels.primary(),
            Self::Cluster(cluster) => cluster.owner(),
            Self::Primary(primary) => primary.server(),
        }
    }

    /// Why a connection could not be opened.
    pub(crate) fn cause(&self, error: RedisError) -> Cause {
        Cause::of_connecting(error, Some(self.server().addr()))
    }

    /// Where the server is, or those that know it, without credentials.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Server(client) => client.get_connection_info().addr().to_string(),
            Self::Sentinels(sentinels) => sentinels.address(),
            Self::Cluster(cluster) => cluster.address(),
            Self::Primary(primary) => primary.address(),
        }
    }

    /// Which of the server's databases the jobs are in.
    pub(crate) fn database(&self) -> i64 {
        self.server().redis_settings().db()
    }

    /// The texts that no message may have.
    pub(crate) fn passwords(&self) -> impl Iterator<Item = &str> {
        let sentinel = match self {
            Self::Sentinels(sentinels) => sentinels.sentinel(),
            _ => None,
        };
        let infos = [Some(self.server()), sentinel].into_iter().flatten();
        infos
            .filter_map(|info| info.redis_settings().password())
            .filter(|password| !password.is_empty())
    }
}

/// What reads and writes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A task of its own: many tasks may use the connection.
    ATask,
    /// Its requests: only one task may use the connection at a time.
    ItsRequests,
}

async fn connect(
    client: &Client,
    by: By,
    config: &AsyncConnectionConfig,
    patience: Duration,
) -> RedisResult<Driven> {
    if by == By::ItsRequests {
        let clock: &dyn Clock = &SystemClock;
        let open = Driven::by_its_requests(client.get_connection_info(), config);
        match clock.timeout(patience, open).await {
            None => return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            Some(Err(error)) => return Err(error),
            Some(Ok(Some(connection))) => return Ok(connection),
            Some(Ok(None)) => {}
        }
    }
    let config = config.clone().set_connection_timeout(Some(patience));
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    connected.await.map(Driven::by_a_task)
}

/// The content of a URL, unless it asks to skip the check of certificates.
pub(crate) fn parse(url: &str, tcp: &TcpSettings) -> RedisResult<ConnectionInfo> {
    if cfg!(not(feature = "tls")) && (url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        return Err(invalid("TLS needs verk's feature `tls`"));
    }
    let info = url.into_connection_info()?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(invalid(
            "verk checks every certificate: there is no #insecure",
        ));
    }
    Ok(info.set_tcp_settings(tcp.clone()))
}

/// Lets the system end a connection whose other end vanished silently: a NAT forgot it, a balancer
/// dropped it, the host lost its power.
fn tcp_settings(response_timeout: Duration) -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY);
    // With Nagle's algorithm, a request would wait until the server has acknowledged the one
    // before.
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    // Bounds how long sent data may stay unacknowledged, and probes unanswered.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(response_timeout);
    #[cfg(not(any(target_os = "android", target_os = "fuchsia", target_os = "linux")))]
    let _ = response_timeout;
    settings
}

/// How long a connection is idle before the system probes it: less than balancers wait.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);

/// The time between two probes.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// The third version of the protocol, because only with it the client library reports a connection
/// that ended.
pub(crate) fn with_push_messages(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone();
    info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3))
}

pub(crate) fn invalid(what: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, what).into()
}

/// Why a URL is invalid. If a password may be in it, without the part of the URL that the error
/// quotes.
fn why_invalid(error: &RedisError, url: &str) -> String {
    let shown = redacted(url);
    match url.split_once("://") {
        _ if url.trim().is_empty() => "it is empty".to_owned(),
        None if url.starts_with('/') => format!("did you mean redis+unix://{shown}?"),
        None if !url.starts_with("redis") => format!("did you mean redis://{shown}?"),
        None => format!("it begins with {SCHEMES}"),
        Some(("http" | "https" | "tcp", _)) => {
            let place = shown.split_once("://").map_or("", |(_, place)| place);
            format!("did you mean redis://{place}?")
        }
        Some((scheme, _)) if is_unknown(scheme) => format!("it begins with {SCHEMES}"),
        Some(_) => {
            let why = error.to_string().replace(" - InvalidClientConfig", "");
            match error.detail() {
                Some(detail) if shown != url => why.replace(detail, "***"),
                _ => why,
            }
        }
    }
}

fn is_unknown(scheme: &str) -> bool {
    let scheme = scheme.trim_end_matches("+sentinel");
    let scheme = scheme.trim_end_matches("+cluster");
    let scheme = scheme.replace("+unix", "").replace("valkey", "redis");
    !matches!(scheme.as_str(), "redis" | "rediss" | "unix")
}

const SCHEMES: &str = "redis://, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://";

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    use super::*;
    use crate::connect::pool::Connector;

    #[test]
    fn an_address_names_the_server_and_the_database_and_no_credentials() {
        for (url, address) in [
            ("redis://ada:hunter2@redis.internal", "redis.internal:6379"),
            (
                "redis://:hunter2@10.0.0.1:7000/3",
                "10.0.0.1:7000, database 3",
            ),
            (
                "redis+unix:///run/redis.sock?db=2&pass=hunter2",
                "/run/redis.sock, database 2",
            ),
            (
                "redis+sentinel://:hunter2@s1,s2:26380/main/4",
                "main of the Sentinels s1:26379, s2:26380, database 4",
            ),
            (
                "redis+cluster://:hunter2@c1,c2:7000",
                "slot 3808 of the cluster c1:6379, c2:7000",
            ),
        ] {
            let config = RedisConfig::new(url).prefix("{shop}".to_owned());
            let connector = Connector::new(&config).unwrap();
            assert_eq!(connector.address_and_database(), address);
        }
    }

    #[test]
    fn without_the_feature_it_is_named() {
        let urls = [
            "rediss://host",
            "valkeys://host",
            "rediss+sentinel://host/main",
            "rediss+cluster://host",
        ];
        let config = |url| RedisConfig::new(url).prefix("{shop}".to_owned());
        for config in urls.map(config) {
            let error = Endpoint::new(&config).err().unwrap();
            assert!(error.to_string().contains("feature `tls`"), "{error}");
        }
        let config = RedisConfig::new("redis://host").tls_ca("ca.pem");
        let error = Endpoint::new(&config).err().unwrap();
        assert!(error.to_string().contains("redis.tls_ca"), "{error}");
    }
}
