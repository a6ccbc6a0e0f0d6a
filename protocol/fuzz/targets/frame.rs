//! The frame guard, the UTF-8 checker and close payloads.
//!
//! The first byte says how the rest is cut; cutting must change no answer.
#![no_main]

use hubbub_protocol::wire::frame::{
    CloseFrame, FrameGuard, MAX_CONTROL_PAYLOAD, Opcode, Utf8Checker, encode_close, encode_frame,
};
use libfuzzer_sys::fuzz_target;

const MAX_MESSAGE: u64 = 300;

fuzz_target!(|input: &[u8]| {
    let Some((&step, data)) = input.split_first() else {
        return;
    };
    let pieces = || data.chunks(usize::from(step).max(1));

    let mut whole = FrameGuard::new(MAX_MESSAGE);
    let mut cut = FrameGuard::new(MAX_MESSAGE);
    let answer = whole.inspect(data);
    assert_eq!(pieces().try_for_each(|piece| cut.inspect(piece)), answer);
    assert_eq!(
        (cut.frames(), cut.in_message(), cut.close_seen()),
        (whole.frames(), whole.in_message(), whole.close_seen()),
    );
    assert!(whole.frames() <= data.len() as u64 / 2);
    if let Err(error) = answer {
        assert!(matches!(error.close_code(), 1002 | 1007 | 1009));
        assert_eq!(whole.inspect(&[0x81]), Err(error));
    }

    let mut checker = Utf8Checker::new();
    let valid = pieces().try_for_each(|piece| checker.push(piece)).and_then(|()| checker.finish());
    assert_eq!(valid.is_ok(), std::str::from_utf8(data).is_ok());

    if let Ok(close) = CloseFrame::parse(data)
        && let Some(code) = close.code
    {
        assert_eq!(&encode_close(code, close.reason)[2..], data);
    }

    // What the server writes is what the guard takes, once it is masked (with
    // the key zero).
    for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping] {
        let frame = encode_frame(opcode, data);
        let header = frame.len()
            - if opcode.is_control() { data.len().min(MAX_CONTROL_PAYLOAD) } else { data.len() };
        let mut masked = frame[..header].to_vec();
        masked[1] |= 0x80;
        masked.extend_from_slice(&[0; 4]);
        masked.extend_from_slice(&frame[header..]);
        let mut guard = FrameGuard::new(data.len() as u64);
        assert_eq!(guard.inspect(&masked), Ok(()));
        assert_eq!(guard.frames(), 1);
        assert_eq!(guard.inspect(&[0x81]), Ok(()));
    }
});
