//! Opens a connection: TCP from the wanted source, then the WebSocket handshake (RFC 6455,
//! section 4.1).

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{target::Target, tokens::answer_of, wire};

/// The nonce of RFC 6455, section 1.3, and the answer that it must have.
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Longest head of an answer.
const MAX_HEAD: usize = 16 * 1024;
/// Receive buffer of a slow reader, so that the hub feels it soon.
const SLOW_BUFFER: u32 = 4096;
/// Segment size of a slow reader, as over Ethernet.
const SLOW_SEGMENT: u32 = 1460;

/// A TCP connection to `target`.
///
/// # Errors
/// What the system says.
pub async fn connect(
    target: &Target,
    source: Option<SocketAddr>,
    slow: bool,
) -> io::Result<TcpStream> {
    let socket = if target.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if slow {
        socket.set_recv_buffer_size(SLOW_BUFFER)?;
        // Segments as over a real network: over loopback one holds 64 KiB.
        socket2::SockRef::from(&socket).set_tcp_mss(SLOW_SEGMENT)?;
    }
    if let Some(source) = source {
        // Many connections from one address: a port that is only closing does.
        socket.set_reuseaddr(true)?;
        socket.bind(source)?;
    }
    let stream = socket.connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The handshake. The bytes that came after it are returned.
///
/// # Errors
/// A sentence with what the hub answered.
pub async fn upgrade(
    stream: &mut TcpStream,
    target: &Target,
    path: &str,
    token: Option<&str>,
) -> Result<Vec<u8>, String> {
    let authorization =
        token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {NONCE}\r\n{authorization}\r\n",
        target.host
    );
    stream.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if let Some((status, after)) = answer_of(&answer) {
            return judge(stream, status, after, &answer).await;
        }
        if answer.len() > MAX_HEAD {
            return Err("the answer to the handshake has no end".into());
        }
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err("the hub ended the connection during the handshake".into()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn judge(
    stream: &mut TcpStream,
    status: u16,
    after: &[u8],
    answer: &[u8],
) -> Result<Vec<u8>, String> {
    if status != 101 {
        let mut body = after.to_vec();
        // The reason, if it comes at once.
        if body.is_empty() {
            let more = stream.read_buf(&mut body);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(500), more).await;
        }
        return Err(format!("the handshake was answered with {status} {}", wire::reason(&body)));
    }
    if memchr::memmem::find(answer, ACCEPT).is_none() {
        return Err("the answer to the handshake has a wrong Sec-WebSocket-Accept".into());
    }
    Ok(after.to_vec())
}
