//! HTTP requests of the verbs that look at a running hub.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use awc::{Client, Connector, http::header};
use rustls::{
    ClientConfig, RootCertStore,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::Failure;
use crate::config::Server;

/// Largest answer that is read, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// Whose certificates are believed.
pub(super) enum Trust {
    /// Those of the public authorities.
    Public,
    /// Those signed by the certificates in this file (PEM).
    Authority(PathBuf),
    /// The first one in this file (PEM) and no other, whatever names it has: the node's own.
    Exactly(PathBuf),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) date: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(200).collect()
    }
}

/// Asks hubs.
pub(super) struct Probe {
    client: Client,
}

impl Probe {
    /// Must be called on a thread that runs an actix system.
    pub(super) fn new(trust: &Trust, timeout: Duration) -> Result<Self, Failure> {
        // Refused only if a provider has been chosen before, which does as well.
        let _ = ring::default_provider().install_default();
        let mut connector = Connector::new().timeout(timeout).conn_keep_alive(Duration::ZERO);
        if let Some(config) = tls(trust)? {
            connector = connector.rustls_0_23(Arc::new(config));
        }
        let client = Client::builder()
            .connector(connector)
            .timeout(timeout)
            .disable_redirects()
            .no_default_headers()
            .finish();
        Ok(Self { client })
    }

    /// Sends a GET, or a POST if there is a body.
    pub(super) async fn ask(
        &self,
        url: &str,
        bearer: Option<&str>,
        body: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = match body {
            None => self.client.get(url),
            Some(_) => self.client.post(url).content_type("text/plain;charset=UTF-8"),
        };
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let sent = request.send_body(body.unwrap_or_default().to_owned()).await;
        let mut answer = sent.map_err(|error| format!("{url} cannot be reached: {error}"))?;
        let date = answer.headers().get(header::DATE).and_then(|v| v.to_str().ok());
        let date = date.map(str::to_owned);
        let read = answer.body().limit(MAX_BYTES).await;
        let body = read.map_err(|error| format!("{url} breaks off: {error}"))?.to_vec();
        Ok(Answer { status: answer.status().as_u16(), date, body })
    }

    /// Opens a WebSocket and closes it again.
    pub(super) async fn open_websocket(&self, url: &str) -> Result<(), Failure> {
        match self.client.ws(url).connect().await {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The configuration of TLS; none for the client's own, which trusts public authorities.
fn tls(trust: &Trust) -> Result<Option<ClientConfig>, Failure> {
    let read = |path: &PathBuf| {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("no certificate can be read from {}: {error}", path.display()))
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    match trust {
        Trust::Public => Ok(None),
        Trust::Authority(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in read(path)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Ok(Some(builder.with_root_certificates(roots).with_no_client_auth()))
        }
        Trust::Exactly(path) => {
            let certificate = read(path)?.into_iter().next();
            let certificate = certificate.ok_or(format!("{} has none", path.display()))?;
            let algorithms = ring::default_provider().signature_verification_algorithms;
            let verifier = Arc::new(Exactly { certificate, algorithms });
            let config = builder.dangerous().with_custom_certificate_verifier(verifier);
            Ok(Some(config.with_no_client_auth()))
        }
    }
}

/// Takes one certificate. The server proves that it has the key to it, as ever.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if end_entity.as_ref() == self.certificate.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General("the certificate is not that of server.tls_cert".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Where the node of this configuration answers on its own machine, and whom to believe there.
/// A node that listens everywhere is asked on loopback.
pub(super) fn own(server: &Server) -> Result<(String, Trust), Failure> {
    let mut address = server.listen;
    if address.port() == 0 {
        return Err(
            "server.listen has port 0, so that the port is not known; give --url".to_owned()
        );
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        });
    }
    Ok(match &server.tls_cert {
        Some(cert) => (format!("https://{address}"), Trust::Exactly(cert.clone())),
        None => (format!("http://{address}"), Trust::Public),
    })
}
