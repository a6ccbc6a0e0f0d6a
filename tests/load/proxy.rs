//! Stands between clients and a hub and does to one frame what no hub may do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// What happens to a message on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It never comes.
    Drop,
    /// It comes twice.
    Repeat,
    /// The next one comes first.
    Swap,
    /// A byte of its content is another one.
    Damage,
}

/// Listens until the test process ends, and does the harm to message number `victim` that passes
/// through it, counted over all connections.
pub fn proxy(hub: SocketAddr, harm: Harm, victim: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicU32::new(0));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(hub).unwrap();
            let (mut up_from, mut up_to) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up_from, &mut up_to));
            let seen = Arc::clone(&seen);
            thread::spawn(move || down(server, client, harm, victim, &seen));
        }
    });
    address
}

/// Passes on what the hub sends.
fn down(mut hub: TcpStream, mut client: TcpStream, harm: Harm, victim: u32, seen: &AtomicU32) {
    let mut buffer = Vec::new();
    let mut held: Option<Vec<u8>> = None;
    let mut upgraded = false;
    let mut piece = [0; 16 * 1024];
    while let Ok(n @ 1..) = hub.read(&mut piece) {
        buffer.extend_from_slice(&piece[..n]);
        if !upgraded {
            let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            client.write_all(&head).unwrap();
            upgraded = true;
        }
        while let Some(mut frame) = take(&mut buffer) {
            let is_message = frame.windows(16).any(|w| w == br#""type":"message""#);
            let mut out = Vec::new();
            if is_message && seen.fetch_add(1, Ordering::SeqCst) == victim {
                match harm {
                    Harm::Drop => continue,
                    Harm::Repeat => out.extend_from_slice(&frame),
                    Harm::Swap => {
                        held = Some(frame);
                        continue;
                    }
                    Harm::Damage => {
                        let at = frame.windows(4).position(|w| w == b"xxxx").unwrap();
                        frame[at] = b'y';
                    }
                }
            }
            out.extend_from_slice(&frame);
            if is_message && let Some(held) = held.take() {
                out.extend_from_slice(&held);
            }
            if client.write_all(&out).is_err() {
                return;
            }
        }
    }
}

/// The first whole frame.
fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = match *buffer.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes(*buffer.get(2..)?.first_chunk()?)),
        127 => 10 + u64::from_be_bytes(*buffer.get(2..)?.first_chunk()?) as usize,
        n => 2 + usize::from(n),
    };
    (buffer.len() >= length).then(|| buffer.drain(..length).collect())
}
