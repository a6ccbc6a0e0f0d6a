//! One connection: opens, joins, listens, comes back.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use hubbub_protocol::wire::frame::{CloseFrame, Opcode};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::OwnedReadHalf,
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    dial, frames,
    link::Link,
    session::{Session, Step},
    shared::Shared,
    tally::{Tally, count, note},
    wire::Wire,
};

/// How long a connection may take from the first byte until it has joined.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a clean close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest and longest pause before a lost connection comes back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// How often a slow reader looks.
const SLOW_TICK: Duration = Duration::from_millis(100);
/// After so many looks it sends a pong: who does not read sees no end, but a connection that the
/// hub has dropped answers a write with a reset.
const SLOW_PROBE: u32 = 10;

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// The hub or the network ended it: a reason in a few words.
    Lost(String),
    /// Its turn in the churn has come.
    Churn,
}

/// See the module.
pub struct Conn {
    shared: Arc<Shared>,
    tally: Arc<Mutex<Tally>>,
    link: Arc<Link>,
    index: usize,
    session: Session,
    /// The token and the node that it is for.
    token: Option<(usize, Box<str>)>,
    /// The part of a frame that has come.
    rest: Vec<u8>,
    /// Which node comes next.
    attempt: usize,
}

impl Conn {
    /// A connection that is yet to be opened. Its members are entered into the audit of `tally`.
    pub fn new(
        shared: Arc<Shared>,
        tally: Arc<Mutex<Tally>>,
        link: Arc<Link>,
        index: usize,
    ) -> Self {
        let session = Session::new(&shared.plan, &mut tally.lock(), index);
        Self { shared, tally, link, index, session, token: None, rest: Vec::new(), attempt: 0 }
    }

    /// Its whole life: opens after `delay`, at most as many at a time as `gate` lets through.
    pub async fn live(mut self, delay: Duration, gate: Arc<Semaphore>) {
        sleep(delay).await;
        let opened = {
            let _permit = gate.acquire().await;
            self.open().await
        };
        let mut reader = match opened {
            Ok(reader) => {
                self.tally.lock().counts.opened += 1;
                reader
            }
            Err(reason) => return self.shared.failed(self.index, self.attempt, reason),
        };
        let slow = self.shared.plan.is_slow(self.index);
        let mut turn = self.first_turn();
        loop {
            let end =
                if slow { self.crawl(reader).await } else { self.listen(reader, &mut turn).await };
            if self.shared.over() {
                return;
            }
            let left = Instant::now();
            self.ended(&end, slow);
            if slow {
                return;
            }
            reader = self.come_back(&end).await;
            if matches!(end, End::Churn) {
                let mut tally = self.tally.lock();
                tally.counts.cycles += 1;
                note(&mut tally.cycle, left.elapsed().as_micros() as u64);
            }
        }
    }

    /// When a churner leaves first; the turns are spread over the period.
    fn first_turn(&self) -> Option<Instant> {
        let plan = &self.shared.plan;
        plan.is_churner(self.index).then(|| {
            let place = self.index - (plan.connections - plan.churners);
            let part = place as f64 / plan.churners as f64;
            Instant::now() + self.shared.churn_period().mul_f64(part + 0.01)
        })
    }

    /// Dials, and goes on until every room is joined.
    async fn open(&mut self) -> Result<OwnedReadHalf, String> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let late = |_| format!("it was not open within {} s", OPEN_TIMEOUT.as_secs());
        let shared = Arc::clone(&self.shared);
        let target = shared.plan.target(self.index, self.attempt);
        let dialled = timeout_at(deadline, async {
            let node = (self.index + self.attempt) % shared.plan.targets.len();
            if self.token.as_ref().is_none_or(|(of, _)| *of != node) {
                let user = shared.plan.user(self.index);
                let token = shared.tokens.token(&user, target).await?;
                self.token = Some((node, token.into()));
            }
            let token = self.token.as_ref().map_or("", |(_, token)| token);
            let slow = shared.plan.is_slow(self.index);
            let stream = dial::connect(target, shared.plan.source(self.index), slow).await;
            let mut stream = stream.map_err(|e| e.to_string())?;
            let wire = self.session.wire;
            let header = (wire == Wire::Json).then_some(token);
            let early = dial::upgrade(&mut stream, target, wire.path(), header).await?;
            Ok::<_, String>((stream, early))
        });
        let (stream, early) = dialled.await.map_err(late)??;
        let (mut reader, writer) = stream.into_split();
        self.link.attach(writer);
        self.session.begin(self.token.as_ref().map_or("", |(_, token)| token));
        let first = {
            let mut tally = self.tally.lock();
            self.rest.clear();
            hear(&mut self.session, &mut self.rest, &self.link, &self.shared, &mut tally, &early)
        };
        let mut step = first;
        loop {
            match step {
                Step::On if self.session.joined() => break,
                Step::On => {}
                Step::End(reason) => {
                    self.link.detach();
                    return Err(reason);
                }
            }
            step = timeout_at(deadline, self.read(&mut reader)).await.map_err(late)?;
        }
        let mut tally = self.tally.lock();
        tally.counts.resent += self.link.ready();
        let slow = self.shared.plan.is_slow(self.index);
        *(if slow { &mut tally.counts.slow_open } else { &mut tally.counts.open }) += 1;
        Ok(reader)
    }

    /// Listens until it ends.
    async fn listen(&mut self, mut reader: OwnedReadHalf, turn: &mut Option<Instant>) -> End {
        loop {
            let step = match turn {
                None => self.read(&mut reader).await,
                Some(at) => match timeout_at(*at, self.read(&mut reader)).await {
                    Ok(step) => step,
                    Err(_) => {
                        *at += self.shared.churn_period();
                        if !self.shared.sending() {
                            continue;
                        }
                        self.leave(&mut reader).await;
                        return End::Churn;
                    }
                },
            };
            if let Step::End(reason) = step {
                return End::Lost(reason);
            }
        }
    }

    /// Leaves: every other time with a clean close, else without a word.
    async fn leave(&mut self, reader: &mut OwnedReadHalf) {
        self.session.left(&mut self.tally.lock());
        self.session.leaves += 1;
        if self.session.leaves.is_multiple_of(2) {
            return;
        }
        let mut frame = Vec::with_capacity(8);
        frames::write(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
        self.link.send(&frame);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while let Ok(Step::On) = timeout_at(deadline, self.read(reader)).await {}
    }

    /// One read from the socket, with all the frames in it.
    async fn read(&mut self, reader: &mut OwnedReadHalf) -> Step {
        let Self { tally, session, rest, link, shared, .. } = self;
        poll_fn(|cx| {
            let mut tally = tally.lock();
            let mut scratch = std::mem::take(&mut tally.scratch);
            let mut buffer = ReadBuf::new(&mut scratch);
            let polled = Pin::new(&mut *reader).poll_read(cx, &mut buffer);
            let step = polled.map(|read| match (read, buffer.filled()) {
                (Err(error), _) => Step::End(error.kind().to_string()),
                (Ok(()), []) => Step::End("cut without a close frame".into()),
                (Ok(()), bytes) => hear(session, rest, link, shared, &mut tally, bytes),
            });
            tally.scratch = scratch;
            step
        })
        .await
    }

    /// Reads slowly or not at all, until the hub has had enough.
    async fn crawl(&mut self, mut reader: OwnedReadHalf) -> End {
        let rate = self.shared.plan.slow_rate;
        let share = (rate / 10).max(usize::from(rate > 0));
        let mut pong = Vec::with_capacity(8);
        frames::write(&mut pong, Opcode::Pong, &[]);
        for look in 1u32.. {
            sleep(SLOW_TICK).await;
            if look.is_multiple_of(SLOW_PROBE) {
                self.link.send(&pong);
            }
            let gone = match reader.ready(tokio::io::Interest::READABLE).await {
                Ok(ready) => ready.is_read_closed(),
                Err(_) => true,
            };
            if gone {
                return End::Lost("closed by the hub".into());
            }
            if share == 0 {
                continue;
            }
            let mut piece = vec![0; share];
            let read = poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut piece);
                ready!(Pin::new(&mut reader).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok::<_, std::io::Error>(buffer.filled().len()))
            });
            match read.await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        End::Lost("closed by the hub".into())
    }

    /// Notes an end.
    fn ended(&mut self, end: &End, slow: bool) {
        let in_doubt = self.link.detach();
        let mut tally = self.tally.lock();
        self.session.left(&mut tally);
        tally.counts.in_doubt += in_doubt;
        let counts = &mut tally.counts;
        if slow {
            counts.slow_open -= 1;
        } else {
            counts.open -= 1;
        }
        match end {
            End::Lost(reason) if slow => count(&mut counts.slow_closes, reason),
            End::Lost(reason) => count(&mut counts.closes, reason),
            End::Churn => {}
        }
    }

    /// Opens again until it works: at the next node and from the last position if it was lost, with
    /// nothing if it left by itself.
    async fn come_back(&mut self, end: &End) -> OwnedReadHalf {
        let mut pause = BACKOFF.0;
        let lost = matches!(end, End::Lost(_));
        if !lost {
            self.session.forget();
        }
        let mut wait = lost;
        loop {
            if wait {
                // Not all at once: connections that were lost together come back spread out.
                let spread = 0.5 + (self.index % 101) as f64 / 100.0;
                sleep_until(Instant::now() + pause.mul_f64(spread)).await;
                pause = (pause * 2).min(BACKOFF.1);
                self.attempt += 1;
            }
            match self.open().await {
                Ok(reader) => {
                    self.tally.lock().counts.reconnects += u64::from(lost);
                    return reader;
                }
                Err(reason) => {
                    count(&mut self.tally.lock().counts.failed_attempts, &reason);
                    wait = true;
                }
            }
        }
    }
}

/// Hands the frames of some bytes to the session.
fn hear(
    session: &mut Session,
    rest: &mut Vec<u8>,
    link: &Link,
    shared: &Shared,
    tally: &mut Tally,
    bytes: &[u8],
) -> Step {
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
