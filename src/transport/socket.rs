//! The two kinds of socket, plain and TLS, as the driver sees them.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
};

use actix_web::rt::net::TcpStream;
use hubbub_actors::outbound::{Drained, Outbound, RawWrite};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected socket that only its driver polls; clones are the same socket.
pub trait Socket: Clone + Unpin + 'static {
    /// Reads what is there; 0 bytes is the end.
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Writes what waits; when it is blocked, the task is woken once it is not.
    fn drain(&self, cx: &mut Context<'_>, outbound: &Outbound) -> Drained;
    /// A way to write from outside the driver, where there is one.
    fn writer(&self) -> Option<Arc<dyn RawWrite>>;
    /// Says that nothing more will be written.
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Whether more may be read in this turn: set by the driver at each, taken by a full
    /// piece.
    fn turn(&self) -> &AtomicBool;

    /// Whether nothing that came is unread: only then no reset follows the last frame when the
    /// socket is closed.
    fn is_quiet(&self, cx: &mut Context<'_>) -> bool {
        !matches!(self.poll_read(cx, &mut [0]), Poll::Ready(Ok(1..)))
    }
}

/// What the upgrade service may be handed.
pub trait IntoSocket {
    /// The kind of socket.
    type Socket: Socket;
    /// Wraps it.
    fn into_socket(self) -> Self::Socket;
    /// Makes it ready for another thread.
    fn into_moved(self) -> io::Result<Moved>;
}

/// A connected socket on its way to the thread that will drive it.
pub enum Moved {
    /// TCP, not registered with any thread.
    Plain(std::net::TcpStream),
    /// TLS; its readiness is still seen by the thread it comes from.
    Tls(Box<actix_tls::accept::rustls_0_23::TlsStream<TcpStream>>),
}

/// A TCP connection. It may be written to by whoever flushes its queue.
#[derive(Clone)]
pub struct Plain(Arc<Tcp>);

struct Tcp {
    stream: tokio::net::TcpStream,
    turn: AtomicBool,
}

impl RawWrite for Tcp {
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // Most often the socket takes it at once, and what the runtime knows of the socket need
        // not be looked at. Where it does not, the runtime must learn of it from its own try.
        let written = match slices {
            [one] => rustix::net::send(&self.stream, one, SendFlags::NOSIGNAL),
            many => rustix::io::writev(&self.stream, many),
        };
        match (written, slices) {
            (Ok(n), _) => Ok(n),
            (Err(e), _) if e != rustix::io::Errno::AGAIN => Err(e.into()),
            (_, [one]) => self.stream.try_write(one),
            (_, many) => self.stream.try_write_vectored(many),
        }
    }
}

impl IntoSocket for TcpStream {
    type Socket = Plain;

    fn into_socket(self) -> Plain {
        Plain(Arc::new(Tcp { stream: self, turn: true.into() }))
    }

    fn into_moved(self) -> io::Result<Moved> {
        self.into_std().map(Moved::Plain)
    }
}

impl Socket for Plain {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let stream = &self.0.stream;
        loop {
            std::task::ready!(stream.poll_read_ready(cx))?;
            // What fills less than the buffer was all there is: that is noted as if the
            // next read had said so, which saves asking.
            let mut last = None;
            let read = stream.try_io(Interest::READABLE, || {
                let n = rustix::net::recv(stream, &mut *buf, RecvFlags::empty())?.0;
                if n == 0 || n == buf.len() {
                    return Ok(n);
                }
                last = Some(n);
                Err(io::ErrorKind::WouldBlock.into())
            });
            match (last, read) {
                (Some(n), _) => return Poll::Ready(Ok(n)),
                (None, Err(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                (None, read) => return Poll::Ready(read),
            }
        }
    }

    fn drain(&self, cx: &mut Context<'_>, outbound: &Outbound) -> Drained {
        loop {
            match outbound.drain(&mut |slices| self.0.try_write(slices)) {
                Drained::Blocked => {}
                done => return done,
            }
            match self.0.stream.poll_write_ready(cx) {
                Poll::Pending => return Drained::Blocked,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Drained::Failed,
            }
        }
    }

    fn writer(&self) -> Option<Arc<dyn RawWrite>> {
        Some(self.0.clone())
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = rustix::net::shutdown(&self.0.stream, rustix::net::Shutdown::Write);
        Poll::Ready(shut.map_err(Into::into))
    }

    fn turn(&self) -> &AtomicBool {
        &self.0.turn
    }
}

/// A TLS connection: only its driver can write to it.
pub struct Tls<S>(Rc<Encrypted<S>>);

struct Encrypted<S> {
    stream: RefCell<S>,
    turn: AtomicBool,
}

impl<S> Clone for Tls<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl IntoSocket for actix_tls::accept::rustls_0_23::TlsStream<TcpStream> {
    type Socket = Tls<Self>;

    fn into_socket(self) -> Tls<Self> {
        Tls(Rc::new(Encrypted { stream: self.into(), turn: true.into() }))
    }

    fn into_moved(self) -> io::Result<Moved> {
        Ok(Moved::Tls(Box::new(self)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Socket for Tls<S> {
    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        read_with(Pin::new(&mut *self.0.stream.borrow_mut()), cx, buf)
    }

    fn drain(&self, cx: &mut Context<'_>, outbound: &Outbound) -> Drained {
        let mut stream = self.0.stream.borrow_mut();
        let drained = outbound.drain(&mut |slices| match Pin::new(&mut *stream)
            .poll_write_vectored(cx, slices)
        {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        });
        match Pin::new(&mut *stream).poll_flush(cx) {
            _ if drained != Drained::Empty => drained,
            Poll::Ready(Ok(())) => Drained::Empty,
            Poll::Ready(Err(_)) => Drained::Failed,
            Poll::Pending => Drained::Blocked,
        }
    }

    fn writer(&self) -> Option<Arc<dyn RawWrite>> {
        None
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }

    fn turn(&self) -> &AtomicBool {
        &self.0.turn
    }
}

fn read_with(
    io: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(buf);
    io.poll_read(cx, &mut buf).map_ok(|()| buf.filled().len())
}
