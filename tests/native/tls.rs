//! TLS without a proxy.

use std::{
    fs::File,
    io::{BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;

use crate::support::*;

/// A certificate for 127.0.0.1 and its key as PEM files; false without `openssl`.
fn make_certificate(folder: &Path) -> bool {
    let output = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args(["-subj", "/CN=hubbub test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .output();
    match output {
        Ok(output) if output.status.success() => true,
        other => {
            eprintln!("skipped: openssl makes no certificate: {other:?}");
            false
        }
    }
}

#[test]
fn sessions_open_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    if !make_certificate(folder.path()) {
        return;
    }
    // A single worker accepts by itself, several are handed connections.
    for workers in ["1", "2"] {
        sessions_open(folder.path(), workers);
    }
}

fn sessions_open(folder: &Path, workers: &str) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let hub = Hub::start(&[
        ("HUBBUB__SERVER__WORKERS", workers),
        ("HUBBUB__SERVER__TLS_CERT", &path("cert.pem")),
        ("HUBBUB__SERVER__TLS_KEY", &path("key.pem")),
    ]);
    let mut roots = RootCertStore::empty();
    let file = BufReader::new(File::open(path("cert.pem")).unwrap());
    for certificate in CertificateDer::pem_reader_iter(file) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(hub.address).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let mut stream = StreamOwned::new(client, socket);

    let way = Handshake::new().bearer(&token("ann", json!({})));
    let origin = format!("https://{}", hub.address);
    let head = way.header("Origin", &origin).head(&hub.address.to_string());
    stream.write_all(head.as_bytes()).unwrap();
    let message = r#"{"type":"message","roomId":"r","content":"sealed"}"#;
    for text in [r#"{"type":"join","roomId":"r"}"#, message] {
        stream.write_all(&masked(0x81, text.as_bytes())).unwrap();
    }
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&got).contains("sealed") {
        match stream.read(&mut piece) {
            Ok(n @ 1..) => got.extend_from_slice(&piece[..n]),
            other => panic!("{other:?} after {}", String::from_utf8_lossy(&got)),
        }
    }
    let text = String::from_utf8_lossy(&got);
    assert!(text.starts_with("HTTP/1.1 101"), "{text}");
    assert!(text.contains("\"authenticated\""), "{text}");

    // Plain bytes at the same door open nothing and break nothing.
    let mut plain = TcpStream::connect(hub.address).unwrap();
    plain.set_read_timeout(Some(SOON)).unwrap();
    plain.write_all(Handshake::new().head("hub").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
    stream.write_all(&masked(0x81, br#"{"type":"ping"}"#)).unwrap();
    got.clear();
    while !String::from_utf8_lossy(&got).contains("pong") {
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0);
        got.extend_from_slice(&piece[..n]);
    }
}
