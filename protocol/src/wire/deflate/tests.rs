#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::frame::{FrameError, Opcode, encode_header};

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

#[test]
fn the_first_offer_that_can_be_kept_is_agreed_on() {
    for (headers, answer) in [
        (&["permessage-deflate"][..], Some((15, ""))),
        (&["permessage-deflate; client_max_window_bits"], Some((15, ""))),
        (&["permessage-deflate;client_max_window_bits=8"], Some((15, ""))),
        (&["permessage-deflate; server_no_context_takeover"], Some((15, ""))),
        (
            &["permessage-deflate ; client_no_context_takeover ; x", "permessage-deflate"],
            Some((15, "")),
        ),
        (
            &["permessage-deflate; server_max_window_bits=15"],
            Some((15, "; server_max_window_bits=15")),
        ),
        (
            &["permessage-deflate; server_max_window_bits=\"10\""],
            Some((10, "; server_max_window_bits=10")),
        ),
        (
            &["permessage-deflate; server_max_window_bits = 8"],
            Some((8, "; server_max_window_bits=8")),
        ),
        // The next one, if the first cannot be kept.
        (&["permessage-deflate; server_max_window_bits=7, permessage-deflate"], Some((15, ""))),
        (&["foo; bar=\"baz\", , permessage-deflate"], Some((15, ""))),
        (&["x-webkit-deflate-frame", "permessage-deflate"], Some((15, ""))),
        (
            &[
                "permessage-deflate; mode=fast, permessage-deflate; server_max_window_bits=9, permessage-deflate",
            ],
            Some((9, "; server_max_window_bits=9")),
        ),
        // What must be declined.
        (&[], None),
        (&[" , ,"], None),
        (&["permessage-bzip2"], None),
        (&["permessage-deflate; unknown"], None),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=08"], None),
        (&["permessage-deflate; server_max_window_bits=+9"], None),
        (&["permessage-deflate; server_max_window_bits=\"\""], None),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; client_max_window_bits=010"], None),
        (&["permessage-deflate; server_no_context_takeover=1"], None),
        (&["permessage-deflate; client_no_context_takeover=true"], None),
        (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (&["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"], None),
        // What is not even a list of extensions.
        (&["permessage-deflate permessage-deflate"], None),
        (&["permessage-deflate;"], None),
        (&["permessage-deflate; =9"], None),
        (&["permessage-deflate; server_max_window_bits=\"9"], None),
        (&["(, permessage-deflate"], None),
        (&[";permessage-deflate"], None),
    ] {
        let agreed = agree(headers.iter().copied());
        let got = agreed.map(|agreed| (agreed.window_bits, agreed.answer()));
        let expected = answer.map(|(bits, rest)| (bits, format!("{PLAIN}{rest}")));
        assert_eq!(got, expected, "{headers:?}");
    }
}

/// A compressed payload as any deflater may make it, within a number of blocks.
fn packed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut state = flate2::Compress::new(flate2::Compression::new(6), false);
    out.reserve(message.len() * 2 + 100);
    state.compress_vec(message, &mut out, flate2::FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&FLUSHED));
    out.truncate(out.len() - 4);
    out
}

fn unpacked(data: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let frame = Inflater::new().frame(Opcode::Text, data.to_vec(), max)?;
    assert_eq!(frame[0], 0x81);
    let header = match frame[1] {
        0xFE => 8,
        0xFF => 14,
        _ => 6,
    };
    assert_eq!(frame[header - 4..header], [0; 4]);
    let (mut shortest, n) = encode_header(Opcode::Text, frame.len() - header);
    shortest[1] |= 0x80;
    assert_eq!(frame[..header - 4], shortest[..n]);
    Ok(frame[header..].to_vec())
}

#[test]
fn the_examples_of_the_rfc() {
    let hello = b"Hello".to_vec();
    // Section 7.2.3: one block, a block without compression, a last block, two blocks.
    for data in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    ] {
        assert_eq!(unpacked(data, 5), Ok(hello.clone()), "{data:x?}");
        assert_eq!(unpacked(data, 4), Err(InflateError::TooBig { max: 4 }), "{data:x?}");
    }
    // Section 7.2.3.6: nothing.
    for data in [&[0x00][..], &[0x02, 0x00], &[]] {
        assert_eq!(unpacked(data, 0), Ok(Vec::new()), "{data:x?}");
    }
}

#[test]
fn bad_data_is_refused() {
    for data in [
        // A reserved kind of block, a wrong length, no codes, only beginnings.
        &[0x07][..],
        &[0xff; 20],
        &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48],
        &[0x00, 0x06, 0x00, 0xf9, 0xff, 0x48],
        &[0xf2, 0x48, 0xcd, 0xc9],
        &[0x04, 0x00],
        // Something behind the last block.
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x01],
        // It refers to what was before the message.
        &[0x02, 0x13, 0x00],
    ] {
        assert_eq!(unpacked(data, 1000), Err(InflateError::Invalid), "{data:x?}");
    }
}

#[test]
fn nothing_of_a_message_is_left_for_the_next() {
    let mut inflater = Inflater::new();
    let secret = packed(b"a secret of somebody else, which is long enough to be found again");
    inflater.frame(Opcode::Text, secret, 1000).unwrap();
    // Every short message that begins with a reference back.
    for a in 0..=255 {
        for b in 0..=255 {
            if let Ok(frame) = inflater.frame(Opcode::Text, vec![0x02 | a, b, 0x00], 1000) {
                assert!(
                    !frame.windows(3).any(|w| b"a secret of somebody".windows(3).any(|s| s == w))
                );
            }
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_bound() {
    // Half a gigabyte, three times compressed: each time a thousandth.
    let zeros = vec![0; 64 << 20];
    let bomb = packed(&zeros);
    assert!(bomb.len() < 80_000);
    for max in [0, 1, 1000, 65_536, 1_000_000] {
        assert_eq!(unpacked(&bomb, max), Err(InflateError::TooBig { max }));
    }
    for len in [1000, 1024, 8192, 65_535, 65_536] {
        let data = packed(&zeros[..len]);
        assert_eq!(unpacked(&data, len), Ok(vec![0; len]));
        assert_eq!(unpacked(&data, len - 1), Err(InflateError::TooBig { max: len - 1 }));
    }
    // Blocks that hold nothing, as many as fit.
    let empty: Vec<u8> = [0, 0, 0, 0xff, 0xff].repeat(13_000);
    assert_eq!(unpacked(&[&empty[..], &[0]].concat(), 10), Ok(Vec::new()));
}

#[test]
fn what_does_not_get_shorter_is_told() {
    let mut deflater = Deflater::new();
    let mut out = b"head".to_vec();
    assert!(!deflater.compress(b"", &mut out));
    out.truncate(4);
    assert!(!deflater.compress(b"abc", &mut out));
    out.truncate(4);
    let text = "what is said again and again ".repeat(50);
    assert!(deflater.compress(text.as_bytes(), &mut out));
    assert_eq!(&out[..4], b"head");
    assert!(out.len() < 100, "{}", out.len());
    assert_eq!(unpacked(&out[4..], 10_000).unwrap(), text.as_bytes());
}

/// A masked frame.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let (mut header, n) = encode_header(Opcode::Text, payload.len());
    header[0] = first;
    header[1] |= 0x80;
    let key = [0x11, 0x22, 0x33, 0x44];
    let masked = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k);
    [&header[..n], &key].concat().into_iter().chain(masked).collect()
}

/// Everything that a decoder is given, unmasked; and the error, if there was one.
fn take_in(stream: &[u8], chunk: usize, max: usize) -> (Vec<u8>, Option<IntakeError>, u64) {
    let mut intake = Intake::new(max, true, None);
    let mut inflater = Inflater::new();
    let (mut out, mut joined, mut looked) = (Vec::new(), 0, 0);
    for chunk in stream.chunks(chunk.max(1)) {
        let mut next = Some(Bytes::copy_from_slice(chunk));
        while let Some(piece) = next {
            let passed = intake.pass(piece, |opcode, data, max| inflater.frame(opcode, data, max));
            out.extend_from_slice(&passed.bytes);
            joined += passed.joined;
            looked += passed.looked;
            if passed.error.is_some() {
                return (out, passed.error, joined);
            }
            next = intake.take_rest();
        }
    }
    assert_eq!(looked, stream.len());
    assert!(intake.take_rest().is_none());
    (out, None, joined)
}

/// Whole frames: first byte and clear payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let (header, len) = match bytes[1] & 0x7F {
            126 => (8, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (14, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
            len => (6, usize::from(len)),
        };
        let key: Vec<u8> = bytes[header - 4..header].to_vec();
        let payload = &bytes[header..header + len];
        let clear = payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
        all.push((bytes[0], clear));
        bytes = &bytes[header + len..];
    }
    all
}

#[test]
fn without_a_compressed_message_nothing_is_kept_or_copied() {
    let mut intake = Intake::new(1000, true, None);
    let stream =
        Bytes::from([client(0x81, b"hello"), client(0x89, b""), client(0x02, b"x")].concat());
    let passed = intake.pass(stream.clone(), |_, _, _| unreachable!());
    assert_eq!(passed.bytes.as_ptr(), stream.as_ptr());
    assert_eq!((passed.bytes.len(), passed.looked), (stream.len(), stream.len()));
    assert!(passed.error.is_none() && intake.take_rest().is_none());
    assert!(size_of::<Intake>() <= 88, "{}", size_of::<Intake>());
}

#[test]
fn one_message_at_a_time() {
    let message = client(0xC1, &packed(b"hello"));
    let stream = [&message[..], &message, &client(0x81, b"plain"), &message].concat();
    let mut intake = Intake::new(1000, true, Some(Bytes::from(stream)));
    let mut inflater = Inflater::new();
    let mut lengths = Vec::new();
    while let Some(piece) = intake.take_rest() {
        let passed = intake.pass(piece, |opcode, data, max| inflater.frame(opcode, data, max));
        lengths.push((frames(&passed.bytes).len(), passed.looked, intake.frames()));
    }
    let (n, plain) = (message.len(), 11);
    assert_eq!(lengths, [(1, n, 1), (1, n, 2), (1, plain, 3), (1, n, 4)]);
}

#[test]
fn what_follows_a_close_is_not_part_of_a_compressed_message() {
    let message = packed(b"never to be seen");
    let begun = client(0x41, &message[..4]);
    let close = client(0x88, &1000u16.to_be_bytes());
    for behind in [client(0x80, &message[4..]), vec![0xCC; 7], client(0xC1, &message)] {
        let stream = [&begun[..], &close, &behind].concat();
        for chunk in 1..=stream.len() {
            let (out, error, _) = take_in(&stream, chunk, 1000);
            assert_eq!(error, None);
            assert_eq!(out, [&close[..], &behind].concat(), "in pieces of {chunk}");
        }
    }
}

#[test]
fn the_first_bit_is_for_first_frames_only() {
    let reserved = Some(IntakeError::Frame(FrameError::ReservedBits));
    let good = client(0xC1, &packed(b"hello"));
    for bad in [
        // RSV2, RSV3, all of them, and without the first.
        client(0xA1, b""),
        client(0x91, b""),
        client(0xF1, b""),
        client(0xE1, b""),
        // Control frames, also within a compressed message.
        client(0xC9, b""),
        client(0xC8, b""),
        [client(0x41, b""), client(0xCA, b"")].concat(),
        // Continuations, of compressed and other messages.
        [client(0x41, b""), client(0xC0, b"")].concat(),
        [client(0x01, b""), client(0xC0, b"")].concat(),
        [client(0x01, b""), client(0xC1, b"")].concat(),
        client(0xC3, b""),
    ] {
        for chunk in [1, 2, 1000] {
            let (out, error, _) = take_in(&[&good[..], &bad].concat(), chunk, 1000);
            let before = frames(&out);
            assert_eq!(before[0], (0x81, b"hello".to_vec()));
            assert_eq!(error, reserved, "{bad:x?}");
        }
    }
    let mut intake = Intake::new(1000, false, None);
    let passed = intake.pass(good.into(), |_, _, _| unreachable!());
    assert_eq!(passed.error, reserved);
    assert!(passed.bytes.is_empty());
}

#[test]
fn a_message_is_bounded_compressed_and_inflated() {
    // It becomes longer, so that the bound is met by what is compressed.
    let mut seed = 1u32;
    let mut noise = vec![0u8; 2000];
    for byte in &mut noise {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        *byte = seed as u8;
    }
    let data = packed(&noise);
    let whole = client(0xC2, &data);
    let (first, last) = data.split_at(data.len() / 2);
    let cut = [client(0x42, first), client(0x80, last)].concat();
    for stream in [whole, cut] {
        let (out, error, _) = take_in(&stream, 100, data.len());
        assert_eq!((frames(&out), error), (vec![(0x82, noise.clone())], None));
        let (out, error, _) = take_in(&stream, 100, data.len() - 1);
        assert_eq!(error.unwrap().close_code(), 1009);
        assert!(out.is_empty());
    }
    let bomb = client(0xC1, &packed(&[b'x'; 5000]));
    let (out, error, _) = take_in(&[client(0x81, b"before"), bomb].concat(), 1000, 4999);
    assert_eq!(error, Some(IntakeError::Inflate(InflateError::TooBig { max: 4999 })));
    assert_eq!(frames(&out), [(0x81, b"before".to_vec())]);
    let (_, error, _) = take_in(&client(0xC1, &[0x07]), 1000, 1000);
    assert_eq!(error.unwrap().close_code(), 1007);
}

/// A message: its text, whether it is compressed, where it is cut, what comes between.
type Sent = (Vec<u8>, bool, Vec<prop::sample::Index>, bool);

fn sent() -> impl Strategy<Value = Sent> {
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..70_000usize).prop_map(|(byte, len)| vec![byte; len]),
        "[a-c ]{0,400}".prop_map(String::into_bytes),
    ];
    (text, any::<bool>(), prop::collection::vec(any::<prop::sample::Index>(), 0..4), any::<bool>())
}

proptest! {
    #[test]
    fn whatever_way_it_is_cut_the_messages_come(
        sent in prop::collection::vec(sent(), 1..6),
        chunk in prop_oneof![1..20usize, 1..100_000usize],
    ) {
        let (mut stream, mut expected, mut deflater) = (Vec::new(), Vec::new(), Deflater::new());
        let mut joins = 0;
        for (text, compressed, cuts, pinged) in &sent {
            let mut payload = text.clone();
            if *compressed {
                payload.clear();
                if !deflater.compress(text, &mut payload) {
                    payload = packed(text);
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(payload.len());
            let mut from = 0;
            for (n, &to) in cuts.iter().enumerate() {
                let last = n + 1 == cuts.len();
                let rsv = if *compressed && n == 0 { 0x40 } else { 0 };
                let opcode = if n == 0 { 0x02 } else { 0 };
                let first = if last { 0x80 } else { 0 } | rsv | opcode;
                stream.extend(client(first, &payload[from..to]));
                if !*compressed {
                    expected.push((first, payload[from..to].to_vec()));
                } else if last {
                    expected.push((0x82, text.clone()));
                } else {
                    joins += 1;
                }
                if *pinged {
                    stream.extend(client(0x89, b"ping"));
                    expected.push((0x89, b"ping".to_vec()));
                }
                from = to;
            }
        }
        let (out, error, joined) = take_in(&stream, chunk, 70_000);
        prop_assert_eq!(error, None);
        prop_assert_eq!(joined, joins);
        prop_assert!(frames(&out) == expected);
    }

    #[test]
    fn nothing_that_comes_does_harm(data in prop::collection::vec(any::<u8>(), 0..200), max in 0..5000usize) {
        if let Ok(message) = unpacked(&data, max) {
            prop_assert!(message.len() <= max);
            prop_assert_eq!(unpacked(&packed(&message), max), Ok(message));
        }
        let _ = agree([String::from_utf8_lossy(&data).as_ref()]);
    }
}
