//! Fields as tag, length and bytes: what a reader does not know it skips.

use super::DecodeError;

/// Writes fields.
pub(super) struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// One field.
    pub(super) fn bytes(&mut self, tag: u8, value: &[u8]) {
        self.0.push(tag);
        put_varint(self.0, value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A text.
    pub(super) fn text(&mut self, tag: u8, value: &str) {
        self.bytes(tag, value.as_bytes());
    }

    /// A text, or nothing at all.
    pub(super) fn some_text(&mut self, tag: u8, value: Option<&str>) {
        if let Some(value) = value {
            self.text(tag, value);
        }
    }

    /// A number, in as few bytes as it needs.
    pub(super) fn number(&mut self, tag: u8, value: u64) {
        self.0.push(tag);
        let mut buffer = Vec::with_capacity(10);
        put_varint(&mut buffer, value);
        put_varint(self.0, buffer.len() as u64);
        self.0.extend_from_slice(&buffer);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads fields in the order in which they were written.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("length"))
    }

    /// The next field; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
        let Some((&tag, rest)) = self.0.split_first() else { return Ok(None) };
        self.0 = rest;
        let length = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        let (value, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(Some((tag, value)))
    }
}

/// A field as a number.
pub(super) fn number(value: &[u8]) -> Result<u64, DecodeError> {
    Reader(value).varint()
}

/// A field as a text.
pub(super) fn text<'a>(value: &'a [u8], what: &'static str) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(value).map_err(|_| DecodeError::Invalid(what))
}

/// A field as a UUID.
pub(super) fn uuid(value: &[u8], what: &'static str) -> Result<uuid::Uuid, DecodeError> {
    uuid::Uuid::from_slice(value).map_err(|_| DecodeError::Invalid(what))
}

/// A field as JSON.
pub(super) fn json(value: &[u8]) -> Result<Box<serde_json::value::RawValue>, DecodeError> {
    serde_json::from_slice(value).map_err(|_| DecodeError::Invalid("JSON"))
}
