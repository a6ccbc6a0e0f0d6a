//! Gathers a compressed message, whose fragments may have control frames between them.

use crate::wire::frame::Opcode;

/// A compressed message on its way in. It is given bytes that a
/// [`FrameGuard`](crate::wire::frame::FrameGuard) has found in order, and holds no more than
/// the guard lets a message have.
#[derive(Debug, Default)]
pub struct Packed {
    /// The header of the frame under way, with its mask.
    header: [u8; 14],
    filled: u8,
    /// Payload bytes still to come of the frame.
    left: u64,
    /// Payload bytes that have come of it: where the mask is.
    at: usize,
    opcode: u8,
    data: Vec<u8>,
}

impl Packed {
    /// Takes the next bytes, which must not reach beyond the end of the message. Control
    /// frames go into `passed` as they are; the fragments that are not the last are counted
    /// in `joined`. Gives the opcode and the payload of the message once it is whole.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        passed: &mut Vec<u8>,
        joined: &mut u64,
    ) -> Option<(Opcode, Vec<u8>)> {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.header[usize::from(self.filled)] = bytes[0];
                self.filled += 1;
                bytes = &bytes[1..];
                let Some((header, length)) = self.lengths() else { continue };
                (self.left, self.at) = (length, 0);
                if self.is_control() {
                    passed.extend_from_slice(&self.header[..header]);
                } else {
                    let opcode = self.header[0] & 0x0F;
                    if opcode != 0 {
                        self.opcode = opcode;
                    }
                    *joined += u64::from(!self.is_last());
                }
            } else {
                let n = usize::try_from(self.left).map_or(bytes.len(), |n| n.min(bytes.len()));
                let piece;
                (piece, bytes) = bytes.split_at(n);
                self.left -= n as u64;
                self.take(piece, passed);
            }
            if self.left == 0 {
                self.filled = 0;
                if !self.is_control() && self.is_last() {
                    let opcode = Opcode::from_bits(self.opcode)?;
                    return Some((opcode, std::mem::take(&mut self.data)));
                }
            }
        }
        None
    }

    fn take(&mut self, piece: &[u8], passed: &mut Vec<u8>) {
        if self.is_control() {
            return passed.extend_from_slice(piece);
        }
        let key = &self.header[usize::from(self.filled) - 4..usize::from(self.filled)];
        let masked = piece.iter().zip(key.iter().cycle().skip(self.at % 4));
        self.data.extend(masked.map(|(byte, key)| byte ^ key));
        self.at += piece.len();
    }

    /// The lengths of the header and of the payload, once the header is whole.
    fn lengths(&self) -> Option<(usize, u64)> {
        let filled = usize::from(self.filled);
        if filled < 2 {
            return None;
        }
        let (header, length) = match self.header[1] & 0x7F {
            126 => (8, u64::from(u16::from_be_bytes([self.header[2], self.header[3]]))),
            127 => {
                let [_, _, length @ .., _, _, _, _] = self.header;
                (14, u64::from_be_bytes(length))
            }
            length => (6, u64::from(length)),
        };
        (filled == header).then_some((header, length))
    }

    const fn is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    const fn is_last(&self) -> bool {
        self.header[0] & 0x80 != 0
    }
}
