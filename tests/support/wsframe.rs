//! WebSocket frames (RFC 6455, section 5; RFC 7692, section 7.2), right and wrong ones.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// A frame from the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Text.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
    /// Ping with its payload.
    Ping(Vec<u8>),
    /// Pong with its payload.
    Pong(Vec<u8>),
    /// Close with its code (1005 if it has none) and reason.
    Close(u16, String),
}

impl Frame {
    /// Takes one frame off the front; none if it is not complete. Panics if the
    /// hub breaks a rule: its frames are whole, unmasked, with the shortest length, and
    /// compressed only if that was agreed on. Compressed ones are counted.
    pub fn take(buffer: &mut Vec<u8>, agreed: bool, compressed: &mut usize) -> Option<Self> {
        let (&[first, second], rest) = buffer.split_first_chunk::<2>()?;
        let packed = agreed && first & 0x40 != 0 && first & 0x08 == 0;
        let first = if packed { first & !0x40 } else { first };
        assert_eq!(first & 0x70, 0, "the hub set a reserved bit");
        assert_eq!(second & 0x80, 0, "the hub masked a frame");
        assert_ne!(first & 0x80, 0, "the hub fragmented a frame");
        let (length, skip) = match second {
            126 => {
                let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
                assert!(length > 125, "the hub's length is not minimal");
                (length, 4)
            }
            127 => {
                let length = u64::from_be_bytes(*rest.first_chunk()?);
                assert!(length > 65_535, "the hub's length is not minimal");
                (usize::try_from(length).unwrap(), 10)
            }
            n => (usize::from(n), 2),
        };
        if buffer.len() < skip + length {
            return None;
        }
        let mut payload = buffer[skip..skip + length].to_vec();
        if packed {
            *compressed += 1;
            payload = inflated(&payload);
        }
        buffer.drain(..skip + length);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the hub's text is not UTF-8");
        let control = || assert!(payload.len() <= 125, "the hub's control frame is too long");
        Some(match first & 0x0f {
            1 => Self::Text(text(payload)),
            2 => Self::Binary(payload),
            8 => {
                control();
                match payload.split_first_chunk::<2>() {
                    Some((code, reason)) => {
                        Self::Close(u16::from_be_bytes(*code), text(reason.to_vec()))
                    }
                    None => Self::Close(1005, String::new()),
                }
            }
            9 => {
                control();
                Self::Ping(payload)
            }
            10 => {
                control();
                Self::Pong(payload)
            }
            other => panic!("the hub sent opcode {other}"),
        })
    }
}

/// A masked frame with this first byte (FIN, reserved bits, opcode).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = raw(first, 0x80, payload.len());
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// A frame's header without a mask: first byte, mask bit, shortest length.
pub fn raw(first: u8, mask_bit: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..=125 => head.push(mask_bit | length as u8),
        126..=65_535 => {
            head.push(mask_bit | 126);
            head.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 127);
            head.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    head
}

/// A masked close frame.
pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(0x88, &[&code.to_be_bytes(), reason].concat())
}

/// The payload of a compressed message.
pub fn deflated(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    let mut state = Compress::new(Compression::best(), false);
    state.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
}

/// What a compressed message of the hub says.
fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 * 1024 * 1024);
    let data = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut state = Decompress::new(false);
    state.decompress_vec(&data, &mut out, FlushDecompress::Sync).unwrap();
    assert_eq!(state.total_in(), data.len() as u64);
    out
}
