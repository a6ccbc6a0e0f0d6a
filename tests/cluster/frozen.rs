//! A node of release 0.1.0, as far as nodes talk to each other: a codec of its own, the publishing script as
//! it was, its names of keys and channels. Nothing here follows the code of the hub; it is not to be changed
//! with it, but thrown away once that release is no longer supported.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use crate::support::SOON;

const SCRIPT: &str = include_str!("frozen/publish.lua");
const PREFIX: &str = "hubbub:";

/// An answer of Redis.
#[derive(Debug)]
enum Answer {
    Bytes(Vec<u8>),
    Number(i64),
    List(Vec<Answer>),
}

impl Answer {
    fn bytes(&self) -> &[u8] {
        let Self::Bytes(bytes) = self else { panic!("{self:?}") };
        bytes
    }

    fn list(&self) -> &[Self] {
        let Self::List(list) = self else { panic!("{self:?}") };
        list
    }
}

fn answer(from: &mut impl BufRead) -> Option<Answer> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().unwrap();
    Some(match kind {
        "+" => Answer::Bytes(rest.as_bytes().to_vec()),
        ":" => Answer::Number(number()),
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()).unwrap_or(0) + 2];
            from.read_exact(&mut bytes).ok()?;
            bytes.truncate(bytes.len() - 2);
            Answer::Bytes(bytes)
        }
        "*" => Answer::List((0..number()).map(|_| answer(from)).collect::<Option<_>>()?),
        _ => panic!("{line}"),
    })
}

fn send(stream: &mut TcpStream, words: &[&[u8]]) {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend(format!("${}\r\n", word.len()).as_bytes());
        out.extend(*word);
        out.extend(b"\r\n");
    }
    stream.write_all(&out).unwrap();
}

/// Writes one field.
pub fn field(out: &mut Vec<u8>, tag: u8, value: &[u8]) {
    out.push(tag);
    out.extend(leb128(value.len() as u64));
    out.extend(value);
}

fn leb128(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn number(mut bytes: &[u8]) -> u64 {
    take_number(&mut bytes)
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().expect("a number");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if *byte < 0x80 {
            return value;
        }
    }
}

/// Fields in the order in which they came.
#[derive(Clone, Debug)]
pub struct Fields(Vec<(u8, Vec<u8>)>);

impl Fields {
    fn read(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while let Some((tag, rest)) = bytes.split_first() {
            bytes = rest;
            let length = usize::try_from(take_number(&mut bytes)).unwrap();
            let (value, rest) = bytes.split_at(length);
            fields.push((*tag, value.to_vec()));
            bytes = rest;
        }
        Self(fields)
    }

    fn get(&self, tag: u8) -> Option<&[u8]> {
        self.0.iter().find(|(t, _)| *t == tag).map(|(_, value)| &**value)
    }

    /// A field as a text; empty if it is not there.
    pub fn text(&self, tag: u8) -> String {
        String::from_utf8(self.get(tag).unwrap_or_default().to_vec()).unwrap()
    }

    /// A field as a number.
    pub fn number(&self, tag: u8) -> u64 {
        number(self.get(tag).expect("a number"))
    }

    /// Whether there are others than these.
    pub fn has_more_than(&self, known: std::ops::RangeInclusive<u8>) -> bool {
        self.0.iter().any(|(tag, _)| !known.contains(tag))
    }
}

/// A record as that release reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub offset: u64,
    pub user: String,
    /// 5 message, 6 direct, 7 custom event.
    pub kind: u8,
    pub text: String,
    pub data: String,
    /// It had fields that this release does not know.
    pub more: bool,
}

impl Message {
    fn read(offset: u64, bytes: &[u8]) -> Self {
        let (version, rest) = bytes.split_first().unwrap();
        assert_eq!(*version, 1, "a record that this release refuses");
        let fields = Fields::read(rest);
        assert_eq!(fields.get(1).map(<[u8]>::len), Some(16), "its id");
        assert!(fields.number(2) > 0, "when it was taken");
        let kind = [5, 6, 7].into_iter().find(|kind| fields.get(*kind).is_some());
        let kind = kind.expect("a kind of record that this release knows");
        Self {
            offset,
            user: fields.text(3),
            kind,
            text: fields.text(kind),
            data: fields.text(8),
            more: fields.has_more_than(1..=8),
        }
    }
}

/// What came by a channel.
#[derive(Debug)]
pub enum Heard {
    Stored(Vec<Message>),
    /// The kind of a volatile event, its fields, and the node from which it comes.
    Volatile(u8, Fields, String),
}

impl Heard {
    fn read(payload: &[u8]) -> Self {
        assert_eq!(payload[0], 1, "an envelope that this release refuses");
        let fields = Fields::read(&payload[2..]);
        match payload[1] {
            1 => {
                assert_eq!(fields.text(1).len(), 16, "the epoch");
                let first: u64 = fields.text(2).parse().unwrap();
                let records = fields.0.iter().filter(|(tag, _)| *tag == 3);
                let offsets = first..;
                Self::Stored(offsets.zip(records).map(|(n, r)| Message::read(n, &r.1)).collect())
            }
            2 => {
                let (kind, rest) = fields.get(7).unwrap().split_first().unwrap();
                Self::Volatile(*kind, Fields::read(rest), fields.text(1))
            }
            kind => panic!("a kind of envelope that this release skips: {kind}"),
        }
    }
}

/// The id of a record, and its bytes.
pub type Record = ([u8; 16], Vec<u8>);

/// One publish of this release.
pub struct Publish<'a> {
    pub user: &'a str,
    pub kind: u8,
    pub text: &'a str,
    pub data: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// A message of a user.
pub fn message<'a>(user: &'a str, text: &'a str) -> Publish<'a> {
    Publish { user, kind: 5, text, data: None, key: None }
}

/// The node.
pub struct FrozenNode {
    name: String,
    port: u16,
    commands: BufReader<TcpStream>,
    heard: Receiver<(String, Vec<u8>)>,
    made: u8,
}

impl FrozenNode {
    /// Starts it; it hears these channels.
    pub fn start(name: &str, port: u16, channels: &[String]) -> Self {
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut subscriber = connect();
        let mut words: Vec<&[u8]> = vec![b"SUBSCRIBE"];
        words.extend(channels.iter().map(|c| c.as_bytes()));
        send(&mut subscriber, &words);
        let (tell, heard) = mpsc::channel();
        let mut reader = BufReader::new(subscriber);
        for _ in channels {
            assert_eq!(answer(&mut reader).unwrap().list()[0].bytes(), b"subscribe");
        }
        thread::spawn(move || {
            while let Some(pushed) = answer(&mut reader) {
                let channel = String::from_utf8(pushed.list()[1].bytes().to_vec()).unwrap();
                if tell.send((channel, pushed.list()[2].bytes().to_vec())).is_err() {
                    break;
                }
            }
        });
        let commands = BufReader::new(connect());
        Self { name: name.to_owned(), port, commands, heard, made: 0 }
    }

    /// The same node, for another thread; it hears nothing.
    pub fn twin(&self) -> Self {
        Self::start(&self.name, self.port, &["nothing".to_owned()])
    }

    /// The channel of a room.
    pub fn channel(room: &str) -> String {
        format!("{PREFIX}{{{room}}}:news")
    }

    /// The channel that every node hears.
    pub fn everyone() -> String {
        format!("{PREFIX}everyone")
    }

    fn ask(&mut self, words: &[&[u8]]) -> Answer {
        send(self.commands.get_mut(), words);
        answer(&mut self.commands).expect("an answer")
    }

    /// The next thing that comes; none within a while.
    pub fn hear(&self, within: Duration) -> Option<Heard> {
        Some(Heard::read(&self.heard.recv_timeout(within).ok()?.1))
    }

    /// The next messages of the channels, so many.
    pub fn messages(&self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            if let Heard::Stored(some) = self.hear(SOON).expect("messages") {
                all.extend(some);
            }
        }
        all
    }

    /// The next volatile event of a kind from another node.
    pub fn volatile(&self, kind: u8) -> Fields {
        loop {
            match self.hear(SOON).unwrap_or_else(|| panic!("no event of kind {kind}")) {
                Heard::Volatile(found, fields, node) if found == kind && node != self.name => {
                    return fields;
                }
                _ => {}
            }
        }
    }

    /// Bytes to a channel.
    pub fn tell(&mut self, channel: &str, payload: &[u8]) {
        self.ask(&[b"PUBLISH", channel.as_bytes(), payload]);
    }

    /// A volatile event to a room, or to everyone.
    pub fn broadcast(&mut self, room: Option<&str>, kind: u8, fields: &[(u8, &[u8])]) {
        let mut event = vec![kind];
        fields.iter().for_each(|(tag, value)| field(&mut event, *tag, value));
        let mut out = vec![1, 2];
        field(&mut out, 1, self.name.as_bytes());
        if let Some(room) = room {
            field(&mut out, 3, room.as_bytes());
        }
        field(&mut out, 7, &event);
        let channel = room.map_or_else(Self::everyone, Self::channel);
        self.tell(&channel, &out);
    }

    /// The bytes of a record, and its id.
    pub fn record(&mut self, publish: &Publish<'_>) -> Record {
        self.made += 1;
        let mut id = *b"0123456789abcdef";
        id[15] = self.made;
        id[..4].copy_from_slice(&std::process::id().to_be_bytes());
        let mut out = vec![1];
        field(&mut out, 1, &id);
        field(&mut out, 2, &leb128(1_800_000_000_000));
        field(&mut out, 3, publish.user.as_bytes());
        field(&mut out, 4, publish.user.to_uppercase().as_bytes());
        field(&mut out, publish.kind, publish.text.as_bytes());
        if let Some(data) = publish.data {
            field(&mut out, 8, data.as_bytes());
        }
        (id, out)
    }

    /// Stores in one call. Gives the offsets, none for a key that was known.
    pub fn publish(&mut self, room: &str, publishes: &[Publish<'_>]) -> Vec<Option<i64>> {
        let records: Vec<_> = publishes.iter().map(|p| self.record(p)).collect();
        let records: Vec<_> = records.into_iter().zip(publishes.iter().map(|p| p.key)).collect();
        let users: Vec<_> = publishes.iter().map(|p| p.user).collect();
        self.store(room, &users, &records)
    }

    /// Stores these bytes.
    pub fn store(
        &mut self,
        room: &str,
        users: &[&str],
        records: &[(Record, Option<&str>)],
    ) -> Vec<Option<i64>> {
        let start = format!("{PREFIX}{{{room}}}:");
        let hex = |id: &[u8; 16]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let mut keys = vec![format!("{start}state"), format!("{start}log")];
        for (((id, _), key), user) in records.iter().zip(users) {
            keys.push(match key {
                Some(key) => format!("{start}key:{}:{user}:{key}", user.len()),
                None => format!("{start}pub:{}", hex(id)),
            });
        }
        let ids: Vec<String> = records.iter().map(|((id, _), _)| hex(id)).collect();
        let (count, channel) = (keys.len().to_string(), Self::channel(room));
        let mut words: Vec<&[u8]> = vec![b"EVAL", SCRIPT.as_bytes(), count.as_bytes()];
        words.extend(keys.iter().map(|key| key.as_bytes()));
        words.extend([&b"0"[..], b"100000", b"86400000", b"00000000000000ff", b"PUBLISH"]);
        words.push(channel.as_bytes());
        for (((_, bytes), _), id) in records.iter().zip(&ids) {
            words.extend([&b"600000"[..], id.as_bytes(), bytes]);
        }
        let answer = self.ask(&words);
        let offset = |one: &Answer| match one {
            Answer::Number(offset) => Some(*offset),
            _ => None,
        };
        answer.list()[1..].iter().map(offset).collect()
    }

    /// The whole history of a room, as this release reads it.
    pub fn history(&mut self, room: &str) -> Vec<Message> {
        let stream = format!("{PREFIX}{{{room}}}:log");
        let entries = self.ask(&[b"XRANGE", stream.as_bytes(), b"-", b"+"]);
        let read = |entry: &Answer| {
            let id = String::from_utf8(entry.list()[0].bytes().to_vec()).unwrap();
            let offset = id.strip_suffix("-0").unwrap().parse().unwrap();
            let fields = entry.list()[1].list();
            assert_eq!((fields[0].bytes(), fields[2].bytes()), (&b"t"[..], &b"r"[..]));
            Message::read(offset, fields[3].bytes())
        };
        entries.list().iter().map(read).collect()
    }
}
