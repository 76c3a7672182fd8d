//! Certificates: [`Tls`].

use bb8_redis::redis::{Client, ConnectionInfo, RedisResult};

use crate::{config::RedisConfig, error::Error};

#[cfg(feature = "tls")]
pub(crate) use with_rustls::Tls;

#[cfg(feature = "tls")]
mod with_rustls {
    use std::{fs, sync::Arc};

    use bb8_redis::redis::{ClientTlsConfig, ConnectionAddr, TlsCertificates};
    use rustls::{
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        sign::CertifiedKey,
    };

    use verk_core::BoxError;

    use super::*;
    use crate::connect::endpoint::invalid;

    const CA: &str = "redis.tls_ca";
    const CERT: &str = "redis.tls_cert";
    const KEY: &str = "redis.tls_key";

    /// The trusted authorities, and the certificate to show. It has no `Debug`, because it has a
    /// key.
    #[derive(Clone)]
    pub(crate) struct Tls {
        /// `None` for the authorities that the system trusts, and no certificate.
        certificates: Option<TlsCertificates>,
    }

    impl Tls {
        /// Reads and checks what the settings name.
        pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
            let ca = read(CA, config.tls_ca.as_deref())?;
            if let Some(ca) = &ca {
                certificates(CA, ca)?;
            }
            let cert = read(CERT, config.tls_cert.as_deref())?;
            let key = read(KEY, config.tls_key.as_deref())?;
            let client_tls = match (cert, key) {
                (Some(client_cert), Some(client_key)) => {
                    check_pair(&client_cert, &client_key)?;
                    Some(ClientTlsConfig {
                        client_cert,
                        client_key,
                    })
                }
                (None, None) => None,
                (Some(_), None) => return Err(unusable(CERT, "there is no redis.tls_key")),
                (None, Some(_)) => return Err(unusable(KEY, "there is no redis.tls_cert")),
            };
            let any = ca.is_some() || client_tls.is_some();
            Ok(Self {
                certificates: any.then_some(TlsCertificates {
                    client_tls,
                    root_cert: ca,
                }),
            })
        }

        /// A client that connects to `info` with these settings.
        pub(crate) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
            match (&self.certificates, info.addr()) {
                (None, ConnectionAddr::TcpTls { .. }) => {
                    crypto();
                    Client::open(info)
                }
                (None, _) => Client::open(info),
                (Some(certificates), ConnectionAddr::TcpTls { .. }) => {
                    crypto();
                    Client::build_with_tls(info, certificates.clone())
                }
                (Some(_), _) => Err(invalid(
                    "with redis.tls_ca, redis.tls_cert or redis.tls_key it begins with rediss",
                )),
            }
        }
    }

    /// The program's choice of cryptography, if it made one before, else ours. Without a choice,
    /// and with several compiled in, rustls would panic.
    fn crypto() -> Option<&'static Arc<CryptoProvider>> {
        if CryptoProvider::get_default().is_none() {
            // Somebody else may be faster.
            let _ = ring::default_provider().install_default();
        }
        CryptoProvider::get_default()
    }

    /// The PEM in a setting, or in the file that it names.
    fn read(setting: &'static str, value: Option<&str>) -> Result<Option<Vec<u8>>, Error> {
        let Some(value) = value else {
            return Ok(None);
        };
        if value.contains("-----BEGIN") {
            return Ok(Some(value.as_bytes().to_vec()));
        }
        let pem = fs::read(value).map_err(|error| unusable(setting, error))?;
        Ok(Some(pem))
    }

    fn certificates(
        setting: &'static str,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let all = all.map_err(|error| unusable(setting, error))?;
        if all.is_empty() {
            return Err(unusable(setting, "there is no certificate in it"));
        }
        Ok(all)
    }

    /// Checks that the key belongs to the certificate.
    fn check_pair(cert: &[u8], key: &[u8]) -> Result<(), Error> {
        let chain = certificates(CERT, cert)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unusable(KEY, error))?;
        if let Some(crypto) = crypto() {
            CertifiedKey::from_der(chain, key, crypto).map_err(|error| unusable(KEY, error))?;
        }
        Ok(())
    }

    fn unusable(setting: &'static str, source: impl Into<BoxError>) -> Error {
        Error::InvalidTls {
            setting,
            source: source.into(),
        }
    }
}

/// Nothing, without the feature `tls`.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(crate) struct Tls;

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Refuses settings that would be ignored.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
        for (setting, is_set) in [
            ("redis.tls_ca", config.tls_ca.is_some()),
            ("redis.tls_cert", config.tls_cert.is_some()),
            ("redis.tls_key", config.tls_key.is_some()),
        ] {
            if is_set {
                return Err(Error::InvalidTls {
                    setting,
                    source: "verk was built without its feature `tls`".into(),
                });
            }
        }
        Ok(Self)
    }

    #[expect(clippy::unused_self, reason = "the same as with the feature")]
    pub(crate) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        Client::open(info)
    }
}
