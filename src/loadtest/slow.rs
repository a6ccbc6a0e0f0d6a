//! A reader that is slow on purpose.

use std::{future::poll_fn, io, net::TcpStream as Socket, pin::Pin, task::ready, time::Duration};

use hubbub_protocol::wire::frame::Opcode;
use tokio::{
    io::{AsyncRead, Interest, ReadBuf},
    net::TcpStream,
    time::sleep,
};

use super::{frames, link::Link};

/// How often a slow reader looks.
const SLOW_TICK: Duration = Duration::from_millis(100);
/// After so many looks it sends a pong: who does not read sees no end, but a connection that the
/// hub has dropped answers a write with a reset.
const SLOW_PROBE: u32 = 10;

/// Reads `rate` bytes a second, 0 for none at all, until the hub has had enough. How it ended.
pub async fn crawl(socket: &Socket, link: &Link, rate: usize) -> String {
    // The link keeps its half; this one is for reading.
    match socket.try_clone().and_then(TcpStream::from_std) {
        Ok(mut stream) => {
            read(&mut stream, link, rate).await;
            "closed by the hub".into()
        }
        Err(error) => error.to_string(),
    }
}

async fn read(stream: &mut TcpStream, link: &Link, rate: usize) {
    let share = (rate / 10).max(usize::from(rate > 0));
    let mut pong = Vec::with_capacity(8);
    frames::write(&mut pong, Opcode::Pong, &[]);
    let mut piece = vec![0; share];
    for look in 1u32.. {
        sleep(SLOW_TICK).await;
        if look.is_multiple_of(SLOW_PROBE) {
            link.send(&pong);
        }
        let gone = match stream.ready(Interest::READABLE).await {
            Ok(ready) => ready.is_read_closed(),
            Err(_) => true,
        };
        if gone {
            return;
        }
        if share == 0 {
            continue;
        }
        let read = poll_fn(|cx| {
            let mut buffer = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            Ok::<_, io::Error>(buffer.filled().len()).into()
        });
        match read.await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}
