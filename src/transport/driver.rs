//! The driver: the one task of a connection. It polls the session's actor, writes
//! what waits when the flush list could not, watches that the client takes
//! something, and ends the connection.

use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hubbub_actors::{
    outbound::{Drained, Outbound},
    session::engine::seat::Seat,
    shared::Shared,
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

/// A connection at work.
pub struct Driver<S> {
    pub(super) socket: Rc<S>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) shared: Arc<Shared>,
    pub(super) turn: Rc<Cell<bool>>,
    pub(super) stall_timeout: Duration,
    /// What the connection is counted by, given back at the end.
    pub(super) seat: Seat,
    /// The reason that is counted for a reason.
    pub(super) name: fn(Reason) -> Reason,
}

/// Watches that the client takes something while something waits.
#[derive(Default)]
struct Stall {
    timer: Option<Pin<Box<Sleep>>>,
    progress: u64,
}

impl Stall {
    /// Whether the client has taken nothing for `timeout`.
    fn check(&mut self, cx: &mut Context<'_>, outbound: &Outbound, timeout: Duration) -> bool {
        let progress = outbound.progress();
        if self.timer.is_none() || progress != self.progress {
            self.progress = progress;
            self.timer = Some(Box::pin(sleep_until(Instant::now() + timeout)));
        }
        self.timer.as_mut().is_some_and(|t| t.as_mut().poll(cx).is_ready())
    }
}

impl<S: Socket> Driver<S> {
    /// Drives the connection until it ends, and counts it.
    ///
    /// This is the whole task of a connection. It is not wrapped in another future,
    /// which would hold everything twice for as long as the connection is idle.
    pub async fn run(self, session: Actor) {
        let mut session = Some(session);
        let mut stall = Stall::default();
        let mut closing: Option<Instant> = None;
        let reason =
            std::future::poll_fn(|cx| self.poll(cx, &mut session, &mut stall, &mut closing)).await;
        let cut = reason.is_some();
        let reason = reason.unwrap_or_else(|| self.outbound.reason());
        if cut {
            self.outbound.fail(reason);
        }
        // Whatever still runs of the session ends here.
        drop(session);
        if !cut {
            // On its own, so that its memory is not part of every idle connection's.
            Box::pin(linger(self.socket)).await;
            self.outbound.fail(reason);
        }
        self.shared.metrics.closed.with_label_values(&[(self.name)(reason)]).inc();
        drop(self.seat);
    }

    /// One turn. Ready with a reason if the connection is to be cut, with none if
    /// it is to be ended in peace.
    fn poll(
        &self,
        cx: &mut Context<'_>,
        session: &mut Option<Actor>,
        stall: &mut Stall,
        closing: &mut Option<Instant>,
    ) -> Poll<Option<Reason>> {
        self.outbound.register_driver(cx.waker());
        self.turn.set(true);
        if let Some(actor) = session {
            match catch_unwind(AssertUnwindSafe(|| actor.as_mut().poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => *session = None,
                Err(_) => {
                    self.shared.metrics.panics.with_label_values(&["session"]).inc();
                    log::error!(actor = "session"; "a session panicked and was closed");
                    self.outbound.close_now(CloseCode::HubFailure);
                    *session = None;
                }
            }
        }
        let ends = self.outbound.closing().is_some();
        if ends && closing.is_none() {
            // Its traces go at once; what waits is still written.
            *session = None;
            *closing = Some(Instant::now());
            stall.timer = None;
        }
        let drained = if self.outbound.needs_driver() || self.socket.writer().is_none() || ends {
            self.socket.drain(cx, &self.outbound)
        } else if session.is_none() {
            Drained::Empty
        } else {
            // The flush list writes; it hands over when it is blocked.
            return Poll::Pending;
        };
        self.shared.metrics.outbound_bytes.inc_by(self.outbound.count_progress());
        match drained {
            Drained::Failed => Poll::Ready(Some(self.cut())),
            Drained::Empty => {
                stall.timer = None;
                if ends || session.is_none() { Poll::Ready(None) } else { Poll::Pending }
            }
            Drained::Blocked => {
                let timeout =
                    if ends { CLOSING.min(self.stall_timeout) } else { self.stall_timeout };
                if stall.check(cx, &self.outbound, timeout) {
                    return Poll::Ready(Some(if ends { self.cut() } else { "stalled" }));
                }
                if closing.is_some_and(|since| since.elapsed() > CLOSING) {
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
}

/// Says that nothing more comes and waits a moment for the client's side, so
/// that the last frames are not lost to a reset.
async fn linger<S: Socket>(socket: Rc<S>) {
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
