//! Compressed messages: what any bytes inflate to, what passes for a decoder that knows
//! nothing of them, and what clients offer.
//!
//! The first byte says how the rest is cut; cutting must change no answer.
#![no_main]

use bytes::Bytes;
use hubbub_protocol::wire::{
    deflate::{Deflater, Inflater, Intake, IntakeError, agree},
    frame::{FrameGuard, Opcode, encode_header},
};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 5000;

/// All that is passed on, and why it ended.
fn take_in(inflater: &mut Inflater, stream: &[u8], step: usize) -> (Vec<u8>, Option<IntakeError>) {
    let mut intake = Intake::new(MAX, true, None);
    let mut out = Vec::new();
    for piece in stream.chunks(step) {
        let mut next = Some(Bytes::copy_from_slice(piece));
        while let Some(piece) = next {
            let passed = intake.pass(piece, |opcode, data, max| {
                assert!(data.len() <= MAX && max == MAX);
                inflater.frame(opcode, data, max)
            });
            out.extend_from_slice(&passed.bytes);
            if passed.error.is_some() {
                return (out, passed.error);
            }
            next = intake.take_rest();
        }
    }
    (out, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&step, data)) = input.split_first() else {
        return;
    };
    let (mut inflater, mut deflater) = (Inflater::new(), Deflater::new());

    let whole = take_in(&mut inflater, data, data.len().max(1));
    let cut = take_in(&mut inflater, data, usize::from(step).max(1));
    // A frame that is refused takes its beginning along, if that did not come before.
    assert_eq!(whole.1, cut.1);
    if whole.1.is_none() {
        assert_eq!(whole.0, cut.0);
    }
    let mut guard = FrameGuard::new(MAX as u64);
    assert_eq!(guard.inspect(&whole.0), Ok(()));
    if let Some(error) = whole.1 {
        assert!(matches!(error.close_code(), 1002 | 1007 | 1009));
    }

    // Any bytes as a message: within the bound, and what comes out goes in again.
    if let Ok(frame) = inflater.frame(Opcode::Text, data.to_vec(), MAX) {
        let header = match frame[1] & 0x7F {
            126 => 8,
            127 => 14,
            _ => 6,
        };
        let message = &frame[header..];
        assert!(message.len() <= MAX);
        let mut packed = Vec::new();
        if deflater.compress(message, &mut packed) {
            assert!(packed.len() < message.len());
            let again = inflater.frame(Opcode::Text, packed.clone(), message.len());
            assert_eq!(again.as_ref(), Ok(&frame));
            if let Some(less) = message.len().checked_sub(1) {
                assert!(inflater.frame(Opcode::Text, packed, less).is_err());
            }
        }
    }

    // As one compressed message in two fragments, a ping between.
    let (head, tail) = data.split_at(data.len() / 2);
    let mut stream = Vec::new();
    for (first, payload) in [(0x42, head), (0x89, &b"ping"[..]), (0x80, tail)] {
        let (mut header, n) = encode_header(Opcode::Binary, payload.len());
        (header[0], header[1]) = (first, header[1] | 0x80);
        stream.extend_from_slice(&header[..n]);
        stream.extend_from_slice(&[0; 4]);
        stream.extend_from_slice(payload);
    }
    let (out, error) = take_in(&mut inflater, &stream, usize::from(step).max(1));
    let alone = inflater.frame(Opcode::Binary, data.to_vec(), MAX);
    match error {
        None => assert_eq!(Some(&out[10..]), alone.as_deref().ok()),
        Some(IntakeError::Inflate(error)) => assert_eq!(alone, Err(error)),
        Some(IntakeError::Frame(_)) => assert!(data.len() > MAX),
    }

    if let Ok(header) = std::str::from_utf8(data)
        && let Some(agreed) = agree([header])
    {
        assert!((8..=15).contains(&agreed.window_bits));
        assert_eq!(
            agree([agreed.answer().as_str()]).map(|a| a.window_bits),
            Some(agreed.window_bits)
        );
    }
});
