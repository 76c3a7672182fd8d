//! Certificates: [`Tls`].

use bb8_redis::redis::{Client, ConnectionInfo, RedisResult};

use crate::{config::RedisConfig, error::Error};

#[cfg(feature = "tls")]
pub(crate) use with_rustls::Tls;

#[cfg(feature = "tls")]
mod with_rustls {
    use std::fs;

    use bb8_redis::redis::{ClientTlsConfig, ConnectionAddr, TlsCertificates};
    use rustls::{
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    };
    use verk_core::BoxError;

    use super::*;
    use crate::{config::is_pem, endpoint::invalid};

    /// Whom to trust, and what to show.
    #[derive(Clone, Debug)]
    pub(crate) struct Tls {
        /// `None` for what the system trusts, and nothing to show.
        certificates: Option<TlsCertificates>,
    }

    impl Tls {
        /// Reads and checks what the settings name.
        pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
            let ca = read("redis_tls_ca", config.tls_ca.as_deref(), certificates)?;
            let cert = read("redis_tls_cert", config.tls_cert.as_deref(), certificates)?;
            let key = read("redis_tls_key", config.tls_key.as_deref(), |pem| {
                PrivateKeyDer::from_pem_slice(pem)?;
                Ok(())
            })?;
            let client_tls = match (cert, key) {
                (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig {
                    client_cert,
                    client_key,
                }),
                (None, None) => None,
                (Some(_), None) => {
                    return Err(unusable("redis_tls_cert", "there is no redis_tls_key"));
                }
                (None, Some(_)) => {
                    return Err(unusable("redis_tls_key", "there is no redis_tls_cert"));
                }
            };
            let any = ca.is_some() || client_tls.is_some();
            Ok(Self {
                certificates: any.then_some(TlsCertificates {
                    client_tls,
                    root_cert: ca,
                }),
            })
        }

        /// A client that connects to `info` in this way.
        pub(crate) fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
            match (&self.certificates, info.addr()) {
                (None, ConnectionAddr::TcpTls { .. }) => {
                    install_crypto();
                    Client::open(info)
                }
                (None, _) => Client::open(info),
                (Some(certificates), ConnectionAddr::TcpTls { .. }) => {
                    install_crypto();
                    Client::build_with_tls(info, certificates.clone())
                }
                (Some(_), _) => Err(invalid(
                    "there are certificates, but the URL asks for no TLS",
                )),
            }
        }
    }

    /// The program's choice of cryptography, if it made one before, else ours. Without any, and with several compiled in, rustls
    /// would panic.
    fn install_crypto() {
        if CryptoProvider::get_default().is_none() {
            // Somebody else may be faster.
            let _ = ring::default_provider().install_default();
        }
    }

    /// The PEM that a setting is, or that is in its file.
    fn read(
        setting: &'static str,
        value: Option<&str>,
        check: impl Fn(&[u8]) -> Result<(), BoxError>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(value) = value else {
            return Ok(None);
        };
        let pem = match is_pem(value) {
            true => value.as_bytes().to_vec(),
            false => fs::read(value).map_err(|error| unusable(setting, error))?,
        };
        check(&pem).map_err(|error| unusable(setting, error))?;
        Ok(Some(pem))
    }

    fn certificates(pem: &[u8]) -> Result<(), BoxError> {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificate?;
            count += 1;
        }
        if count == 0 {
            return Err("there is no certificate in it".into());
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
#[derive(Clone, Debug)]
pub(crate) struct Tls;

#[cfg(not(feature = "tls"))]
impl Tls {
    /// Refuses settings that would be ignored.
    pub(crate) fn new(config: &RedisConfig) -> Result<Self, Error> {
        for (setting, value) in [
            ("redis_tls_ca", &config.tls_ca),
            ("redis_tls_cert", &config.tls_cert),
            ("redis_tls_key", &config.tls_key),
        ] {
            if value.is_some() {
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
