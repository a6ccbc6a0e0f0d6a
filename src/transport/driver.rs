//! The driver: the one task of a connection. It polls the session's actor, writes
//! what waits when the flush list could not, watches that the client takes
//! something, and ends the connection.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use hubbub_actors::{
    outbound::{Drained, Outbound},
    session::engine::seat::Seat,
};
use hubbub_protocol::close::CloseCode;
use tokio::time::{Instant, Sleep, sleep_until};

use super::socket::Socket;

/// How long a closed connection waits for the client's side of the close.
const LINGER: Duration = Duration::from_secs(1);
/// How long what waits may take to be written once the connection is closing.
const CLOSING: Duration = Duration::from_secs(5);

/// Why a connection ended, for logs and metrics.
pub type Reason = &'static str;

/// The session's actor at work. Boxed before the driver's task is made, so that
/// the task of an idle connection stays small.
pub type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// A connection at work: a future that ends when the connection has, and counts it.
///
/// This is the whole task of a connection, and it is written by hand: an `async fn`
/// would hold more for as long as the connection is idle, and the runtime rounds
/// its tasks up to 128 bytes.
pub struct Driver<S> {
    socket: S,
    outbound: Arc<Outbound>,
    /// The session; once that has ended and all is written, the lingering.
    work: Option<Actor>,
    trouble: Option<Box<Trouble>>,
    /// The reason that is counted for a reason.
    name: fn(Reason) -> Reason,
    /// What the connection is counted by, given back at the end.
    seat: Seat,
    stall_timeout_ms: u32,
    lingers: bool,
}

/// What is watched once a client does not take what waits, or the connection is
/// closing.
#[derive(Default)]
struct Trouble {
    timer: Option<Pin<Box<Sleep>>>,
    progress: u64,
    closing: Option<Instant>,
}

impl Trouble {
    /// Whether the client has taken nothing for `timeout`.
    fn stalled(&mut self, cx: &mut Context<'_>, outbound: &Outbound, timeout: Duration) -> bool {
        let progress = outbound.progress();
        if self.timer.is_none() || progress != self.progress {
            self.progress = progress;
            self.timer = Some(Box::pin(sleep_until(Instant::now() + timeout)));
        }
        self.timer.as_mut().is_some_and(|t| t.as_mut().poll(cx).is_ready())
    }
}

impl<S: Socket> Driver<S> {
    /// The driver of a connection whose bytes `session` reads; `name` gives the reason
    /// that is counted for a reason.
    pub(super) fn new(
        socket: S,
        outbound: Arc<Outbound>,
        session: Actor,
        seat: Seat,
        name: fn(Reason) -> Reason,
        stall_timeout_ms: u32,
    ) -> Self {
        Self {
            socket,
            outbound,
            work: Some(session),
            trouble: None,
            name,
            seat,
            stall_timeout_ms,
            lingers: false,
        }
    }

    /// One turn. Ready with a reason if the connection is to be cut, with none if
    /// it is to be ended in peace.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reason>> {
        self.outbound.register_driver(cx.waker());
        self.socket.turn().store(true, Ordering::Relaxed);
        if let Some(actor) = &mut self.work {
            match catch_unwind(AssertUnwindSafe(|| actor.as_mut().poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => self.work = None,
                Err(_) => {
                    self.seat.shared().metrics.panics.with_label_values(&["session"]).inc();
                    log::error!(actor = "session"; "a session panicked and was closed");
                    self.outbound.close_now(CloseCode::HubFailure);
                    self.work = None;
                }
            }
        }
        let ends = self.outbound.closing().is_some();
        if ends && self.trouble.as_ref().is_none_or(|t| t.closing.is_none()) {
            // Its traces go at once; what waits is still written.
            self.work = None;
            let closing = Some(Instant::now());
            self.trouble = Some(Box::new(Trouble { closing, ..Trouble::default() }));
        }
        let drained = if self.outbound.needs_driver() || self.socket.writer().is_none() || ends {
            self.socket.drain(cx, &self.outbound)
        } else if self.work.is_none() {
            Drained::Empty
        } else {
            // The flush list writes; it hands over when it is blocked.
            return Poll::Pending;
        };
        self.seat.shared().metrics.outbound_bytes.inc_by(self.outbound.count_progress());
        match drained {
            Drained::Failed => Poll::Ready(Some(self.cut())),
            Drained::Empty if ends || self.work.is_none() => Poll::Ready(None),
            Drained::Empty => {
                self.trouble = None;
                Poll::Pending
            }
            Drained::Blocked => {
                let stall_timeout = Duration::from_millis(self.stall_timeout_ms.into());
                let timeout = if ends { CLOSING.min(stall_timeout) } else { stall_timeout };
                let trouble = self.trouble.get_or_insert_default();
                if trouble.stalled(cx, &self.outbound, timeout) {
                    return Poll::Ready(Some(if ends { self.cut() } else { "stalled" }));
                }
                if trouble.closing.is_some_and(|since| since.elapsed() > CLOSING) {
                    return Poll::Ready(Some(self.cut()));
                }
                Poll::Pending
            }
        }
    }

    /// The reason of a connection that the client has cut, or the one that was
    /// about to be told.
    fn cut(&self) -> Reason {
        self.outbound.reason()
    }

    /// Counts the end.
    fn end(&mut self, reason: Reason) -> Poll<()> {
        self.outbound.fail(reason);
        // Whatever still runs of the session ends here.
        self.work = None;
        self.seat.shared().metrics.closed.with_label_values(&[(self.name)(reason)]).inc();
        Poll::Ready(())
    }
}

impl<S: Socket> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.lingers {
            if let Some(reason) = std::task::ready!(self.turn(cx)) {
                return self.end(reason);
            }
            // The session goes first.
            self.work = None;
            if self.outbound.is_answered() && self.socket.is_quiet(cx) {
                // Both sides have said that they close (RFC 6455, section 7.1.1).
                let reason = self.outbound.reason();
                return self.end(reason);
            }
            self.work = Some(Box::pin(linger(self.socket.clone())));
            self.lingers = true;
        }
        if let Some(lingering) = &mut self.work {
            std::task::ready!(lingering.as_mut().poll(cx));
        }
        let reason = self.outbound.reason();
        self.end(reason)
    }
}

/// Says that nothing more comes and waits a moment for the client's side, so
/// that the last frames are not lost to a reset.
async fn linger<S: Socket>(socket: S) {
    let mut scratch = [0; 1024];
    let mut budget = 256;
    let mut shut = false;
    let end = std::future::poll_fn(|cx| {
        if !shut {
            shut = std::task::ready!(socket.poll_shutdown(cx)).is_ok();
            if !shut {
                return Poll::Ready(());
            }
        }
        loop {
            match std::task::ready!(socket.poll_read(cx, &mut scratch)) {
                Ok(n) if n > 0 && budget > 0 => budget -= 1,
                _ => return Poll::Ready(()),
            }
        }
    });
    // Whether it ended by itself or the time was over comes to the same.
    let _ = tokio::time::timeout(LINGER, end).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::socket::Plain;

    /// The runtime adds about 110 bytes and rounds up to a multiple of 128.
    #[test]
    fn the_task_of_an_idle_connection_fits_into_256_bytes() {
        assert!(size_of::<Driver<Plain>>() <= 136, "{}", size_of::<Driver<Plain>>());
    }
}
