//! What the content of a message says about itself, so that every copy can be judged alone:
//! `hl.RUN.ROOM.SENDER.NUMBER.DUE.LENGTH.` and filler up to the length.

use std::io::Write;

use memchr::memmem::Finder;

/// What a message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Room it was sent to.
    pub room: u32,
    /// Connection that sent it.
    pub sender: u32,
    /// Number within the room, from 0, in the order of the due times.
    pub number: u32,
    /// When it was due, in microseconds since the start of the run.
    pub due: u64,
    /// Length of the content in bytes.
    pub length: u32,
}

/// Appends the content of a message; at least as long as the marker.
pub fn write(out: &mut Vec<u8>, run: &str, marker: &Marker) {
    let start = out.len();
    let Marker { room, sender, number, due, length } = marker;
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "hl.{run}.{room}.{sender}.{number}.{due}.{length}.");
    let filler = start + *length as usize;
    if out.len() < filler {
        out.resize(filler, b'x');
    }
}

/// Where in a payload something stands that could be a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A whole and right content, and where it ends.
    Sound(Marker, usize),
    /// It begins like one of ours and is damaged; where to look on.
    Damaged(usize),
}

/// Finds contents of one run.
#[derive(Debug)]
pub struct Reader {
    tag: Finder<'static>,
    offset: Finder<'static>,
}

impl Reader {
    /// For the contents of `run`.
    #[must_use]
    pub fn new(run: &str) -> Self {
        Self {
            tag: Finder::new(&format!("\"hl.{run}.")).into_owned(),
            offset: Finder::new("\"offset\":").into_owned(),
        }
    }

    /// The next content in `payload`, which is JSON text.
    #[must_use]
    pub fn find(&self, payload: &[u8]) -> Option<Found> {
        let quote = self.tag.find(payload)?;
        let after = quote + self.tag.needle().len();
        Some(read(payload, quote + 1, after).unwrap_or(Found::Damaged(after)))
    }

    /// The number after `"offset":` in what follows a content.
    #[must_use]
    pub fn offset(&self, rest: &[u8]) -> Option<u64> {
        let at = self.offset.find(rest)? + self.offset.needle().len();
        let digits = rest[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        (1..=19)
            .contains(&digits)
            .then(|| rest[at..at + digits].iter().fold(0, |n: u64, b| n * 10 + u64::from(b - b'0')))
    }
}

/// Whether this is nothing but filler; eight bytes at a time.
fn is_filler(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| word == b"xxxxxxxx") && rest.iter().all(|b| *b == b'x')
}

fn read(payload: &[u8], start: usize, mut at: usize) -> Option<Found> {
    let mut number = || -> Option<u64> {
        let digits = payload[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let end = at + digits;
        if !(1..=19).contains(&digits) || payload.get(end) != Some(&b'.') {
            return None;
        }
        let value = payload[at..end].iter().fold(0, |n: u64, b| n * 10 + u64::from(b - b'0'));
        at = end + 1;
        Some(value)
    };
    let (room, sender, count) = (number()?, number()?, number()?);
    let (due, length) = (number()?, number()?);
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    // The filler is whole and the string ends where it said it would.
    let filler = payload.get(at..end)?;
    if payload.get(end) != Some(&b'"') || !is_filler(filler) {
        return None;
    }
    let marker = Marker {
        room: room.try_into().ok()?,
        sender: sender.try_into().ok()?,
        number: count.try_into().ok()?,
        due,
        length: length.try_into().ok()?,
    };
    Some(Found::Sound(marker, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MARKER: Marker = Marker { room: 3, sender: 14, number: 159, due: 2_653_589, length: 64 };

    fn payload() -> Vec<u8> {
        let mut out = br#"{"type":"message","content":""#.to_vec();
        write(&mut out, "0badcafe", &MARKER);
        out.extend_from_slice(br#"","epoch":"00","offset":42,"timestamp":"t"}"#);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let payload = payload();
        let Some(Found::Sound(marker, end)) = Reader::new("0badcafe").find(&payload) else {
            panic!("not found");
        };
        assert_eq!(marker, MARKER);
        let reader = Reader::new("0badcafe");
        assert_eq!(reader.offset(&payload[end..]), Some(42));
        assert_eq!(reader.find(&payload[end..]), None);
    }

    #[test]
    fn other_runs_are_not_ours() {
        assert_eq!(Reader::new("0badcaff").find(&payload()), None);
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let good = payload();
        let reader = Reader::new("0badcafe");
        let start = good.windows(3).position(|w| w == b"hl.").unwrap() + 12;
        for at in start..start + 64 - 12 {
            let mut bad = good.clone();
            bad[at] = b'q';
            assert!(matches!(reader.find(&bad), Some(Found::Damaged(_))), "byte {at}");
        }
        let mut short = good.clone();
        short.remove(start + 45);
        assert!(matches!(reader.find(&short), Some(Found::Damaged(_))));
    }
}
