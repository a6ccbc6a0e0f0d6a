//! Where PostgreSQL is, as `archive.url` names it, and how far its certificate is
//! believed: `sslmode` means what it means to libpq
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).

use std::{fmt, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::config::{Host, SslMode};

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It begins otherwise.
    #[error("the address must start with postgres:// or postgresql://")]
    Scheme,
    /// `sslmode` says something else.
    #[error("sslmode is `{0}`; it may be disable, prefer, require, verify-ca or verify-full")]
    Mode(String),
    /// Certificates are named elsewhere.
    #[error("`{0}` is not taken in the address; name the certificates by archive.tls_ca")]
    Certificates(String),
    /// No host is named.
    #[error("the address names no host")]
    Host,
    /// No database is named.
    #[error("the address names no database, as in postgres://host/hubbub")]
    Database,
    /// The client library does not take it; the text holds no password.
    #[error("the address is not understood: {0}")]
    Invalid(String),
    /// The certificates cannot be read.
    #[error("archive.tls_ca: {0}")]
    Authority(String),
}

/// How far the server's certificate is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl Mode {
    fn parse(word: &str) -> Result<Self, AddressError> {
        Ok(match word {
            "disable" => Self::Disable,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => return Err(AddressError::Mode(other.to_owned())),
        })
    }
}

/// How PostgreSQL is reached. Shows no password.
#[derive(Clone)]
pub struct Address {
    pub(super) config: tokio_postgres::Config,
    /// None: without TLS.
    pub(super) tls: Option<ClientConfig>,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("at", &self.to_string()).finish_non_exhaustive()
    }
}

/// `host:port,host:port/database`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl Address {
    /// Reads an address such as
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`. `authority`
    /// holds the certificates (PEM) of who may sign the server's; without it those
    /// that the system trusts. `timeout` bounds connecting and what is not answered
    /// by TCP.
    ///
    /// # Errors
    /// A sentence without the password.
    pub fn parse(
        url: &str,
        authority: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Self, AddressError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(AddressError::Scheme);
        }
        let (rest, mode) = take_mode(url)?;
        let invalid = |e: tokio_postgres::Error| AddressError::Invalid(describe(&e));
        let mut config: tokio_postgres::Config = rest.parse().map_err(invalid)?;
        if config.get_hosts().is_empty() {
            return Err(AddressError::Host);
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(AddressError::Database);
        }
        let mode = mode.unwrap_or(Mode::Prefer);
        config.ssl_mode(match mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        });
        if config.get_application_name().is_none() {
            config.application_name("hubbub");
        }
        config.connect_timeout(timeout);
        config.keepalives_idle(Duration::from_secs(15));
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(timeout);
        }
        let tls = match mode {
            Mode::Disable => None,
            mode => Some(client_config(mode, authority)?),
        };
        Ok(Self { config, tls })
    }
}

/// Takes what only this module knows out of the parameters.
fn take_mode(url: &str) -> Result<(String, Option<Mode>), AddressError> {
    let Some((start, parameters)) = url.split_once('?') else {
        return Ok((url.to_owned(), None));
    };
    let (mut mode, mut rest) = (None, Vec::new());
    for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
        match parameter.split_once('=').unwrap_or((parameter, "")) {
            ("sslmode", word) => mode = Some(Mode::parse(word)?),
            (name @ ("sslrootcert" | "sslcert" | "sslkey" | "sslcrl"), _) => {
                return Err(AddressError::Certificates(name.to_owned()));
            }
            _ => rest.push(parameter),
        }
    }
    Ok((format!("{start}?{}", rest.join("&")), mode))
}

fn client_config(mode: Mode, authority: Option<&[u8]>) -> Result<ClientConfig, AddressError> {
    let failed = |e: &dyn fmt::Display| AddressError::Authority(e.to_string());
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?;
    // As libpq: with certificates at hand `require` looks at the chain too.
    let chain = match (mode, authority) {
        (Mode::VerifyFull | Mode::VerifyCa, _) | (_, Some(_)) => Some(roots(authority)?),
        _ => None,
    };
    let Some(roots) = chain else {
        let verifier = Arc::new(Lenient { chain: None, provider });
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    };
    if mode == Mode::VerifyFull {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|e| failed(&e))?;
    let verifier = Arc::new(Lenient { chain: Some(chain), provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots(authority: Option<&[u8]>) -> Result<RootCertStore, AddressError> {
    let failed = |e: &dyn fmt::Display| AddressError::Authority(e.to_string());
    let mut roots = RootCertStore::empty();
    match authority {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| failed(&e))?;
                roots.add(certificate).map_err(|e| failed(&e))?;
            }
            if roots.is_empty() {
                return Err(failed(&"the file has no certificate"));
            }
        }
        None => {
            let native = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(native.certs);
            if roots.is_empty() {
                return Err(failed(&"the system has no certificates to trust; name a file"));
            }
        }
    }
    Ok(roots)
}

/// Believes a certificate whose chain is right whatever host it names, or any
/// certificate at all: what `verify-ca` and `require` ask for. The server proves
/// that it has the key to it, as ever.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        // The name is looked at last.
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// An error with all its causes, on one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let this = error.to_string();
        // What only says that there is a cause says nothing.
        if this != "db error" && !text.ends_with(&this) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&this);
        }
        next = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(url: &str) -> Result<Address, AddressError> {
        Address::parse(url, None, Duration::from_secs(1))
    }

    #[test]
    fn an_address_is_read_and_shown_without_its_password() {
        let address = parse("postgres://ann:sesame@db:5433/chat?sslmode=require").unwrap();
        assert_eq!(address.to_string(), "db:5433/chat");
        assert!(!format!("{address:?}").contains("sesame"));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        let two = parse("postgresql://a:1,b:2/x?sslmode=disable&target_session_attrs=read-write");
        let two = two.unwrap();
        assert_eq!(two.to_string(), "a:1,b:2/x");
        assert!(two.tls.is_none());
        assert_eq!(parse("postgres://h/x").unwrap().config.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, named) in [
            ("mysql://h/x", "postgres://"),
            ("postgres:///x", "no host"),
            ("postgres://h", "no database"),
            ("postgres://h/x?sslmode=on", "verify-full"),
            ("postgres://h/x?sslrootcert=a.pem", "archive.tls_ca"),
            ("postgres://h/x?colour=red", "colour"),
            ("postgres://h:port/x", "port"),
        ] {
            let reason = parse(url).unwrap_err().to_string();
            assert!(reason.contains(named), "{url}: {reason}");
        }
        let nonsense =
            Address::parse("postgres://h/x?sslmode=verify-ca", Some(b"x"), Duration::ZERO);
        assert!(nonsense.unwrap_err().to_string().contains("no certificate"));
    }
}
