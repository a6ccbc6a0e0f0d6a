//! Plain HTTP, one request of a connection at a time.
//!
//! The HTTP/1 dispatcher decodes every request that is in its buffer, and what it has decoded waits
//! for the answers before it: some 7 KiB each, however short the request was. A client that sends
//! ahead and reads nothing would have it hold thousands of them. So the dispatcher is handed the
//! bytes up to the end of a head, then those of the body, and nothing more before the answer is
//! written. What comes meanwhile waits in the kernel, but for one piece of at most [`PIECE`] bytes
//! that is read aside: it shows whether the client is still there.
//!
//! A client that takes nothing of an answer for as long as `session.stall_timeout_ms` is cut.

use std::{
    cell::{Cell, RefCell},
    error::Error as StdError,
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use actix_codec::{AsyncRead, AsyncWrite, Framed, FramedParts, ReadBuf};
use actix_http::{
    HttpMessage, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    h1, header,
};
use actix_service::{Service, ServiceFactory, apply_fn_factory};
use bytes::Bytes;
use tokio::time::Sleep;

/// Most bytes that are read at a time while a head is expected, and most that wait here.
pub const PIECE: usize = 4096;

/// What the client may send now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The head of a request.
    Head,
    /// So many bytes of the body of the request that is being answered.
    Body(u64),
    /// Its body in chunks.
    Chunks(Chunks),
    /// What is left of a body in chunks, whose request is answered.
    Rest(Chunks),
}

/// How far a head has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Head {
    /// It has not begun, whatever line breaks there were.
    Before,
    /// In a line.
    Line,
    /// At the beginning of a line.
    Break,
}

impl Head {
    /// Follows the head to the empty line that ends it: also with bare line feeds, as lenient
    /// parsers take them.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            *self = match (*self, byte) {
                (_, b'\r') | (Self::Before, b'\n') => *self,
                (Self::Line, b'\n') => Self::Break,
                (Self::Break, b'\n') => {
                    *self = Self::Before;
                    return Some(at + 1);
                }
                _ => Self::Line,
            };
        }
        None
    }
}

/// Where a chunked body is (RFC 9112, section 7.1). What breaks its rules is the dispatcher's to
/// refuse; here it only makes a piece end early or late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chunks {
    /// In the size of a chunk.
    Size(u64),
    /// In what follows the size on its line.
    Extension(u64),
    /// So many bytes before the next size.
    Data(u64),
    /// Behind the last chunk; whether the line is empty so far.
    Trailer { empty: bool },
}

impl Chunks {
    /// Follows the body; where it ends, if it does.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            *self = match (*self, byte) {
                (Self::Size(0) | Self::Extension(0), b'\n') => Self::Trailer { empty: true },
                // The data ends with a line break of its own.
                (Self::Size(size) | Self::Extension(size), b'\n') => {
                    Self::Data(size.saturating_add(2))
                }
                (Self::Size(size), digit) => match char::from(*digit).to_digit(16) {
                    Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                    None => Self::Extension(size),
                },
                (Self::Extension(size), _) => Self::Extension(size),
                (Self::Data(left), _) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX);
                    let here = here.min(bytes.len() - at + 1);
                    at += here - 1;
                    match left - here as u64 {
                        0 => Self::Size(0),
                        left => Self::Data(left),
                    }
                }
                (Self::Trailer { empty: true }, b'\n') => return Some(at),
                (Self::Trailer { empty }, byte) => {
                    Self::Trailer { empty: *byte == b'\n' || (empty && *byte == b'\r') }
                }
            };
        }
        None
    }
}

/// Where a connection is, as its socket and its requests know it.
pub struct Pace {
    phase: Cell<Phase>,
    /// The dispatcher, if it waits for its turn and not for the socket.
    waker: RefCell<Option<Waker>>,
}

impl Pace {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// A connection before its upgrade.
pub struct Paced<T> {
    io: T,
    pace: Rc<Pace>,
    /// What is read and not handed on.
    held: Vec<u8>,
    /// How far the head has come.
    head: Head,
    /// A whole head was handed on, which the dispatcher has yet to see.
    handed: bool,
    /// Runs while the client takes nothing of what is to be written.
    stall: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl<T> Paced<T> {
    /// Of a connection that is cut when its client takes nothing for as long as `patience`.
    pub fn new(io: T, patience: Duration) -> Self {
        let pace = Pace { phase: Cell::new(Phase::Head), waker: RefCell::default() };
        let (held, head) = (Vec::new(), Head::Before);
        Self { io, pace: Rc::new(pace), held, head, handed: false, stall: None, patience }
    }

    /// What requests of the connection know it by: to be put into its data.
    pub fn pace(&self) -> Rc<Pace> {
        self.pace.clone()
    }

    /// How many bytes may be handed on now; 0 for none.
    fn allowance(&self) -> usize {
        match self.pace.phase.get() {
            _ if self.stall.is_some() => 0,
            Phase::Head | Phase::Chunks(_) | Phase::Rest(_) => PIECE,
            Phase::Body(left) => usize::try_from(left).unwrap_or(usize::MAX),
        }
    }

    /// How many of the bytes are handed on, given that all of them may be read.
    fn admit(&mut self, bytes: &[u8]) -> usize {
        match self.pace.phase.get() {
            Phase::Head => match self.head.end(bytes) {
                Some(end) => {
                    self.handed = true;
                    end
                }
                None => bytes.len(),
            },
            Phase::Body(left) => {
                self.pace.phase.set(Phase::Body(left.saturating_sub(bytes.len() as u64)));
                bytes.len()
            }
            Phase::Chunks(mut chunks) => {
                let end = chunks.end(bytes);
                let next = end.map_or(Phase::Chunks(chunks), |_| Phase::Body(0));
                self.pace.phase.set(next);
                end.unwrap_or(bytes.len())
            }
            Phase::Rest(mut chunks) => {
                let end = chunks.end(bytes);
                self.pace.phase.set(end.map_or(Phase::Rest(chunks), |_| Phase::Head));
                end.unwrap_or(bytes.len())
            }
        }
    }

    /// Watches that the client takes something.
    fn watched<R>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if result.is_ready() {
            if self.stall.take().is_some() {
                self.pace.wake();
            }
            return result;
        }
        let patience = self.patience;
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> Paced<T> {
    /// Reads aside if nothing is held. What comes waits for its turn; the end is told at once.
    fn wait(&mut self, cx: &mut Context<'_>, soon: bool) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            let mut space = [MaybeUninit::uninit(); PIECE];
            let mut aside = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut aside))?;
            if aside.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held.extend_from_slice(aside.filled());
        }
        if soon {
            cx.waker().wake_by_ref();
        } else {
            *self.pace.waker.borrow_mut() = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let allowance = this.allowance().min(buf.remaining());
        if allowance == 0 || std::mem::take(&mut this.handed) {
            return this.wait(cx, allowance > 0);
        }
        if !this.held.is_empty() {
            let held = std::mem::take(&mut this.held);
            let end = this.admit(&held[..allowance.min(held.len())]);
            buf.put_slice(&held[..end]);
            this.held.extend_from_slice(&held[end..]);
            return Poll::Ready(Ok(()));
        }
        let mut space = [MaybeUninit::uninit(); PIECE];
        let mut piece = ReadBuf::uninit(&mut space[..allowance.min(PIECE)]);
        ready!(Pin::new(&mut this.io).poll_read(cx, &mut piece))?;
        let end = this.admit(piece.filled());
        buf.put_slice(&piece.filled()[..end]);
        this.held.extend_from_slice(&piece.filled()[end..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watched(cx, written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.watched(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.io).poll_shutdown(cx);
        this.watched(cx, ended)
    }
}

/// A connection whose upgrade was asked for, with everything that came behind the request.
pub fn upgraded<T>(framed: Framed<Paced<T>, h1::Codec>) -> Framed<T, h1::Codec>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut parts = framed.into_parts();
    parts.read_buf.extend_from_slice(&parts.io.held);
    let mut plain = FramedParts::with_read_buf(parts.io.io, parts.codec, parts.read_buf);
    plain.write_buf = parts.write_buf;
    Framed::from_parts(plain)
}

/// An application whose requests keep the pace of their connection: one that has a [`Pace`] among
/// its data is handed the next request when the answer to this one is written.
pub fn keeping<S, B>(
    application: S,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = Response<Answer>,
    Error = S::Error,
    InitError = S::InitError,
    Service = impl Service<Request, Response = Response<Answer>, Error = S::Error, Future: 'static>,
    Future: 'static,
>
where
    S: ServiceFactory<Request, Config = (), Response: Into<Response<B>>> + 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    apply_fn_factory(application, |request: Request, application: &S::Service| {
        let pace = request.conn_data::<Rc<Pace>>().cloned();
        let turn = pace.map(|pace| Turn::begin(pace, &request));
        let work = application.call(request);
        async move {
            let response: Response<B> = work.await?.into();
            Ok(response.map_body(|_, body| Answer { body: body.boxed(), _turn: turn }))
        }
    })
}

/// A request that is being answered.
struct Turn(Rc<Pace>);

impl Turn {
    fn begin(pace: Rc<Pace>, request: &Request) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.trim().parse().ok());
        pace.phase.set(if request.chunked().unwrap_or(false) {
            Phase::Chunks(Chunks::Size(0))
        } else {
            Phase::Body(length.unwrap_or(0))
        });
        Self(pace)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.phase.set(match self.0.phase.get() {
            Phase::Chunks(chunks) => Phase::Rest(chunks),
            _ => Phase::Head,
        });
        self.0.wake();
    }
}

/// An answer; what the client sends next is read when it is written.
pub struct Answer {
    body: BoxBody,
    _turn: Option<Turn>,
}

impl MessageBody for Answer {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests;
