//! A reading thread: one epoll over all of its connections, one read buffer, one system call for
//! what a connection has got, and the audit. It never waits for anything but its epoll.
//!
//! Opening, leaving and coming back are the business of [`super::conn`], on a thread of its own; it
//! asks by [`Order`] and is told through the two senders of a [`Take`].

use std::{
    io::{ErrorKind, Read},
    net::TcpStream,
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_protocol::wire::frame::{CloseFrame, Opcode};
use mio::{Events, Interest, Poll, Token, Waker, unix::SourceFd};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::{
    LoadError, frames,
    link::Link,
    process,
    session::{Session, Step},
    shared::Shared,
    tally::{Tally, note},
};

/// Connections that are looked at in one turn.
const BATCH: usize = 256;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;
/// How often the thread looks how late it is, and whether the run is over.
const TICK: Duration = Duration::from_millis(20);
/// The token of the waker; no seat has it.
const WAKE: Token = Token(usize::MAX);

/// A transport for a seat.
pub struct Take {
    /// The seat.
    pub seat: usize,
    /// The socket, open and upgraded.
    pub stream: Arc<TcpStream>,
    /// The token that opens the session.
    pub token: Box<str>,
    /// What came with the answer to the handshake.
    pub early: Vec<u8>,
    /// Whether it comes as somebody new, without the positions of before.
    pub fresh: bool,
    /// Told when every room is joined, or why that will not be.
    pub joined: oneshot::Sender<Result<(), String>>,
    /// Told how it ended, once it was joined.
    pub ended: oneshot::Sender<String>,
}

/// What the life of a connection wants of the thread that reads it.
pub enum Order {
    /// Read this one.
    Take(Box<Take>),
    /// It is about to leave: nothing more need come. It is read on until it ends.
    Leave(usize),
    /// Read it no more.
    LetGo(usize),
}

/// Where orders go in. A connection has at most two under way, so that is their bound.
#[derive(Clone)]
pub struct Desk {
    orders: Arc<Mutex<Vec<Order>>>,
    waker: Arc<Waker>,
}

impl Desk {
    /// Orders something; it is done at the thread's next turn.
    pub fn order(&self, order: Order) {
        self.orders.lock().push(order);
        // If that fails the thread looks at its next tick.
        let _ = self.waker.wake();
    }
}

/// One connection.
struct Seat {
    session: Session,
    link: Arc<Link>,
    /// The part of a frame that has come.
    rest: Vec<u8>,
    stream: Option<Arc<TcpStream>>,
    joined: Option<oneshot::Sender<Result<(), String>>>,
    ended: Option<oneshot::Sender<String>>,
}

/// See the module.
pub struct Reader {
    shared: Arc<Shared>,
    tally: Arc<Mutex<Tally>>,
    seats: Vec<Seat>,
    poll: Poll,
    desk: Desk,
    buffer: Vec<u8>,
}

impl Reader {
    /// A reader with a seat for each of the connections `indices`, whose members are entered into
    /// the audit of `tally`.
    ///
    /// # Errors
    /// If the system gives no epoll.
    pub fn new(
        shared: &Arc<Shared>,
        tally: &Arc<Mutex<Tally>>,
        links: &[Arc<Link>],
        indices: impl Iterator<Item = usize>,
    ) -> Result<Self, LoadError> {
        let start = |e: std::io::Error| LoadError::Start(e.to_string());
        let poll = Poll::new().map_err(start)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).map_err(start)?);
        let mut locked = tally.lock();
        let seats = indices.map(|index| Seat {
            session: Session::new(&shared.plan, &mut locked, index),
            link: Arc::clone(&links[index]),
            rest: Vec::new(),
            stream: None,
            joined: None,
            ended: None,
        });
        let seats = seats.collect();
        drop(locked);
        Ok(Self {
            shared: Arc::clone(shared),
            tally: Arc::clone(tally),
            seats,
            poll,
            desk: Desk { orders: Arc::default(), waker },
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Where its orders go in.
    #[must_use]
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Reads until the run is over.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(BATCH);
        let mut watch = Lateness::new();
        while !self.shared.over() {
            match self.poll.poll(&mut events, Some(watch.left())) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.shared.failed(0, 0, format!("a reading thread cannot wait: {error}"));
                    return;
                }
            }
            let tally = Arc::clone(&self.tally);
            let mut tally = tally.lock();
            let mut orders = false;
            for event in &events {
                if event.token() == WAKE {
                    orders = true;
                } else {
                    self.read(event.token().0, event.is_read_closed(), &mut tally);
                }
            }
            if watch.tick(self.shared.sending(), &mut tally) || orders {
                self.obey(tally);
            }
        }
    }

    /// Does what was ordered.
    fn obey(&mut self, mut tally: MutexGuard<'_, Tally>) {
        let orders = std::mem::take(&mut *self.desk.orders.lock());
        for order in orders {
            match order {
                Order::Take(take) => self.take(*take, &mut tally),
                Order::Leave(seat) => self.seats[seat].session.left(&mut tally),
                Order::LetGo(seat) => self.let_go(seat, &mut tally),
            }
        }
    }

    fn take(&mut self, take: Take, tally: &mut Tally) {
        let at = take.seat;
        let seat = &mut self.seats[at];
        if take.fresh {
            seat.session.forget();
        }
        seat.session.begin(&take.token);
        seat.rest.clear();
        seat.joined = Some(take.joined);
        seat.ended = Some(take.ended);
        let fd = take.stream.as_raw_fd();
        seat.stream = Some(take.stream);
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut SourceFd(&fd), Token(at), Interest::READABLE) {
            return self.end(at, error.to_string(), tally);
        }
        let step = hear(seat, &self.shared, tally, &take.early);
        self.follow(at, step, tally);
    }

    /// Reads what has come. A read that does not fill the buffer has emptied the socket, and what
    /// comes later is a new event; unless the other side has ended, which is told only once.
    fn read(&mut self, at: usize, closed: bool, tally: &mut Tally) {
        loop {
            let seat = &mut self.seats[at];
            let Some(stream) = &seat.stream else { return };
            let (step, whole) = match (&**stream).read(&mut self.buffer) {
                Ok(0) => (Step::End("cut without a close frame".into()), true),
                Ok(n) => (hear(seat, &self.shared, tally, &self.buffer[..n]), n < READ_BYTES),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => (Step::End(error.kind().to_string()), true),
            };
            self.follow(at, step, tally);
            if whole && !closed {
                return;
            }
        }
    }

    fn follow(&mut self, at: usize, step: Step, tally: &mut Tally) {
        match step {
            Step::On => {
                let seat = &mut self.seats[at];
                if seat.session.joined()
                    && let Some(joined) = seat.joined.take()
                {
                    let _ = joined.send(Ok(()));
                }
            }
            Step::End(reason) => self.end(at, reason, tally),
        }
    }

    /// It has ended; its life is told.
    fn end(&mut self, at: usize, reason: String, tally: &mut Tally) {
        self.let_go(at, tally);
        let seat = &mut self.seats[at];
        // Who has gone does not want to know.
        if let Some(joined) = seat.joined.take() {
            let _ = joined.send(Err(reason));
        } else if let Some(ended) = seat.ended.take() {
            let _ = ended.send(reason);
        }
    }

    fn let_go(&mut self, at: usize, tally: &mut Tally) {
        let seat = &mut self.seats[at];
        let Some(stream) = seat.stream.take() else { return };
        seat.session.left(tally);
        // The link holds the socket too: it would stay in the epoll.
        let _ = self.poll.registry().deregister(&mut SourceFd(&stream.as_raw_fd()));
    }
}

/// Hands the frames of some bytes to the session.
fn hear(seat: &mut Seat, shared: &Shared, tally: &mut Tally, bytes: &[u8]) -> Step {
    let Seat { session, link, rest, .. } = seat;
    let now = shared.now();
    let mut end = None;
    let fed = frames::feed(rest, bytes, |opcode, payload| {
        let step = match opcode {
            Opcode::Text => session.text(payload, now, link, shared, tally),
            Opcode::Ping => {
                let mut pong = Vec::with_capacity(payload.len() + 6);
                frames::write(&mut pong, Opcode::Pong, payload);
                link.send(&pong);
                Step::On
            }
            Opcode::Close => {
                let mut answer = Vec::with_capacity(16);
                frames::write(&mut answer, Opcode::Close, payload.get(..2).unwrap_or(&[]));
                link.send(&answer);
                Step::End(match CloseFrame::parse(payload) {
                    Ok(CloseFrame { code: Some(code), reason }) => format!("{code} {reason}"),
                    Ok(_) => "closed without a code".into(),
                    Err(error) => error.to_string(),
                })
            }
            Opcode::Binary | Opcode::Pong | Opcode::Continuation => Step::On,
        };
        match step {
            Step::On => true,
            ended => {
                end = Some(ended);
                false
            }
        }
    });
    match (fed, end) {
        (_, Some(ended)) => ended,
        (Err(fault), None) => {
            tally.audit.damaged(session.index, &fault.to_string());
            Step::End(fault.to_string())
        }
        (Ok(_), None) => Step::On,
    }
}

/// How late a thread is, and what it uses while messages are due.
struct Lateness {
    next: Instant,
    /// CPU time when the first message was due.
    before: Option<Duration>,
}

impl Lateness {
    fn new() -> Self {
        Self { next: Instant::now() + TICK, before: None }
    }

    /// Time until the next tick.
    fn left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Notes how late the thread is if it is time; whether it was.
    fn tick(&mut self, sending: bool, tally: &mut Tally) -> bool {
        let now = Instant::now();
        if now < self.next {
            return false;
        }
        let late = now.duration_since(self.next);
        self.next = now + TICK;
        if sending {
            let before = *self.before.get_or_insert_with(process::thread_cpu);
            tally.cpu = process::thread_cpu().saturating_sub(before);
            note(&mut tally.lag, late.as_micros() as u64);
        }
        true
    }
}
