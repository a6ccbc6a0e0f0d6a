//! The life of one connection: opens, joins, leaves, comes back. All lives are tasks of one thread;
//! what comes is read by another one ([`super::reader`]).

use std::{net::TcpStream, sync::Arc, time::Duration};

use hubbub_protocol::wire::frame::Opcode;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use super::{
    dial, frames,
    link::Link,
    reader::{Desk, Order, Take},
    shared::Shared,
    slow,
    tally::{Tally, count, note},
    wire::Wire,
};

/// How long a connection may take from the first byte until it has joined.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a clean close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest and longest pause before a lost connection comes back.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// The hub or the network ended it: a reason in a few words.
    Lost(String),
    /// Its turn in the churn has come.
    Churn,
}

/// A connection that has joined.
struct Open {
    stream: Arc<TcpStream>,
    ended: oneshot::Receiver<String>,
}

/// See the module.
pub struct Conn {
    shared: Arc<Shared>,
    tally: Arc<Mutex<Tally>>,
    link: Arc<Link>,
    desk: Desk,
    index: usize,
    /// Its place with the thread that reads it.
    seat: usize,
    /// The token and the node that it is for.
    token: Option<(usize, Box<str>)>,
    /// Which node comes next.
    attempt: usize,
    /// How often it left by itself.
    leaves: u32,
    /// The next time it comes as somebody new.
    fresh: bool,
}

impl Conn {
    /// A connection that is yet to be opened; `tally` and `desk` are those of the thread that reads
    /// it.
    pub fn new(
        shared: &Arc<Shared>,
        tally: &Arc<Mutex<Tally>>,
        link: &Arc<Link>,
        desk: &Desk,
        index: usize,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            tally: Arc::clone(tally),
            link: Arc::clone(link),
            desk: desk.clone(),
            index,
            seat: index / shared.plan.threads,
            token: None,
            attempt: 0,
            leaves: 0,
            fresh: false,
        }
    }

    /// Its whole life: opens after `delay`, at most as many at a time as `gate` lets through.
    pub async fn live(mut self, delay: Duration, gate: Arc<Semaphore>) {
        sleep(delay).await;
        let opened = {
            let _permit = gate.acquire().await;
            self.open().await
        };
        let mut open = match opened {
            Ok(open) => {
                self.tally.lock().counts.opened += 1;
                open
            }
            Err(reason) => return self.shared.failed(self.index, self.attempt, reason),
        };
        if self.shared.plan.is_slow(self.index) {
            return self.crawl(&open.stream).await;
        }
        let mut turn = self.first_turn();
        loop {
            let end = self.listen(&mut open, &mut turn).await;
            if self.shared.over() {
                return;
            }
            let left = Instant::now();
            self.ended(&end);
            drop(open);
            open = self.come_back(&end).await;
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

    /// Dials, hands the socket to the thread that reads, and waits until every room is joined.
    async fn open(&mut self) -> Result<Open, String> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let late = || format!("it was not open within {} s", OPEN_TIMEOUT.as_secs());
        let dialled = timeout_at(deadline, self.dial()).await;
        let (stream, early) = dialled.map_err(|_| late())??;
        self.link.attach(Arc::clone(&stream));
        let (tell_joined, joined) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        self.desk.order(Order::Take(Box::new(Take {
            seat: self.seat,
            stream: Arc::clone(&stream),
            token: self.token.as_ref().map_or_else(Box::default, |(_, token)| token.clone()),
            early,
            fresh: self.fresh,
            joined: tell_joined,
            ended: tell_ended,
        })));
        let joined = match timeout_at(deadline, joined).await {
            Ok(Ok(joined)) => joined,
            Ok(Err(_)) => Err("the run is over".into()),
            Err(_) => Err(late()),
        };
        if let Err(reason) = joined {
            self.desk.order(Order::LetGo(self.seat));
            self.link.detach();
            return Err(reason);
        }
        let mut tally = self.tally.lock();
        tally.counts.resent += self.link.ready();
        let slow = self.shared.plan.is_slow(self.index);
        *(if slow { &mut tally.counts.slow_open } else { &mut tally.counts.open }) += 1;
        Ok(Open { stream, ended })
    }

    /// The socket after the handshake, and what came with the answer.
    async fn dial(&mut self) -> Result<(Arc<TcpStream>, Vec<u8>), String> {
        let plan = &self.shared.plan;
        let target = plan.target(self.index, self.attempt);
        let node = (self.index + self.attempt) % plan.targets.len();
        if self.token.as_ref().is_none_or(|(of, _)| *of != node) {
            let token = self.shared.tokens.token(&plan.user(self.index), target).await?;
            self.token = Some((node, token.into()));
        }
        let token = self.token.as_ref().map_or("", |(_, token)| token);
        let slow = plan.is_slow(self.index);
        let stream = dial::connect(target, plan.source(self.index), slow).await;
        let mut stream = stream.map_err(|e| e.to_string())?;
        let wire = plan.wire_of(self.index);
        let header = (wire == Wire::Json).then_some(token);
        let early = dial::upgrade(&mut stream, target, wire.path(), header).await?;
        Ok((Arc::new(stream.into_std().map_err(|e| e.to_string())?), early))
    }

    /// Waits until it ends or its turn to leave has come.
    async fn listen(&mut self, open: &mut Open, turn: &mut Option<Instant>) -> End {
        loop {
            let ended = match turn {
                None => (&mut open.ended).await,
                Some(at) => match timeout_at(*at, &mut open.ended).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        *at += self.shared.churn_period();
                        if !self.shared.sending() {
                            continue;
                        }
                        self.leave(open).await;
                        return End::Churn;
                    }
                },
            };
            return End::Lost(ended.unwrap_or_else(|_| "the run is over".into()));
        }
    }

    /// Leaves: every other time with a clean close, else without a word.
    async fn leave(&mut self, open: &mut Open) {
        self.leaves += 1;
        if !self.leaves.is_multiple_of(2) {
            self.desk.order(Order::Leave(self.seat));
            let mut frame = Vec::with_capacity(8);
            frames::write(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
            self.link.send(&frame);
            let _ = timeout(CLOSE_TIMEOUT, &mut open.ended).await;
        }
        self.desk.order(Order::LetGo(self.seat));
    }

    /// Reads slowly or not at all, until the hub has had enough.
    async fn crawl(&mut self, stream: &TcpStream) {
        self.desk.order(Order::LetGo(self.seat));
        let reason = slow::crawl(stream, &self.link, self.shared.plan.slow_rate).await;
        if self.shared.over() {
            return;
        }
        self.link.detach();
        let mut tally = self.tally.lock();
        tally.counts.slow_open -= 1;
        count(&mut tally.counts.slow_closes, &reason);
    }

    /// Notes an end.
    fn ended(&mut self, end: &End) {
        let in_doubt = self.link.detach();
        let mut tally = self.tally.lock();
        let counts = &mut tally.counts;
        counts.in_doubt += in_doubt;
        counts.open -= 1;
        if let End::Lost(reason) = end {
            count(&mut counts.closes, reason);
        }
    }

    /// Opens again until it works: at the next node and from the last position if it was lost, with
    /// nothing if it left by itself.
    async fn come_back(&mut self, end: &End) -> Open {
        let mut pause = BACKOFF.0;
        let lost = matches!(end, End::Lost(_));
        self.fresh = !lost;
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
                Ok(open) => {
                    self.tally.lock().counts.reconnects += u64::from(lost);
                    return open;
                }
                Err(reason) => {
                    count(&mut self.tally.lock().counts.failed_attempts, &reason);
                    wait = true;
                }
            }
        }
    }
}
