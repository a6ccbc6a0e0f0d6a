//! From msgpack to JSON text. Nothing is allocated by what a message claims: each item
//! is read when it is there.

use bytes::Bytes;
use rmp::Marker;

use crate::{
    timestamp::rfc3339,
    wire::socketio::{Attachments, Limits, SocketError, encode::write_string},
};

/// One item: a value, or the head of an array or a map.
pub(super) enum Item<'a> {
    Nil,
    Undefined,
    Bool(bool),
    Uint(u64),
    /// Below zero.
    Int(i64),
    Float(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Milliseconds since 1970.
    Date(i64),
    /// How many items follow.
    Array(usize),
    /// How many pairs follow.
    Map(usize),
}

/// Reads the items of one message.
pub(super) struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
}

/// The type of extensions that stands for what JavaScript has and msgpack has not.
const JAVASCRIPT: i8 = 0;
/// The type of timestamps, of the msgpack specification.
const TIMESTAMP: i8 = -1;

impl<'a> Reader<'a> {
    pub fn new(message: &'a Bytes) -> Self {
        Self { message, at: 0 }
    }

    pub fn position(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], SocketError> {
        let end = self.at.checked_add(len).ok_or(SocketError::InvalidPayload)?;
        let taken = self.message.get(self.at..end).ok_or(SocketError::InvalidPayload)?;
        self.at = end;
        Ok(taken)
    }

    /// An unsigned number of `len` bytes.
    fn number(&mut self, len: usize) -> Result<u64, SocketError> {
        Ok(self.take(len)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn size(&mut self, len: usize) -> Result<usize, SocketError> {
        usize::try_from(self.number(len)?).map_err(|_| SocketError::InvalidPayload)
    }

    fn text(&mut self, len: usize) -> Result<Item<'a>, SocketError> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| SocketError::InvalidPayload)?;
        Ok(Item::Text(text))
    }

    /// An extension whose length its marker says.
    fn fixed_ext(&mut self, len: usize) -> Result<Item<'a>, SocketError> {
        let kind = self.number(1)? as u8 as i8;
        let data = self.take(len)?;
        match (kind, data) {
            (JAVASCRIPT, [_]) => Ok(Item::Undefined),
            (JAVASCRIPT, &[a, b, c, d, e, f, g, h]) => {
                Ok(Item::Date(i64::from_be_bytes([a, b, c, d, e, f, g, h])))
            }
            (TIMESTAMP, _) => timestamp(data),
            _ => Err(SocketError::InvalidPayload),
        }
    }

    /// An extension with a length of its own, of `len` bytes.
    fn ext(&mut self, len: usize) -> Result<Item<'a>, SocketError> {
        let size = self.size(len)?;
        let kind = self.number(1)? as u8 as i8;
        let data = self.take(size)?;
        match kind {
            JAVASCRIPT => Ok(Item::Binary(data)),
            TIMESTAMP => timestamp(data),
            _ => Err(SocketError::InvalidPayload),
        }
    }

    pub fn next(&mut self) -> Result<Item<'a>, SocketError> {
        let signed = |number: i64| match u64::try_from(number) {
            Ok(number) => Item::Uint(number),
            Err(_) => Item::Int(number),
        };
        Ok(match Marker::from_u8(self.number(1)? as u8) {
            Marker::Null => Item::Nil,
            Marker::True => Item::Bool(true),
            Marker::False => Item::Bool(false),
            Marker::FixPos(number) => Item::Uint(number.into()),
            Marker::FixNeg(number) => Item::Int(number.into()),
            Marker::U8 => Item::Uint(self.number(1)?),
            Marker::U16 => Item::Uint(self.number(2)?),
            Marker::U32 => Item::Uint(self.number(4)?),
            Marker::U64 => Item::Uint(self.number(8)?),
            Marker::I8 => signed((self.number(1)? as u8 as i8).into()),
            Marker::I16 => signed((self.number(2)? as u16 as i16).into()),
            Marker::I32 => signed((self.number(4)? as u32 as i32).into()),
            Marker::I64 => signed(self.number(8)? as i64),
            Marker::F32 => Item::Float(f32::from_bits(self.number(4)? as u32).into()),
            Marker::F64 => Item::Float(f64::from_bits(self.number(8)?)),
            Marker::FixStr(len) => self.text(len.into())?,
            Marker::Str8 => {
                let len = self.size(1)?;
                self.text(len)?
            }
            Marker::Str16 => {
                let len = self.size(2)?;
                self.text(len)?
            }
            Marker::Str32 => {
                let len = self.size(4)?;
                self.text(len)?
            }
            Marker::Bin8 => {
                let len = self.size(1)?;
                Item::Binary(self.take(len)?)
            }
            Marker::Bin16 => {
                let len = self.size(2)?;
                Item::Binary(self.take(len)?)
            }
            Marker::Bin32 => {
                let len = self.size(4)?;
                Item::Binary(self.take(len)?)
            }
            Marker::FixArray(len) => Item::Array(len.into()),
            Marker::Array16 => Item::Array(self.size(2)?),
            Marker::Array32 => Item::Array(self.size(4)?),
            Marker::FixMap(len) => Item::Map(len.into()),
            Marker::Map16 => Item::Map(self.size(2)?),
            Marker::Map32 => Item::Map(self.size(4)?),
            Marker::FixExt1 => self.fixed_ext(1)?,
            Marker::FixExt2 => self.fixed_ext(2)?,
            Marker::FixExt4 => self.fixed_ext(4)?,
            Marker::FixExt8 => self.fixed_ext(8)?,
            Marker::FixExt16 => self.fixed_ext(16)?,
            Marker::Ext8 => self.ext(1)?,
            Marker::Ext16 => self.ext(2)?,
            Marker::Ext32 => self.ext(4)?,
            Marker::Reserved => return Err(SocketError::InvalidPayload),
        })
    }

    /// Passes over what belongs to an item that was read.
    pub fn skip(&mut self, item: Item<'_>) -> Result<(), SocketError> {
        let inside = |item| match item {
            Item::Array(len) => len,
            Item::Map(pairs) => pairs.saturating_mul(2),
            _ => 0,
        };
        let mut left = inside(item);
        while left > 0 {
            left = (left - 1).saturating_add(inside(self.next()?));
        }
        Ok(())
    }

    /// The value at a position as JSON. Its binary values are put into `attachments`.
    pub fn json_at(
        &self,
        at: usize,
        limits: &Limits,
        attachments: &mut Vec<Bytes>,
    ) -> Result<String, SocketError> {
        let mut reader = Reader { message: self.message, at };
        let item = reader.next()?;
        if let Item::Array(len) = item
            && len > limits.max_elements
        {
            return Err(SocketError::TooManyElements { max: limits.max_elements });
        }
        let out = String::with_capacity(self.message.len() - at);
        let mut writer = Writer { reader, limits, out, attachments: Attachments::default() };
        writer.value(item, 0)?;
        *attachments = writer.attachments.into_inner();
        Ok(writer.out)
    }
}

/// A timestamp of the msgpack specification, in its three lengths.
fn timestamp(data: &[u8]) -> Result<Item<'static>, SocketError> {
    let number = |data: &[u8]| data.iter().fold(0, |n, &byte| n << 8 | u64::from(byte));
    let (seconds, nanos) = match data.len() {
        4 => (number(data) as i64, 0),
        8 => ((number(data) & 0x3_FFFF_FFFF) as i64, number(data) >> 34),
        12 => (number(&data[4..]) as i64, number(&data[..4])),
        _ => return Err(SocketError::InvalidPayload),
    };
    let millis = (nanos / 1_000_000) as i64;
    Ok(Item::Date(seconds.saturating_mul(1000).saturating_add(millis)))
}

/// The largest number below which every integer is one of JavaScript's.
const SAFE: f64 = 9_007_199_254_740_992.0;

struct Writer<'a, 'l> {
    reader: Reader<'a>,
    limits: &'l Limits,
    out: String,
    attachments: Attachments,
}

impl<'a> Writer<'a, '_> {
    /// Writes a value that stands `depth` levels deep. The recursion has the bound of
    /// the depth.
    fn value(&mut self, item: Item<'a>, depth: usize) -> Result<(), SocketError> {
        let out = &mut self.out;
        match item {
            Item::Nil | Item::Undefined => out.push_str("null"),
            Item::Bool(true) => out.push_str("true"),
            Item::Bool(false) => out.push_str("false"),
            Item::Uint(number) => out.push_str(&number.to_string()),
            Item::Int(number) => out.push_str(&number.to_string()),
            Item::Float(number) if number.abs() < SAFE && number.fract() == 0.0 => {
                out.push_str(&(number as i64).to_string());
            }
            Item::Float(number) => match serde_json::Number::from_f64(number) {
                Some(number) => out.push_str(&number.to_string()),
                None => out.push_str("null"),
            },
            Item::Text(text) => write_string(out, text),
            Item::Date(millis) => match rfc3339(millis) {
                Some(text) => write_string(out, &text),
                None => out.push_str("null"),
            },
            Item::Binary(data) => {
                let data = self.reader.message.slice_ref(data);
                out.push_str(&self.attachments.attach(data)?);
            }
            Item::Array(len) => {
                self.enter(depth)?;
                self.out.push('[');
                for n in 0..len {
                    if n > 0 {
                        self.out.push(',');
                    }
                    let item = self.reader.next()?;
                    self.value(item, depth + 1)?;
                }
                self.out.push(']');
            }
            Item::Map(pairs) => {
                self.enter(depth)?;
                self.object(pairs, depth + 1)?;
            }
        }
        let max = self.limits.max_packet_bytes;
        if self.out.len() > max { Err(SocketError::TooLarge { max }) } else { Ok(()) }
    }

    fn object(&mut self, pairs: usize, depth: usize) -> Result<(), SocketError> {
        self.out.push('{');
        let mut first = true;
        for _ in 0..pairs {
            let Item::Text(key) = self.reader.next()? else {
                return Err(SocketError::InvalidPayload);
            };
            let item = self.reader.next()?;
            if matches!(item, Item::Undefined) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            write_string(&mut self.out, key);
            self.out.push(':');
            self.value(item, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn enter(&self, depth: usize) -> Result<(), SocketError> {
        let max = self.limits.max_depth;
        if depth >= max { Err(SocketError::TooDeep { max }) } else { Ok(()) }
    }
}
