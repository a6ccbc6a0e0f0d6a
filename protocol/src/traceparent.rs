//! The context of a trace, as programs hand it to each other: W3C Trace Context,
//! section 3.2, `traceparent`.

use std::fmt;

/// A trace and the span in it that asked for what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace_id: u128,
    /// The span that asked; never zero.
    pub span_id: u64,
    /// Bit 0: the trace is sampled. The others are passed on as they came.
    pub flags: u8,
}

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;
/// Length of a header of version 00.
const LEN: usize = 55;
/// Length of [`TraceParent::to_bytes`].
const BYTES: usize = 25;

impl TraceParent {
    /// Reads the header `traceparent`. None if it is not valid, in which case the
    /// recommendation wants it to be ignored. Of a later version the fields of 00
    /// are read.
    pub fn parse(header: &str) -> Option<Self> {
        let bytes = header.as_bytes();
        let at = |dash: usize| bytes.get(dash) == Some(&b'-');
        if bytes.len() < LEN || !at(2) || !at(35) || !at(52) {
            return None;
        }
        let version = hex(header, 0, 2)?;
        if version == 0xff || (bytes.len() > LEN && (version == 0 || !at(LEN))) {
            return None;
        }
        let parsed = Self {
            trace_id: hex(header, 3, 32)?,
            span_id: u64::try_from(hex(header, 36, 16)?).ok()?,
            flags: u8::try_from(hex(header, 53, 2)?).ok()?,
        };
        (parsed.trace_id != 0 && parsed.span_id != 0).then_some(parsed)
    }

    /// Whether whoever asked records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As nodes tell it to each other: the trace, the span, the flags.
    pub fn to_bytes(self) -> [u8; BYTES] {
        let mut out = [self.flags; BYTES];
        out[..16].copy_from_slice(&self.trace_id.to_be_bytes());
        out[16..24].copy_from_slice(&self.span_id.to_be_bytes());
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, which a later release may have
    /// made longer. None if it is not that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (trace_id, rest) = bytes.split_first_chunk::<16>()?;
        let (span_id, rest) = rest.split_first_chunk::<8>()?;
        let parsed = Self {
            trace_id: u128::from_be_bytes(*trace_id),
            span_id: u64::from_be_bytes(*span_id),
            flags: *rest.first()?,
        };
        (parsed.trace_id != 0 && parsed.span_id != 0).then_some(parsed)
    }
}

/// Hexadecimal digits, in lower case only.
fn hex(header: &str, from: usize, len: usize) -> Option<u128> {
    let digits = header.get(from..from + len)?;
    let lower = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    lower.then(|| u128::from_str_radix(digits, 16).ok()).flatten()
}

impl fmt::Display for TraceParent {
    /// The header, of version 00.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_back() {
        let read = TraceParent::parse(HEADER).unwrap();
        assert_eq!(read.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((read.span_id, read.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert!(read.is_sampled());
        assert_eq!(read.to_string(), HEADER);
        let not = TraceParent::parse(&HEADER.replace("-01", "-02")).unwrap();
        assert!(!not.is_sampled());
    }

    #[test]
    fn bytes_read_back() {
        let read = TraceParent::parse(HEADER).unwrap();
        let bytes = read.to_bytes();
        assert_eq!(TraceParent::from_bytes(&bytes), Some(read));
        assert_eq!(TraceParent::from_bytes(&[&bytes[..], b"more"].concat()), Some(read));
        for end in 0..bytes.len() {
            assert_eq!(TraceParent::from_bytes(&bytes[..end]), None);
        }
        assert_eq!(TraceParent::from_bytes(&[0; 25]), None);
    }

    #[test]
    fn what_is_not_valid_is_ignored() {
        // A later version may have more behind the fields.
        assert!(TraceParent::parse(&HEADER.replacen("00", "cc", 1)).is_some());
        assert!(TraceParent::parse(&format!("cc{}-what", &HEADER[2..])).is_some());
        for wrong in [
            String::new(),
            HEADER[..54].to_owned(),
            format!("{HEADER}-what"),
            format!("cc{}.what", &HEADER[2..]),
            HEADER.replacen("00", "ff", 1),
            HEADER.to_uppercase(),
            HEADER.replace('-', "_"),
            HEADER.replace("4bf9", "+bf9"),
            HEADER.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            HEADER.replace("00f067aa0ba902b7", &"0".repeat(16)),
            format!("00-{}", "\u{e4}".repeat(26)),
        ] {
            assert_eq!(TraceParent::parse(&wrong), None, "{wrong}");
        }
    }
}
