//! A WebSocket client that keeps to the rules, and can be told not to.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{
    http::{Answer, read_answer},
    wait::SOON,
    wsframe::{Frame, close, masked},
};

/// The nonce of RFC 6455, section 1.3, and the answer it must have.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Events shown when an expected one does not come.
const SHOWN: usize = 12;

/// Whether an event has this type.
pub fn kind(name: &str) -> impl Fn(&Value) -> bool + '_ {
    move |event| event["type"] == name
}

/// A handshake in the making.
#[derive(Clone)]
pub struct Handshake {
    target: String,
    headers: Vec<(String, String)>,
    small: bool,
    after: Vec<u8>,
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

impl Handshake {
    /// `GET /ws` as RFC 6455 wants it, without any token.
    pub fn new() -> Self {
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", KEY),
        ];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        Self { target: "/ws".into(), headers, small: false, after: Vec::new() }
    }

    /// Another path and query than `/ws`.
    pub fn target(mut self, target: &str) -> Self {
        self.target = target.into();
        self
    }

    /// Opens it if somebody is there, answers in time, and takes it.
    pub fn try_open(self, address: SocketAddr, within: Duration) -> Option<Ws> {
        let mut stream = TcpStream::connect_timeout(&address, within).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(within)).ok()?;
        stream.set_write_timeout(Some(SOON)).ok()?;
        stream.write_all(self.head(&address.to_string()).as_bytes()).ok()?;
        let (answer, buffer) = read_answer(&mut stream, false).ok()?;
        (answer.status == 101).then(|| Ws::new(stream, answer, buffer))
    }

    /// The token as `?token=`.
    pub fn query_token(mut self, token: &str) -> Self {
        self.target = format!("/ws?token={token}");
        self
    }

    /// The token as `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// The token as the subprotocol pair.
    pub fn subprotocol(self, token: &str) -> Self {
        self.header("Sec-WebSocket-Protocol", &format!("hubbub, {token}"))
    }

    /// Offers compression, with these parameters.
    pub fn offering(self, parameters: &str) -> Self {
        self.header("Sec-WebSocket-Extensions", &format!("permessage-deflate{parameters}"))
    }

    /// Sets a header, in place of one of the name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes a header away.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// Small buffers and segments, as over a slow network: what the hub writes
    /// meets a full socket after about 100 KB.
    pub fn small_window(mut self) -> Self {
        self.small = true;
        self
    }

    /// Bytes sent in one piece with the request's head.
    pub fn followed_by(mut self, bytes: &[u8]) -> Self {
        self.after = bytes.to_vec();
        self
    }

    /// The request's head.
    pub fn head(&self, host: &str) -> String {
        let mut head = format!("GET {} HTTP/1.1\r\nHost: {host}\r\n", self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    /// A TCP connection with the buffers asked for.
    pub fn dial(&self, address: SocketAddr) -> TcpStream {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if self.small {
            socket.set_recv_buffer_size(4096).unwrap();
            socket.set_tcp_mss(1460).unwrap();
        }
        socket.connect_timeout(&address.into(), SOON).unwrap();
        socket.set_tcp_nodelay(true).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        stream
    }

    /// Opens it; the hub's answer if that is not 101.
    pub fn open(self, address: SocketAddr) -> Result<Ws, Answer> {
        let mut stream = self.dial(address);
        let head = self.head(&address.to_string());
        stream.write_all(&[head.as_bytes(), &self.after].concat()).unwrap();
        let (answer, buffer) = read_answer(&mut stream, false).unwrap();
        if answer.status != 101 {
            return Err(answer);
        }
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        Ok(Ws::new(stream, answer, buffer))
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a close frame: its code (1005 for none) and reason.
    Close(u16, String),
    /// The TCP connection ended without one.
    Cut,
}

/// One connection.
pub struct Ws {
    stream: TcpStream,
    /// The hub's answer to the handshake.
    pub answer: Answer,
    buffer: Vec<u8>,
    kept: VecDeque<Value>,
    end: Option<End>,
    requests: u64,
    /// Whether pings are answered while something else is waited for.
    pub auto_pong: bool,
    /// Pings that came.
    pub pings: usize,
    /// Whether compression was agreed on.
    agreed: bool,
    /// Compressed messages that came.
    pub compressed: usize,
}

impl Ws {
    fn new(stream: TcpStream, answer: Answer, buffer: Vec<u8>) -> Self {
        let agreed = answer.header("sec-websocket-extensions").is_some();
        Self {
            agreed,
            compressed: 0,
            stream,
            answer,
            buffer,
            kept: VecDeque::new(),
            end: None,
            requests: 0,
            auto_pong: true,
            pings: 0,
        }
    }

    /// How the connection ended, if it did.
    pub fn ended(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Sends bytes as they are. Whether the hub still takes them is not asked.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// As [`Ws::send_raw`]; how many of the pieces were taken.
    pub fn send_pieces(&mut self, piece: &[u8], count: usize) -> usize {
        (0..count).take_while(|_| self.stream.write_all(piece).is_ok()).count()
    }

    /// Sends a masked frame with this first byte.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&masked(first, payload));
    }

    /// Sends a text frame.
    pub fn send_text(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    /// Sends an event.
    pub fn send(&mut self, event: &Value) {
        self.send_text(&event.to_string());
    }

    /// Sends a request with an id of its own and returns the id.
    pub fn ask(&mut self, mut request: Value) -> String {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        request["id"] = json!(id);
        self.send(&request);
        id
    }

    /// Sends a request; its ack, or the error as `Err`. What else comes is kept.
    pub fn request(&mut self, request: Value) -> Result<Value, Value> {
        let id = self.ask(request);
        self.answer_to(&id)
    }

    /// Waits for the answer to an id.
    pub fn answer_to(&mut self, id: &str) -> Result<Value, Value> {
        let answer = self.expect(&format!("the answer to {id}"), |e| {
            e["id"] == id && (e["type"] == "ack" || e["type"] == "error")
        });
        if answer["type"] == "ack" {
            assert_eq!(answer["ok"], true, "{answer}");
            return Ok(answer);
        }
        Err(answer)
    }

    /// A request that must succeed.
    pub fn ok(&mut self, request: Value) -> Value {
        let shown = request.to_string();
        self.request(request).unwrap_or_else(|e| panic!("{shown}: {e}"))
    }

    /// A request that must fail, with this code.
    pub fn refused(&mut self, request: Value, code: &str) -> Value {
        let shown = request.to_string();
        match self.request(request) {
            Ok(ack) => panic!("{shown} was accepted: {ack}"),
            Err(error) => {
                assert_eq!(error["code"], code, "{shown}: {error}");
                assert!(error["message"].as_str().is_some_and(|m| m.len() > 5), "{error}");
                error
            }
        }
    }

    /// Joins a room; the `joined` event.
    pub fn join(&mut self, room: &str) -> Value {
        self.join_since(room, Value::Null)
    }

    /// Joins a room from a position; the `joined` event.
    pub fn join_since(&mut self, room: &str, since: Value) -> Value {
        let mut request = json!({"type": "join", "roomId": room});
        if !since.is_null() {
            request["since"] = since;
        }
        let id = self.ask(request);
        let joined = self.expect("joined", |e| {
            (e["type"] == "joined" && e["roomId"] == room)
                || (e["type"] == "error" && e["id"] == *id)
        });
        assert_eq!(joined["type"], "joined", "{joined}");
        self.answer_to(&id).unwrap();
        joined
    }

    /// Publishes a message; its ack.
    pub fn say(&mut self, room: &str, content: &str) -> Value {
        self.ok(json!({"type": "message", "roomId": room, "content": content}))
    }

    /// Waits for the message with this content.
    pub fn hears(&mut self, content: &str) -> Value {
        self.expect(&format!("message {content:?}"), |e| {
            e["type"] == "message" && e["content"] == content
        })
    }

    /// Waits for an event; what comes before it is kept for later.
    pub fn expect(&mut self, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        self.expect_within(what, SOON, test)
    }

    /// As [`Ws::expect`], by type.
    pub fn expect_kind(&mut self, name: &str) -> Value {
        self.expect(name, kind(name))
    }

    /// As [`Ws::expect`], with a deadline.
    pub fn expect_within(
        &mut self,
        what: &str,
        within: Duration,
        test: impl Fn(&Value) -> bool,
    ) -> Value {
        self.find(within, test).unwrap_or_else(|| {
            let shown: Vec<String> =
                self.kept.iter().rev().take(SHOWN).map(|e| format!("\n  {e:.300}")).collect();
            panic!("no {what} within {within:?}; end: {:?}; newest: {}", self.end, shown.concat())
        })
    }

    /// As [`Ws::expect_within`]; none if it does not come.
    pub fn find(&mut self, within: Duration, test: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.kept.iter().position(&test) {
            return self.kept.remove(at);
        }
        let deadline = Instant::now() + within;
        while let Some(event) = self.next_event(deadline) {
            if test(&event) {
                return Some(event);
            }
            self.kept.push_back(event);
        }
        None
    }

    /// Waits until the hub has answered everything sent before on this
    /// connection; what comes is kept.
    pub fn fence(&mut self) {
        self.send(&json!({"type": "ping"}));
        self.expect_kind("pong");
    }

    /// Takes every kept event for which the test holds, oldest first.
    pub fn take(&mut self, test: impl Fn(&Value) -> bool) -> Vec<Value> {
        let (taken, kept) = self.kept.drain(..).partition(|e| test(e));
        self.kept = kept;
        Vec::from_iter::<VecDeque<Value>>(taken)
    }

    /// Asserts that nothing kept so far passes the test.
    pub fn none_kept(&self, what: &str, test: impl Fn(&Value) -> bool) {
        let found = self.kept.iter().find(|e| test(e));
        assert!(found.is_none(), "unexpected {what}: {}", found.unwrap());
    }

    /// The next event of any kind, none at the deadline or the end.
    pub fn next_event(&mut self, deadline: Instant) -> Option<Value> {
        loop {
            match self.next_frame(deadline)? {
                Frame::Text(text) => {
                    let event = serde_json::from_str(&text);
                    return Some(event.unwrap_or_else(|e| panic!("{e} in {text:?}")));
                }
                Frame::Ping(_) | Frame::Pong(_) | Frame::Close(..) => {}
                Frame::Binary(b) => panic!("the hub sent {} bytes of binary", b.len()),
            }
        }
    }

    /// The next frame, none at the deadline or the end.
    pub fn next_frame(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer, self.agreed, &mut self.compressed) {
                match &frame {
                    Frame::Ping(payload) => {
                        self.pings += 1;
                        if self.auto_pong {
                            self.send_raw(&masked(0x8a, payload));
                        }
                    }
                    Frame::Close(code, reason) => {
                        assert!(self.end.is_none(), "a second close frame");
                        self.end = Some(End::Close(*code, reason.clone()));
                        self.send_raw(&close(if *code == 1005 { 1000 } else { *code }, b""));
                    }
                    _ => assert!(self.end.is_none(), "a frame after the close frame: {frame:?}"),
                }
                return Some(frame);
            }
            if self.end.is_some() || !self.fill(deadline) {
                return None;
            }
        }
    }

    /// Reads once; false at the deadline or the end.
    fn fill(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(n @ 1..) => {
                self.buffer.extend_from_slice(&piece[..n]);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
            Err(e) if e.kind() == ErrorKind::Interrupted => true,
            Ok(0) | Err(_) => {
                self.end.get_or_insert(End::Cut);
                false
            }
        }
    }

    /// Waits for the end, keeping the events before it, and asserts that the TCP
    /// connection ends too.
    pub fn end(&mut self) -> End {
        let deadline = Instant::now() + SOON;
        while let Some(event) = self.next_event(deadline) {
            self.kept.push_back(event);
        }
        let end = self.end.clone().unwrap_or_else(|| panic!("still open after {SOON:?}"));
        while self.fill(deadline) {}
        assert!(Instant::now() < deadline, "the TCP connection stays open after {end:?}");
        end
    }

    /// Waits for the close frame and asserts its code; the reason.
    pub fn expect_close(&mut self, code: u16) -> String {
        match self.end() {
            End::Close(found, reason) => {
                assert_eq!(found, code, "closed with {found} {reason:?}");
                reason
            }
            End::Cut => panic!("cut without a close frame; expected {code}"),
        }
    }

    /// Closes as a good client does.
    pub fn close(mut self) {
        self.send_raw(&close(1000, b""));
        self.expect_close(1000);
    }

    /// Ends the sending half.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The socket and the bytes that were read and not yet taken.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// The socket, for what else a test does with it.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}
