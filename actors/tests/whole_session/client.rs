//! One connection: bytes in, as a client sends them; frames out, and who is owed an answer.

use std::{
    cell::Cell,
    collections::HashMap,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_util::{Stream, stream};
use hubbub_actors::{
    outbound::{Outbound, WhenFull},
    session::{
        self, Connection, Session, SessionStart, Wire,
        engine::{
            self, Engine, EngineStart, Hello,
            seat::{Place, Places, Seat},
        },
    },
    system::{Hub, Worker},
};
use hubbub_protocol::{
    close::CloseCode,
    wire::{FormatId, engineio::Transport, frame::FrameGuard},
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    FIRST_ID,
    hub::{MAX_FRAME, MAX_WAITING},
    steps::{Learned, token},
};

/// One connection.
pub struct Client {
    pub engine: bool,
    /// What it takes no more, it does not read.
    pub stalled: bool,
    /// The token it showed last, and the session it was given: what it comes back with.
    pub who: Option<u8>,
    pub session: Option<String>,
    outbound: Arc<Outbound>,
    feed: Option<mpsc::UnboundedSender<Bytes>>,
    ended: Rc<Cell<bool>>,
    /// Requests by the text of their id: whether an answer must come, and how many did.
    asked: HashMap<String, (bool, usize)>,
    /// Namespaces that are joined, and how often that was asked and answered.
    joined: [bool; 2],
}

/// Where there is always a place.
struct Anywhere;

impl Places for Anywhere {
    fn give_back(&self, _: IpAddr) {}
}

/// Bytes as the transport hands them to a session: their headers are checked.
fn checked(
    bytes: mpsc::UnboundedReceiver<Bytes>,
    connection: Arc<Connection>,
    max: usize,
) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + 'static {
    let state = (bytes, FrameGuard::new(max as u64), connection, false);
    Box::pin(stream::unfold(state, |(mut bytes, mut guard, connection, ended)| async move {
        if ended {
            return None;
        }
        let mut piece = bytes.recv().await?;
        let bad = guard.inspect(&piece);
        if let Err(e) = &bad {
            connection.violate(match e.close_code() {
                1009 => CloseCode::TooBig,
                1007 => CloseCode::InvalidText,
                _ => CloseCode::Protocol,
            });
            piece.truncate(guard.sound_bytes());
        }
        Some((Ok(piece), (bytes, guard, connection, bad.is_err())))
    }))
}

/// Polls a session as its driver does, until it or its connection ends.
fn drive(
    work: impl Future<Output = ()> + 'static,
    outbound: Arc<Outbound>,
    seat: Seat,
    ended: Rc<Cell<bool>>,
) {
    actix_rt::spawn(async move {
        let mut work = Box::pin(work);
        poll_fn(|cx| {
            outbound.register_driver(cx.waker());
            let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
            if polled.is_err() {
                seat.shared().metrics.panics.with_label_values(&["session"]).inc();
            }
            let over = !matches!(polled, Ok(Poll::Pending)) || outbound.closing().is_some();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(work);
        ended.set(true);
    });
}

impl Client {
    /// A connection on either wire.
    pub fn open(hub: &Hub, worker: &Worker, engine: bool, named: Option<u8>) -> Self {
        let shared = hub.shared();
        let outbound = Outbound::new(worker.flush.clone(), MAX_WAITING, WhenFull::Disconnect);
        let (feed, bytes) = mpsc::unbounded_channel();
        let ended = Rc::new(Cell::new(false));
        let peer = [127, 0, 0, 1].into();
        let place = Place { places: Arc::new(Anywhere), ip: Ipv4Addr::LOCALHOST.into() };
        let seat = Seat::take(shared, Transport::WebSocket, place);
        if engine {
            let hello = named.map(|n| Hello { token: Some(token(n).into()), vocabulary: None });
            let start = EngineStart {
                worker: worker.link.clone(),
                outbound: outbound.clone(),
                peer,
                hello: hello.map(Box::new),
                app: None,
            };
            let engine = Engine::new(start, shared.engines.add(worker.link.index, None));
            let bytes = checked(bytes, engine.connection().clone(), 2 * MAX_FRAME);
            drive(engine::start(engine, true, bytes), outbound.clone(), seat, ended.clone());
        } else {
            let now = shared.clock.now();
            let connection = Connection::new(Wire::Json, outbound.clone(), peer, now, now + 60_000);
            let connection = Arc::new(connection);
            let identity = named.and_then(|n| shared.authenticator.authenticate(token(n)).ok());
            let session = Session::new(SessionStart {
                worker: worker.link.clone(),
                connection: connection.clone(),
                format: FormatId(0),
                identity,
            });
            let bytes = checked(bytes, connection, MAX_FRAME);
            drive(session::start(session, bytes), outbound.clone(), seat, ended.clone());
        }
        let (asked, joined) = (HashMap::new(), [false; 2]);
        let (who, session) = (named, None);
        let feed = Some(feed);
        Self { engine, stalled: false, who, session, outbound, feed, ended, asked, joined }
    }

    /// Whether it is open, as far as the hub has said.
    pub fn lives(&self) -> bool {
        self.feed.is_some() && !self.ended.get() && self.outbound.closing().is_none()
    }

    /// Whether its work is over.
    pub fn is_over(&self) -> bool {
        self.ended.get()
    }

    /// The network is gone.
    pub fn cut(&mut self) {
        self.feed = None;
    }

    /// Sends bytes.
    pub fn send(&self, bytes: Vec<u8>) {
        if let Some(feed) = &self.feed {
            let _ = feed.send(bytes.into());
        }
    }

    /// Sends a text in fragments.
    pub fn text(&self, text: &str, fragments: usize) {
        let mut parts: Vec<&[u8]> =
            text.as_bytes().chunks(text.len().div_ceil(fragments).max(1)).collect();
        if parts.is_empty() {
            parts.push(b"");
        }
        let last = parts.len() - 1;
        for (at, part) in parts.into_iter().enumerate() {
            let fin = if at == last { 0x80 } else { 0 };
            let opcode = if at == 0 { 1 } else { 0 };
            self.send(frame(fin | opcode, part, true));
        }
    }

    /// An answer is due, or may come if the request is not `whole`.
    pub fn owes(&mut self, id: &str, whole: bool) {
        self.asked.insert(id.to_owned(), (whole, 0));
    }

    /// A namespace is joined, so that its requests are answered.
    pub fn is_joined(&self, team: bool) -> bool {
        self.joined[usize::from(team)]
    }

    /// It is left: what was asked in it may stay without an answer.
    pub fn left(&mut self, team: bool) {
        self.joined[usize::from(team)] = false;
        self.forgive();
    }

    /// What was asked may stay without an answer.
    pub fn forgive(&mut self) {
        for (due, _) in self.asked.values_mut() {
            *due = false;
        }
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// An answer to nothing, or a second one; more than may wait.
    pub fn read(&mut self, learned: &mut Learned) -> Result<(), String> {
        if self.stalled {
            let waiting = self.outbound.len();
            if waiting > MAX_WAITING {
                return Err(format!("{waiting} bytes wait, and {MAX_WAITING} may"));
            }
            return Ok(());
        }
        for frame in self.outbound.take(usize::MAX) {
            let payload = frame.payload();
            let text = std::str::from_utf8(&payload).map_err(|e| e.to_string())?;
            if self.engine {
                self.packet(text, learned)?;
            } else {
                self.event(text, learned)?;
            }
        }
        Ok(())
    }

    fn answered(&mut self, id: &str, text: &str) -> Result<(), String> {
        let (_, answers) =
            self.asked.get_mut(id).ok_or_else(|| format!("nobody asked for {text}"))?;
        *answers += 1;
        if *answers > 1 { Err(format!("answered again: {text}")) } else { Ok(()) }
    }

    fn event(&mut self, text: &str, learned: &mut Learned) -> Result<(), String> {
        let event: Value = serde_json::from_str(text).map_err(|e| format!("{e}: {text}"))?;
        match event["type"].as_str() {
            Some("ack" | "error") if !event["id"].is_null() => {
                self.answered(&event["id"].to_string(), text)?;
            }
            Some("authenticated") => {
                if let Some(id) = event["sessionId"].as_str() {
                    learned.sessions.push(id.to_owned());
                    self.session = Some(id.to_owned());
                }
            }
            Some("joined" | "message") => {
                if let Some(room) = event["roomId"].as_str() {
                    let at = serde_json::json!({
                        "epoch": event["epoch"],
                        "offset": event["offset"],
                    });
                    learned.positions.insert(room.to_owned(), at);
                }
            }
            Some(_) => {}
            None => return Err(format!("an event without a type: {text}")),
        }
        Ok(())
    }

    fn packet(&mut self, text: &str, learned: &mut Learned) -> Result<(), String> {
        // The open packet, and pings.
        let Some(packet) = text.strip_prefix('4') else { return Ok(()) };
        let (kind, rest) = packet.split_at_checked(1).ok_or("an empty packet")?;
        let (team, rest) = match rest.strip_prefix("/team,") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let parsed =
            |json: &str| serde_json::from_str::<Value>(json).map_err(|e| format!("{e}: {text}"));
        match kind {
            "0" => {
                self.joined[usize::from(team)] = true;
                if let Some(pid) = parsed(rest)?["pid"].as_str() {
                    learned.pids.push(pid.to_owned());
                    if !team {
                        self.session = Some(pid.to_owned());
                    }
                }
            }
            "1" => self.left(team),
            "2" => {
                let event = parsed(rest)?;
                let last = event.as_array().and_then(|event| event.last()?.as_str());
                if let Some(offset) = last {
                    learned.offsets.push(offset.to_owned());
                }
            }
            "3" => {
                let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
                parsed(&rest[id.len()..])?;
                if id.parse::<u64>().is_ok_and(|id| id >= FIRST_ID) {
                    self.answered(&id, text)?;
                }
            }
            "4" => {
                parsed(rest)?;
            }
            _ => return Err(format!("a packet of no kind: {text}")),
        }
        Ok(())
    }

    /// Whether every request has its answer, as long as the connection lives.
    pub fn settled(&self) -> Result<(), String> {
        if !self.lives() || self.stalled {
            return Ok(());
        }
        match self.asked.iter().find(|(_, (due, answers))| *due && *answers == 0) {
            Some((id, _)) => Err(format!("{id} was not answered")),
            None => Ok(()),
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.outbound.fail("client_gone");
    }
}

/// A frame as clients send it.
pub fn frame(first: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mask = [7, 11, 13, 17];
    let bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(bit | n as u8),
        n => {
            bytes.push(bit | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend(payload);
    }
    bytes
}
