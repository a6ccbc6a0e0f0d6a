//! A client on either wire, in terms of the `hubbub` vocabulary.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ws::{Handshake, Ws},
    wsframe::Frame,
};

/// Which frames a client speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// `/ws`
    Json,
    /// `/socket.io/`
    SocketIo,
}

/// What a Socket.IO client keeps to come back with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Names the session.
    pub pid: String,
    /// Where it stands; opaque.
    pub offset: Option<String>,
}

/// An open connection.
pub struct Client {
    /// The connection below.
    pub ws: Ws,
    /// What it speaks.
    pub wire: Wire,
    /// On Socket.IO, what the client could come back with.
    pub ticket: Ticket,
    /// Events that came before the answer to CONNECT.
    early: VecDeque<Value>,
}

impl Client {
    /// A session of whom the token names; none if nobody answers `within` this time, or
    /// it is refused.
    pub fn open(address: SocketAddr, wire: Wire, token: &str, within: Duration) -> Option<Self> {
        Self::open_again(address, wire, token, None, within)
    }

    /// The same; a Socket.IO client brings its ticket along. Whether it was recovered,
    /// the [ticket](Self::ticket) says, whose `pid` is the old one then.
    pub fn open_again(
        address: SocketAddr,
        wire: Wire,
        token: &str,
        ticket: Option<&Ticket>,
        within: Duration,
    ) -> Option<Self> {
        let handshake = match wire {
            Wire::Json => Handshake::new().query_token(token),
            Wire::SocketIo => Handshake::new().target("/socket.io/?EIO=4&transport=websocket"),
        };
        let ws = handshake.try_open(address, within)?;
        let mut client = Self { ws, wire, ticket: Ticket::default(), early: VecDeque::new() };
        if wire == Wire::SocketIo {
            let deadline = Instant::now() + within;
            client.text(deadline, |t| t.starts_with('0'))?;
            let mut auth = json!({ "token": token });
            if let Some(ticket) = ticket {
                auth["pid"] = json!(ticket.pid);
                if let Some(offset) = &ticket.offset {
                    auth["offset"] = json!(offset);
                }
                client.ticket = ticket.clone();
            }
            client.ws.send_text(&format!("40{auth}"));
            client.connected(deadline)?;
        }
        Some(client)
    }

    /// Waits for the answer to CONNECT.
    fn connected(&mut self, deadline: Instant) -> Option<()> {
        loop {
            let text = self.text(deadline, |t| t.starts_with('4'))?;
            if let Some(answer) = text.strip_prefix("40") {
                let answer: Value = serde_json::from_str(answer).unwrap();
                let pid = answer["pid"].as_str().unwrap_or_default();
                if pid != self.ticket.pid {
                    self.ticket = Ticket { pid: pid.to_owned(), offset: None };
                }
                return Some(());
            }
            let event = self.event(&text)?;
            self.early.push_back(event);
        }
    }

    /// Waits for a frame of Engine.IO.
    fn text(&mut self, deadline: Instant, test: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            match self.ws.next_frame(deadline)? {
                Frame::Text(text) if text == "2" => self.ws.send_text("3"),
                Frame::Text(text) if test(&text) => return Some(text),
                _ => {}
            }
        }
    }

    /// The event in a packet; none if it is none.
    fn event(&mut self, text: &str) -> Option<Value> {
        let packet: Value = serde_json::from_str(text.strip_prefix("42")?).unwrap();
        let mut event = packet[1].clone();
        event["type"] = packet[0].clone();
        if let Some(offset) = packet[2].as_str() {
            self.ticket.offset = Some(offset.to_owned());
        }
        Some(event)
    }

    /// Sends a request of the `hubbub` vocabulary.
    pub fn send(&mut self, mut request: Value) {
        if self.wire == Wire::Json {
            return self.ws.send(&request);
        }
        let name = request["type"].take();
        request.as_object_mut().unwrap().remove("type");
        self.ws.send_text(&format!("42{}", json!([name, request])));
    }

    /// The next event; none when nothing comes in time.
    pub fn next(&mut self, within: Duration) -> Option<Value> {
        if let Some(event) = self.early.pop_front() {
            return Some(event);
        }
        let deadline = Instant::now() + within;
        if self.wire == Wire::Json {
            return self.ws.next_event(deadline);
        }
        let text = self.text(deadline, |t| t.starts_with("42"))?;
        self.event(&text)
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.ws.ended().is_some()
    }
}
