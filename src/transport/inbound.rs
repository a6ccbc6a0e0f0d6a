//! The bytes of one client on their way to its session: read into one buffer per
//! thread, every frame header looked at before anything is kept, and never more
//! than a piece at a time.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use hubbub_actors::{session::Connection, shared::Shared};
use hubbub_protocol::{close::CloseCode, wire::frame::FrameGuard};

use super::socket::{Lane, Socket};

/// Bytes read at a time. A client that has sent more waits for its next turn.
const PIECE: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// The stream that a session reads.
pub struct Inbound<S> {
    pub(super) lane: Rc<Lane<S>>,
    /// What came with the handshake.
    pub(super) first: Option<Box<Bytes>>,
    pub(super) guard: FrameGuard,
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
    pub(super) ended: bool,
}

impl<S: Socket> Inbound<S> {
    /// Looks at the headers; keeps what comes before a bad one.
    fn inspect(&mut self, mut piece: Bytes) -> Bytes {
        self.shared.metrics.received_bytes.inc_by(piece.len() as u64);
        let before = self.guard.frames();
        if let Err(e) = self.guard.inspect(&piece) {
            self.ended = true;
            self.connection.violate(match e.close_code() {
                1009 => CloseCode::TooBig,
                1007 => CloseCode::InvalidText,
                _ => CloseCode::Protocol,
            });
            log::debug!(ip:% = self.connection.peer, error:% = e; "a client broke the protocol");
            piece.truncate(self.guard.sound_bytes());
        }
        self.shared.metrics.received_frames.inc_by(self.guard.frames() - before);
        piece
    }
}

impl<S: Socket> Stream for Inbound<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(this.inspect(*first))));
        }
        if !this.lane.turn.get() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The actor takes a few frames a turn: what is read and not taken must not
        // pile up. Of the last frame only a part may be there.
        if this.guard.frames() > this.connection.frames_taken() + 1 {
            return Poll::Pending;
        }
        // Who does not take its answers is not asked for more. What is above the
        // mark either drains or ends by the stall timer or the bound, so a client
        // that is merely slow goes on being heard.
        if this.connection.outbound.poll_below(3, cx.waker()).is_pending() {
            return Poll::Pending;
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let n = std::task::ready!(this.lane.socket.poll_read(cx, scratch))?;
            Poll::Ready(Ok::<_, std::io::Error>(Bytes::copy_from_slice(&scratch[..n])))
        });
        match std::task::ready!(read) {
            Ok(piece) if piece.is_empty() => {
                this.ended = true;
                Poll::Ready(None)
            }
            Ok(piece) => {
                if piece.len() == PIECE {
                    this.lane.turn.set(false);
                }
                Poll::Ready(Some(Ok(this.inspect(piece))))
            }
            Err(_) => {
                this.ended = true;
                Poll::Ready(None)
            }
        }
    }
}
