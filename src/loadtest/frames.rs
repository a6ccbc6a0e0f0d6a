//! WebSocket frames as a client writes and reads them (RFC 6455, section 5).

use hubbub_protocol::wire::frame::{MAX_HEADER_BYTES, Opcode, encode_header};

/// Largest frame that a hub may send; a larger one ends the connection.
const MAX_FRAME: usize = 16 << 20;

/// Appends a whole frame. A client must mask (section 5.3); the key here is zero, which is one of
/// the 2^32 and leaves the payload as it is, so that neither side pays more than it has to.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let (mut header, length): ([u8; MAX_HEADER_BYTES], usize) =
        encode_header(opcode, payload.len());
    header[1] |= 0x80;
    out.extend_from_slice(&header[..length]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Why what the hub sends is no stream of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// Reserved bits, a reserved opcode, a mask or a fragment, none of which the hub sends.
    #[error("the hub sent a frame with the first bytes {0:#04x} {1:#04x}")]
    Header(u8, u8),
    /// Longer than 16 MiB.
    #[error("the hub sent a frame of {0} bytes")]
    TooBig(u64),
}

/// Hands each whole frame of `rest` and `chunk` to `take` and leaves what is not whole in `rest`.
/// `take` says whether to go on; what follows is dropped if not.
///
/// # Errors
/// See [`FrameFault`]; the connection is not to be used any more.
pub fn feed(
    rest: &mut Vec<u8>,
    chunk: &[u8],
    mut take: impl FnMut(Opcode, &[u8]) -> bool,
) -> Result<bool, FrameFault> {
    if rest.is_empty() {
        // The usual case: whole frames, straight out of the read buffer.
        let (used, going) = walk(chunk, &mut take)?;
        if going {
            rest.extend_from_slice(&chunk[used..]);
        }
        return Ok(going);
    }
    rest.extend_from_slice(chunk);
    let (used, going) = walk(rest, &mut take)?;
    rest.drain(..used);
    Ok(going)
}

fn walk(
    bytes: &[u8],
    take: &mut impl FnMut(Opcode, &[u8]) -> bool,
) -> Result<(usize, bool), FrameFault> {
    let mut at = 0;
    while let Some((opcode, head, length)) = header(&bytes[at..])? {
        let Some(payload) = bytes.get(at + head..at + head + length) else { break };
        at += head + length;
        if !take(opcode, payload) {
            return Ok((at, false));
        }
    }
    Ok((at, true))
}

/// Opcode, length of the header, length of the payload.
fn header(bytes: &[u8]) -> Result<Option<(Opcode, usize, usize)>, FrameFault> {
    let &[first, second, ref more @ ..] = bytes else { return Ok(None) };
    let fault = FrameFault::Header(first, second);
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Err(fault);
    }
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(fault)?;
    let (head, length) = match second {
        126 => match more.first_chunk() {
            Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match more.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME => Ok(Some((opcode, head, length))),
        _ => Err(FrameFault::TooBig(length)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::wire::frame::{FrameGuard, encode_frame};

    use super::*;

    #[test]
    fn the_hub_takes_what_is_written() {
        for size in [0, 125, 126, 65_535, 65_536] {
            let mut out = Vec::new();
            write(&mut out, Opcode::Text, &vec![b'x'; size]);
            let mut guard = FrameGuard::new(1 << 20);
            assert_eq!(guard.inspect(&out), Ok(()));
            assert_eq!(guard.frames(), 1);
            assert!(out.ends_with(&vec![b'x'; size]));
        }
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut stream = Vec::new();
        for size in [0usize, 3, 125, 126, 70_000] {
            stream.extend_from_slice(&encode_frame(Opcode::Text, &vec![b'y'; size]));
        }
        for step in [1, 7, 1000, stream.len()] {
            let (mut rest, mut seen) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(step) {
                let going = feed(&mut rest, chunk, |_, payload| {
                    seen.push(payload.len());
                    true
                });
                assert_eq!(going, Ok(true));
            }
            assert_eq!(seen, [0, 3, 125, 126, 70_000], "in steps of {step}");
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_the_hub_never_sends_is_told() {
        for bad in [&[0xC1, 0][..], &[0x83, 0], &[0x01, 0], &[0x81, 0x80]] {
            assert!(feed(&mut Vec::new(), bad, |_, _| true).is_err(), "{bad:?}");
        }
        let huge = [0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0];
        assert!(matches!(feed(&mut Vec::new(), &huge, |_, _| true), Err(FrameFault::TooBig(_))));
    }
}
