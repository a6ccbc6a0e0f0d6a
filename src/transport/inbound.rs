//! The bytes of one client on their way to its session: read into one buffer per
//! thread, every frame header looked at before anything is kept, compressed messages
//! inflated, and never more than a piece or one such message at a time.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::Stream;
use hubbub_actors::{session::Connection, shared::Shared};
use hubbub_protocol::{
    close::CloseCode,
    wire::{
        deflate::{InflateError, Inflater, Intake, Passed},
        frame::Opcode,
    },
};

use super::socket::Socket;

/// Bytes read at a time. A client that has sent more waits for its next turn.
const PIECE: usize = 32 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
    static INFLATER: RefCell<Inflater> = const { RefCell::new(Inflater::new()) };
}

/// Makes a plain frame of a compressed message, of at most `max` bytes.
pub(super) fn inflate(opcode: Opcode, data: Vec<u8>, max: usize) -> Result<Bytes, InflateError> {
    INFLATER.with_borrow_mut(|inflater| inflater.frame(opcode, data, max))
}

/// The stream that a session reads.
pub struct Inbound<S> {
    pub(super) socket: S,
    pub(super) intake: Intake,
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
    pub(super) ended: bool,
}

impl<S: Socket> Inbound<S> {
    /// Looks at the headers; keeps what comes before a bad one.
    fn inspect(&mut self, piece: Bytes) -> Bytes {
        let before = self.intake.frames();
        let Passed { bytes, looked, joined, inflated, error } = self.intake.pass(piece, inflate);
        let metrics = &self.shared.metrics;
        metrics.received_bytes.inc_by(looked as u64);
        metrics.received_frames.inc_by(self.intake.frames() - before);
        // They come to the session as one.
        (0..joined).for_each(|_| self.connection.took_frame());
        if let Some((compressed, plain)) = inflated {
            metrics.compressed.with_label_values(&["in"]).inc();
            let saved = plain.saturating_sub(compressed) as u64;
            metrics.compression_saved.with_label_values(&["in"]).inc_by(saved);
            if bytes.len() > PIECE {
                self.socket.turn().store(false, Ordering::Relaxed);
            }
        }
        if let Some(e) = error {
            self.ended = true;
            self.connection.violate(match e.close_code() {
                1009 => CloseCode::TooBig,
                1007 => CloseCode::InvalidText,
                _ => CloseCode::Protocol,
            });
            log::debug!(ip:% = self.connection.peer, error:% = e; "a client broke the protocol");
        }
        bytes
    }
}

impl<S: Socket> Stream for Inbound<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if !this.socket.turn().load(Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // The actor takes a few frames a turn: what is read and not taken must not
        // pile up. Of the last frame only a part may be there.
        if this.intake.frames() > this.connection.frames_taken() + 1 {
            return Poll::Pending;
        }
        // Who does not take its answers is not asked for more. What is above the
        // mark either drains or ends by the stall timer or the bound, so a client
        // that is merely slow goes on being heard.
        if this.connection.outbound.poll_below(3, cx.waker()).is_pending() {
            return Poll::Pending;
        }
        if let Some(rest) = this.intake.take_rest() {
            return Poll::Ready(Some(Ok(this.inspect(rest))));
        }
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let n = std::task::ready!(this.socket.poll_read(cx, scratch))?;
            Poll::Ready(Ok::<_, std::io::Error>(Bytes::copy_from_slice(&scratch[..n])))
        });
        match std::task::ready!(read) {
            Ok(piece) if piece.is_empty() => {
                this.ended = true;
                Poll::Ready(None)
            }
            Ok(piece) => {
                if piece.len() == PIECE {
                    this.socket.turn().store(false, Ordering::Relaxed);
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
