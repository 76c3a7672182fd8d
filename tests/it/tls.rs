//! Connections that are encrypted, with an authority of your own.

use std::{fs, iter, path::PathBuf, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;
use verk::{
    EventKind, State, Verk,
    prelude::*,
    redis::{Error, RedisConfig, RedisStorage},
    storage::JobStore,
    time::{Clock, SystemClock},
};
use verk_testing::{RedisServer, RedisServerBuilder, within};

use crate::support::{Log, PATIENCE, States, wait_for};

#[verk::worker]
async fn secret_number(number: u32, State(log): State<Log>) {
    log.push(number.to_string());
}

/// An authority, and what it signed, as files.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = called("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::with_prefix("verk-tls").unwrap();
        fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { dir, issuer }
    }

    fn ca(&self) -> String {
        self.file("ca.pem").display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The files of a certificate for a host, and of its key.
    fn sign(&self, host: &str) -> (PathBuf, PathBuf) {
        self.sign_with(host, |_| ())
    }

    fn sign_with(
        &self,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = called(host);
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|kind| self.file(&format!("{host}.{kind}")));
        fs::write(&files[0], cert.pem()).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        files.into()
    }

    /// A server with a certificate for a host.
    fn server(&self, host: &str) -> RedisServerBuilder {
        self.server_with(self.sign(host))
    }

    fn server_with(&self, (cert, key): (PathBuf, PathBuf)) -> RedisServerBuilder {
        RedisServer::builder().tls(&cert, &key, &self.file("ca.pem"))
    }
}

/// OpenSSL takes a certificate that is called as its authority for one that signed itself.
fn called(name: &str) -> DistinguishedName {
    let mut it = DistinguishedName::new();
    it.push(DnType::CommonName, name);
    it
}

/// Asks no client for a certificate.
fn anybody(server: RedisServerBuilder) -> RedisServerBuilder {
    server.setting("tls-auth-clients", "no")
}

/// Why there was no connection: the whole chain.
async fn refused(config: RedisConfig) -> String {
    let error = RedisStorage::connect(config).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    chain(&error)
}

fn chain(error: &dyn std::error::Error) -> String {
    iter::successors(Some(error), |error| error.source())
        .map(|error| format!("{error}: "))
        .collect()
}

#[tokio::test]
async fn a_node_works_over_tls_with_a_private_authority_and_a_client_certificate() {
    let authority = Authority::new();
    let redis = authority.server("127.0.0.1").start();
    let (cert, key) = authority.sign("client");
    // Files and texts will do.
    let cert = fs::read_to_string(cert).unwrap();
    let config = RedisConfig::new(redis.url())
        .tls_ca(authority.ca())
        .tls_cert(cert)
        .tls_key(key.display().to_string());
    let states = States::new();
    let builder = Verk::builder().redis(config).queue("default", 5);
    let verk = states.give(builder).build().await.unwrap();
    let mut events = verk.events();
    verk.start().unwrap();
    for number in 0..20 {
        verk.enqueue(SecretNumber::new(number)).await.unwrap();
    }
    for _ in 0..20 {
        wait_for(&mut events, |event| {
            matches!(event.what, EventKind::JobFinished { .. }).then_some(())
        })
        .await;
    }
    assert_eq!(states.log.entries().len(), 20);
    verk.shutdown().await;
}

#[tokio::test]
async fn all_servers_of_a_cluster_are_reached_over_tls() {
    let authority = Authority::new();
    let server = authority.server("127.0.0.1").cluster();
    let server = anybody(server).setting("tls-cluster", "yes").start();
    server.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let works = || {
        let info = server.command(&["CLUSTER", "INFO"]).into_bytes().unwrap();
        String::from_utf8_lossy(&info).contains("cluster_state:ok")
    };
    within(PATIENCE, async {
        let clock: &dyn Clock = &SystemClock;
        while !works() {
            clock.sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let url = server.url().replace("rediss://", "rediss+cluster://");
    let config = RedisConfig::new(url).prefix("{shop}".to_owned());
    let storage = RedisStorage::connect(config.clone().tls_ca(authority.ca())).await;
    let queue = "default".parse().unwrap();
    storage
        .unwrap()
        .enqueue(&queue, &["{}".into()])
        .await
        .unwrap();
    assert_eq!(
        server
            .command(&["LLEN", "{shop}:queue:default"])
            .as_integer(),
        Some(1)
    );
    // Nobody whom the system trusts has signed the certificate.
    let why = refused(config).await;
    assert!(why.contains("redis.tls_ca"), "{why}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one_or_refuses() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let redis = authority.server("127.0.0.1").start();
    let config = RedisConfig::new(redis.url()).tls_ca(authority.ca());
    let (cert, key) = stranger.sign("client");
    let [cert, key] = [cert, key].map(|file| file.display().to_string());
    for config in [config.clone(), config.tls_cert(cert).tls_key(key)] {
        let why = refused(config).await;
        assert!(
            why.contains("redis.tls_cert and redis.tls_key") && why.contains("fatal alert"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn only_the_right_authority_for_the_right_host_in_time_is_trusted() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired =
        |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let right = anybody(authority.server("127.0.0.1")).start();
    let elsewhere = anybody(authority.server("redis.internal")).start();
    let old = authority.server_with(authority.sign_with("127.0.0.1", expired));
    let old = anybody(old).start();

    let config = |redis: &RedisServer| RedisConfig::new(redis.url());
    RedisStorage::connect(config(&right).tls_ca(authority.ca()))
        .await
        .unwrap();
    for (config, cause) in [
        // What the system trusts.
        (config(&right), "UnknownIssuer"),
        (config(&right).tls_ca(stranger.ca()), "BadSignature"),
        (
            config(&elsewhere).tls_ca(authority.ca()),
            "only valid for DnsName(\"redis.internal\")",
        ),
        (config(&old).tls_ca(authority.ca()), "certificate expired"),
    ] {
        let why = refused(config).await;
        assert!(
            why.contains("redis.tls_ca") && why.contains(cause),
            "{cause}: {why}"
        );
    }
}

#[tokio::test]
async fn a_port_with_tls_is_told_from_one_without() {
    let authority = Authority::new();
    let with = anybody(authority.server("127.0.0.1")).start();
    let without = RedisServer::builder().tcp().start();
    let sentinel = |scheme: &str, redis: &RedisServer| {
        format!("{scheme}+sentinel://127.0.0.1:{}/main", redis.port())
    };
    let without_tls = "a port without TLS the URL begins with redis,";
    let with_tls = "a port with TLS the URL begins with rediss,";
    for (url, hint) in [
        (without.url().replace("redis:", "rediss:"), without_tls),
        (sentinel("rediss", &without), without_tls),
        (with.url().replace("rediss:", "redis:"), with_tls),
        (sentinel("redis", &with), with_tls),
    ] {
        // A Redis without TLS answers to no handshake.
        let config = RedisConfig::new(&url).connect_timeout(Duration::from_secs(1));
        let why = refused(config).await;
        assert!(why.contains(hint), "{url}: {why}");
    }
}

#[tokio::test]
async fn mistakes_name_the_setting_and_show_no_key() {
    let authority = Authority::new();
    let (_, key) = authority.sign("client");
    let key = fs::read_to_string(key).unwrap();
    let rediss = || RedisConfig::new("rediss://127.0.0.1:1");
    for (config, setting) in [
        (rediss().tls_ca("/nonexistent/ca.pem"), "redis.tls_ca"),
        (rediss().tls_ca(&key), "redis.tls_ca"),
        (
            rediss().tls_cert(authority.ca()).tls_key(authority.ca()),
            "redis.tls_key",
        ),
        (rediss().tls_cert(&key).tls_key(&key), "redis.tls_cert"),
        // The key of another certificate.
        (
            rediss().tls_cert(authority.ca()).tls_key(&key),
            "redis.tls_key",
        ),
    ] {
        let error = RedisStorage::connect(config).await.unwrap_err();
        let text = format!("{error:?} {error}");
        assert!(
            matches!(error, Error::InvalidTls { setting: it, .. } if it == setting),
            "{text}"
        );
        assert!(
            !text.contains("PRIVATE KEY") && !text.contains(&key[40..60]),
            "{text}"
        );
    }
    for config in [
        RedisConfig::new("rediss://127.0.0.1:1/#insecure"),
        RedisConfig::new("rediss+sentinel://127.0.0.1:1/main/0#insecure"),
        RedisConfig::new("redis://127.0.0.1:1").tls_ca(authority.ca()),
        RedisConfig::new("redis+sentinel://127.0.0.1:1/main").tls_ca(authority.ca()),
    ] {
        let error = RedisStorage::connect(config).await.unwrap_err();
        assert!(matches!(error, Error::InvalidUrl { .. }), "{error:?}");
        let why = chain(&error);
        assert!(
            why.contains("#insecure") || why.contains("redis.tls_ca"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn sentinels_and_the_primary_may_all_speak_tls() {
    let authority = Authority::new();
    let primary = anybody(authority.server("127.0.0.1")).start();
    let sentinel = anybody(authority.server("127.0.0.1"))
        .setting("tls-replication", "yes")
        .sentinel()
        .start();
    let port = primary.port().to_string();
    sentinel.command(&["SENTINEL", "MONITOR", "main", "127.0.0.1", &port, "1"]);
    let url = format!("rediss+sentinel://127.0.0.1:{}/main", sentinel.port());
    let config = RedisConfig::new(url).tls_ca(authority.ca());
    RedisStorage::connect(config).await.unwrap();
}
