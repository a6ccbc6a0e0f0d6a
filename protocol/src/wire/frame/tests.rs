#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// A masked client frame; `byte0` is FIN, reserved bits and opcode.
fn client(byte0: u8, payload: &[u8]) -> Vec<u8> {
    let opcode = Opcode::Binary;
    let (mut header, n) = encode_header(opcode, payload.len());
    header[0] = byte0;
    header[1] |= 0x80;
    let key = [0x11, 0x22, 0x33, 0x44];
    let mut frame = header[..n].to_vec();
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

fn guard() -> FrameGuard {
    FrameGuard::new(1000)
}

fn first_error(bytes: &[u8]) -> Option<FrameError> {
    guard().inspect(bytes).err()
}

#[test]
fn accepts_every_kind_of_frame() {
    let mut guard = guard();
    for (byte0, len) in [(0x81, 5), (0x82, 0), (0x82, 1000), (0x89, 125), (0x8A, 0), (0x88, 2)] {
        let payload = if byte0 == 0x88 { vec![0x03, 0xE8] } else { vec![b'x'; len] };
        guard.inspect(&client(byte0, &payload)).unwrap();
    }
    assert_eq!(guard.frames(), 6);
    assert!(guard.close_seen());
}

#[test]
fn refuses_each_reserved_bit_on_the_first_byte() {
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(first_error(&[0x81 | bit]), Some(FrameError::ReservedBits));
        assert_eq!(first_error(&[0x89 | bit]), Some(FrameError::ReservedBits));
    }
}

#[test]
fn refuses_every_reserved_opcode_on_the_first_byte() {
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        assert_eq!(first_error(&[0x80 | opcode]), Some(FrameError::ReservedOpcode(opcode)));
        assert_eq!(Opcode::from_bits(opcode), None);
    }
}

#[test]
fn refuses_unmasked_frames_on_the_second_byte() {
    for second in [0, 5, 125, 126, 127] {
        assert_eq!(first_error(&[0x81, second]), Some(FrameError::Unmasked));
    }
}

#[test]
fn refuses_fragmented_and_long_control_frames() {
    for opcode in [0x8, 0x9, 0xA] {
        assert_eq!(first_error(&[opcode]), Some(FrameError::ControlFragmented));
        for length in [126, 127] {
            assert_eq!(
                first_error(&[0x80 | opcode, 0x80 | length]),
                Some(FrameError::ControlTooLong)
            );
        }
        let mut payload = [b'x'; 125];
        payload[..2].copy_from_slice(&1000u16.to_be_bytes());
        assert_eq!(first_error(&client(0x80 | opcode, &payload)), None);
    }
}

#[test]
fn refuses_a_continuation_without_a_start() {
    assert_eq!(first_error(&[0x80]), Some(FrameError::ContinuationWithoutStart));
    assert_eq!(first_error(&[0x00]), Some(FrameError::ContinuationWithoutStart));
    let mut guard = guard();
    guard.inspect(&client(0x01, b"a")).unwrap();
    assert!(guard.in_message());
    guard.inspect(&client(0x80, b"b")).unwrap();
    assert!(!guard.in_message());
    assert_eq!(guard.inspect(&[0x80]), Err(FrameError::ContinuationWithoutStart));
}

#[test]
fn refuses_a_new_message_inside_a_fragmented_one() {
    for (start, next) in [(0x01, 0x81), (0x01, 0x82), (0x02, 0x01), (0x02, 0x82)] {
        let mut guard = guard();
        guard.inspect(&client(start, b"")).unwrap();
        assert_eq!(guard.inspect(&[next]), Err(FrameError::MessageInsideMessage));
    }
}

#[test]
fn control_frames_may_come_between_fragments() {
    let mut guard = guard();
    for frame in [
        client(0x01, b"a"),
        client(0x89, b"ping"),
        client(0x00, b"b"),
        client(0x8A, b""),
        client(0x80, b"c"),
        client(0x81, b"next"),
    ] {
        guard.inspect(&frame).unwrap();
    }
    assert_eq!(guard.frames(), 6);
}

#[test]
fn refuses_lengths_that_are_not_minimal() {
    for length in [0, 1, 125] {
        assert_eq!(first_error(&[0x82, 0xFE, 0, length]), Some(FrameError::NonMinimalLength));
    }
    for length in [0, 125, 126, 65_535_u64] {
        let mut header = vec![0x82, 0xFF];
        header.extend_from_slice(&length.to_be_bytes());
        assert_eq!(first_error(&header), Some(FrameError::NonMinimalLength));
    }
    let mut guard = FrameGuard::new(1 << 20);
    guard.inspect(&[0x82, 0xFE, 0, 126, 0, 0, 0, 0]).unwrap();
    let mut guard = FrameGuard::new(1 << 20);
    guard.inspect(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
}

#[test]
fn refuses_a_length_with_the_top_bit_as_soon_as_it_shows() {
    assert_eq!(first_error(&[0x82, 0xFF, 0x80]), Some(FrameError::LengthTopBit));
    let mut guard = FrameGuard::new(u64::MAX);
    guard.inspect(&[0x02, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255]).unwrap();
}

#[test]
fn refuses_a_large_frame_before_its_mask_and_payload() {
    let error = FrameError::TooBig { max: 1000 };
    assert_eq!(first_error(&[0x82, 0xFE, 0x03, 0xE9]), Some(error));
    assert_eq!(first_error(&[0x82, 0xFF, 0, 0, 0, 0, 0x0C, 0, 0, 0]), Some(error));
    assert_eq!(first_error(&[0x82, 0xFE, 0x03, 0xE8]), None);
    let mut none = FrameGuard::new(0);
    none.inspect(&client(0x81, b"")).unwrap();
    assert!(none.inspect(&[0x81, 0x81]).is_err());
}

#[test]
fn sums_the_fragments_of_a_message() {
    let mut guard = guard();
    guard.inspect(&client(0x01, &[0; 600])).unwrap();
    guard.inspect(&client(0x89, &[0; 125])).unwrap();
    guard.inspect(&client(0x00, &[0; 400])).unwrap();
    assert_eq!(guard.inspect(&[0x80, 0x81]), Err(FrameError::TooBig { max: 1000 }));
    let mut fresh = FrameGuard::new(u64::MAX);
    let huge = [0x00, 0xFF, 0x7F, 255, 255, 255, 255, 255, 255, 255];
    fresh.inspect(&client(0x01, &[0; 10])).unwrap();
    fresh.inspect(&huge).unwrap();
}

#[test]
fn stays_failed_and_ignores_what_follows_a_close() {
    let mut failed = guard();
    assert!(failed.inspect(&[0x83]).is_err());
    assert_eq!(failed.inspect(&[0x81]), Err(FrameError::ReservedOpcode(3)));
    let mut closed = guard();
    closed.inspect(&client(0x88, &[0x03, 0xE8])).unwrap();
    closed.inspect(&[0xFF; 64]).unwrap();
    assert_eq!(closed.frames(), 1);
}

#[test]
fn maps_to_close_codes() {
    assert_eq!(FrameError::TooBig { max: 1 }.close_code(), 1009);
    assert_eq!(FrameError::Unmasked.close_code(), 1002);
    assert_eq!(Utf8Error.close_code(), 1007);
    assert_eq!(CloseError::InvalidUtf8.close_code(), 1007);
    assert_eq!(CloseError::Truncated.close_code(), 1002);
}

#[test]
fn server_headers_use_the_fewest_bytes() {
    let cases: [(usize, &[u8]); 6] = [
        (0, &[0x81, 0]),
        (125, &[0x81, 125]),
        (126, &[0x81, 126, 0, 126]),
        (65_535, &[0x81, 126, 0xFF, 0xFF]),
        (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        (1 << 32, &[0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0]),
    ];
    for (len, expected) in cases {
        let (header, n) = encode_header(Opcode::Text, len);
        assert_eq!(&header[..n], expected, "length {len}");
    }
    assert_eq!(&encode_frame(Opcode::Text, b"Hello")[..], b"\x81\x05Hello");
    assert_eq!(encode_frame(Opcode::Ping, &[7; 300]).len(), 2 + 125);
}

#[test]
fn close_payloads_are_checked() {
    fn parse(payload: &[u8]) -> Result<CloseFrame<'_>, CloseError> {
        CloseFrame::parse(payload)
    }
    assert_eq!(parse(&[]).unwrap().code, None);
    assert_eq!(parse(&[3]), Err(CloseError::Truncated));
    assert_eq!(parse(&[0; 126]), Err(CloseError::TooLong));
    let bye = parse(b"\x03\xE8bye").unwrap();
    assert_eq!((bye.code, bye.reason), (Some(1000), "bye"));
    assert_eq!(parse(b"\x03\xE8\xFF"), Err(CloseError::InvalidUtf8));
    assert_eq!(parse(b"\x03\xE8\xCE"), Err(CloseError::InvalidUtf8));
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX] {
        let payload = code.to_be_bytes();
        assert_eq!(parse(&payload), Err(CloseError::InvalidCode(code)));
    }
    for code in [1000_u16, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 4999] {
        let payload = code.to_be_bytes();
        assert_eq!(parse(&payload).unwrap().code, Some(code));
    }
}

#[test]
fn close_frames_are_cut_at_a_character() {
    assert_eq!(&encode_close(1000, "bye")[..], b"\x88\x05\x03\xE8bye");
    assert_eq!(&encode_close(1005, "never")[..], b"\x88\x00");
    let frame = encode_close(1012, &"é".repeat(100));
    let close = CloseFrame::parse(&frame[2..]).unwrap();
    assert_eq!(close.reason, "é".repeat(61));
    assert_eq!(frame.len(), 2 + 2 + 122);
}

#[test]
fn utf8_fails_at_the_first_impossible_byte() {
    let cases: [&[u8]; 9] = [
        b"\xC0",
        b"\xC1",
        b"\xF5",
        b"\x80",
        b"\xED\xA0",
        b"\xE0\x80",
        b"\xF4\x90",
        b"\xF0\x8F",
        b"\xCE\x41",
    ];
    for bad in cases {
        let mut checker = Utf8Checker::new();
        let (last, before) = bad.split_last().unwrap();
        checker.push(b"ok").unwrap();
        checker.push(before).unwrap();
        assert_eq!(checker.push(&[*last]), Err(Utf8Error), "{bad:x?}");
    }
    let mut checker = Utf8Checker::new();
    checker.push("κόσμε".as_bytes()).unwrap();
    checker.finish().unwrap();
    checker.push(b"\xF0\x9F\x92").unwrap();
    assert_eq!(checker.finish(), Err(Utf8Error));
    checker.push(b"fresh").unwrap();
    checker.finish().unwrap();
}

/// Cuts `bytes` at the given places, modulo its length.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.push(0);
    places.push(bytes.len());
    places.sort_unstable();
    places.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

/// Byte streams that are mostly frames, so that deep states are reached.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let byte0 = prop_oneof![
        4 => prop::sample::select(vec![0x01_u8, 0x02, 0x00, 0x80, 0x81, 0x82, 0x89, 0x8A]),
        1 => any::<u8>(),
    ];
    let frame = (byte0, prop::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(byte0, payload)| client(byte0, &payload));
    let noise = prop::collection::vec(any::<u8>(), 0..12);
    let piece = prop_oneof![8 => frame, 1 => noise];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn cutting_the_stream_changes_nothing(
        bytes in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut whole = guard();
        let expected = whole.inspect(&bytes);
        let mut pieces = guard();
        let got = chunks(&bytes, &cuts)
            .into_iter()
            .try_for_each(|chunk| pieces.inspect(chunk));
        prop_assert_eq!(got, expected);
        prop_assert_eq!(pieces.frames(), whole.frames());
        prop_assert_eq!(pieces.in_message(), whole.in_message());
    }

    #[test]
    fn an_accepted_stream_keeps_to_the_limit(payloads in prop::collection::vec(0_usize..700, 1..6)) {
        let last = payloads.len() - 1;
        let mut bytes = Vec::new();
        for (i, len) in payloads.iter().enumerate() {
            let fin = if i == last { 0x80 } else { 0 };
            let opcode = if i == 0 { 0x02 } else { 0x00 };
            bytes.extend(client(fin | opcode, &vec![0; *len]));
        }
        let fits = payloads.iter().sum::<usize>() <= 1000;
        prop_assert_eq!(guard().inspect(&bytes).is_ok(), fits);
    }

    #[test]
    fn utf8_in_pieces_is_utf8_as_a_whole(
        bytes in prop_oneof![
            any::<String>().prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ],
        cuts in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        let mut checker = Utf8Checker::new();
        let got = chunks(&bytes, &cuts)
            .into_iter()
            .try_for_each(|piece| checker.push(piece))
            .and_then(|()| checker.finish());
        prop_assert_eq!(got.is_ok(), std::str::from_utf8(&bytes).is_ok());
    }
}

#[test]
fn a_close_frame_is_checked_when_it_is_complete() {
    for (payload, expected) in [
        (&b""[..], None),
        (&b"\x03\xe8bye"[..], None),
        (&b"\x03"[..], Some(1002)),
        (&b"\x03\xec"[..], Some(1002)),
        (&b"\x03\xe8\xff"[..], Some(1007)),
    ] {
        let frame = client(0x88, payload);
        let mut guard = guard();
        let (head, last) = frame.split_at(frame.len() - 1);
        assert_eq!(guard.inspect(head), Ok(()));
        assert_eq!(guard.inspect(last).err().map(|e| e.close_code()), expected, "{payload:?}");
    }
}

#[test]
fn the_frames_before_a_bad_one_are_known() {
    let mut bytes = client(0x81, b"good");
    let sound = bytes.len();
    bytes.extend_from_slice(&client(0xC1, b"bad"));
    let mut guard = guard();
    assert_eq!(guard.inspect(&bytes), Err(FrameError::ReservedBits));
    assert_eq!(guard.sound_bytes(), sound);
}
