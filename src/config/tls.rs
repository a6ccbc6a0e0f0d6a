//! The certificate and key of `server.tls_cert` and `server.tls_key`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why TLS can't be offered. `Display` is a sentence without the key that names it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file can't be read or holds none.
    #[error("no certificate (PEM) can be read from {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key file can't be read or holds none.
    #[error("no private key (PEM) can be read from {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The two do not fit together.
    #[error("certificate and private key cannot be used together: {0}")]
    Pair(rustls::Error),
}

/// Builds the server side of TLS 1.2 and 1.3 for HTTP/1.1 (ALPN) from a certificate chain and its
/// key, both PEM.
///
/// # Errors
/// [`TlsError`] names the file and what is wrong with it.
pub fn server_config(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let certificate = |reason: String| TlsError::Certificate { path: cert.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate("the file holds none".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TlsError::Key { path: key.to_owned(), reason: error.to_string() })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
