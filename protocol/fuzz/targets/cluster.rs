//! Envelopes between nodes, records and volatile events.
#![no_main]

use hubbub_protocol::{
    cluster::{
        Envelope, decode_envelope, decode_event, decode_record, encode_broadcast, encode_event,
        encode_record,
    },
    id::RoomName,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let room = RoomName::new("r").expect("a valid name");
    if let Ok(record) = decode_record(room.clone(), data) {
        // Written again it reads the same.
        let again = decode_record(room, &encode_record(&record)).expect("what was written");
        assert_eq!(format!("{record:?}"), format!("{again:?}"));
    }
    if let Ok(Some(event)) = decode_event(data) {
        let bytes = encode_event(&event).expect("a volatile event");
        let again = decode_event(&bytes).expect("what was written");
        assert_eq!(format!("{:?}", Some(event)), format!("{again:?}"));
    }
    match decode_envelope(data) {
        Ok(Envelope::Stored { records, .. }) => {
            assert!(records.iter().map(|r| r.len()).sum::<usize>() <= data.len());
        }
        Ok(Envelope::Broadcast(b)) => {
            let user = b.except_user.as_ref();
            let bytes = encode_broadcast(b.node, b.id, &b.to, b.except, user, &b.event);
            let bytes = bytes.expect("a volatile event");
            let Ok(Envelope::Broadcast(again)) = decode_envelope(&bytes) else {
                panic!("what was written is not read")
            };
            assert_eq!(format!("{b:?}"), format!("{again:?}"));
        }
        Ok(Envelope::Unknown) | Err(_) => {}
    }
});
