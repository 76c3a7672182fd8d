//! Connections that are encrypted, with an authority of one's own.

use std::{fs, path::PathBuf, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tempfile::TempDir;
use verk::{
    Event, State, Verk,
    prelude::*,
    redis::{Error, RedisConfig, RedisStorage},
};
use verk_testing::{RedisServer, RedisServerBuilder};

use crate::support::{Log, States, wait_for};

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
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name = called(host);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.file(&format!("{host}.pem")), self.file("key.pem"));
        fs::write(&files.0, cert.pem()).unwrap();
        fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }

    /// A server with a certificate for a host.
    fn server(&self, host: &str) -> RedisServerBuilder {
        let (cert, key) = self.sign(host);
        RedisServer::builder().tls(&cert, &key, &self.file("ca.pem"))
    }
}

/// OpenSSL takes a certificate that is called as its authority for one that signed itself.
fn called(name: &str) -> DistinguishedName {
    let mut it = DistinguishedName::new();
    it.push(DnType::CommonName, name);
    it
}

/// That the handshake fails, and why.
async fn refused(config: RedisConfig) -> String {
    let config = config.connect_timeout(Duration::from_secs(10));
    let error = RedisStorage::connect(config).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    format!("{error:?}")
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
        .tls_client(cert, key.display().to_string());
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
            matches!(event, Event::JobFinished { .. }).then_some(())
        })
        .await;
    }
    assert_eq!(states.log.entries().len(), 20);
    verk.shutdown().await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one_or_refuses() {
    let authority = Authority::new();
    let redis = authority.server("127.0.0.1").start();
    let config = RedisConfig::new(redis.url()).tls_ca(authority.ca());
    refused(config).await;
}

#[tokio::test]
async fn only_the_right_authority_for_the_right_host_is_trusted() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let anybody = |server: RedisServerBuilder| server.setting("tls-auth-clients", "no").start();
    let redis = anybody(authority.server("127.0.0.1"));
    let right = RedisConfig::new(redis.url()).tls_ca(authority.ca());
    RedisStorage::connect(right).await.unwrap();

    // What the system trusts; another authority; another host.
    let why = refused(RedisConfig::new(redis.url())).await;
    assert!(why.contains("UnknownIssuer"), "{why}");
    let why = refused(RedisConfig::new(redis.url()).tls_ca(stranger.ca())).await;
    assert!(
        why.contains("UnknownIssuer") || why.contains("BadSignature"),
        "{why}"
    );
    let elsewhere = anybody(authority.server("redis.internal"));
    let why = refused(RedisConfig::new(elsewhere.url()).tls_ca(authority.ca())).await;
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn mistakes_name_the_setting_and_show_no_key() {
    let authority = Authority::new();
    let (_, key) = authority.sign("client");
    let key = fs::read_to_string(key).unwrap();
    let rediss = || RedisConfig::new("rediss://127.0.0.1:1");
    for (config, setting) in [
        (rediss().tls_ca("/nonexistent/ca.pem"), "redis_tls_ca"),
        (rediss().tls_ca(&key), "redis_tls_ca"),
        (
            rediss().tls_client(authority.ca(), authority.ca()),
            "redis_tls_key",
        ),
        (rediss().tls_client(&key, &key), "redis_tls_cert"),
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
    }
}

#[tokio::test]
async fn sentinels_and_the_primary_may_all_speak_tls() {
    let authority = Authority::new();
    let anybody = |server: RedisServerBuilder| server.setting("tls-auth-clients", "no");
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
