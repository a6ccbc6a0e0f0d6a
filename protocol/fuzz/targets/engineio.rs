//! Engine.IO payloads, packets, handshakes and query strings.
#![no_main]

use bytes::Bytes;
use hubbub_protocol::wire::engineio::{
    Handshake, Method, Packet, Payload, PayloadWriter, Query, Request, Transport, query_pairs,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    assert!(data.is_empty() || Payload::new(body.clone(), data.len() - 1).is_err());
    let Ok(payload) = Payload::new(body, data.len()) else {
        assert!(std::str::from_utf8(data).is_err());
        return;
    };

    let mut packets = Vec::new();
    let mut records = 0;
    for packet in payload {
        records += 1;
        match packet {
            Ok(packet) => packets.push(packet),
            Err(_) => break,
        }
    }
    assert!(records <= data.len() + 1);

    // Written again in batches of any size, the same packets come back.
    let mut rest = &packets[..];
    let mut again = Vec::new();
    while !rest.is_empty() {
        let mut writer = PayloadWriter::new(data.len() / 2);
        let taken = rest.iter().take_while(|packet| writer.push(packet)).count();
        assert!(taken > 0);
        assert!(taken == 1 || writer.len() <= data.len() / 2);
        rest = &rest[taken..];
        let body = Bytes::from(writer.finish());
        let read = Payload::new(body, usize::MAX).expect("UTF-8");
        again.extend(read.map(|packet| packet.expect("a packet")));
    }
    assert_eq!(again, packets);

    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(handshake) = Handshake::decode(text) {
        let Packet::Open(json) = handshake.to_packet() else {
            panic!("an open packet");
        };
        assert_eq!(Handshake::decode(&json).expect("our own JSON"), handshake);
    }
    assert!(query_pairs(text).count() <= data.len() + 1);
    let query = Query::parse(text);
    for upgrade in [false, true] {
        match query.check(Method::Get, upgrade) {
            Ok(Request::Handshake { transport }) => {
                assert_eq!(upgrade, transport == Transport::WebSocket);
                assert_eq!(query.eio.as_deref(), Some("4"));
            }
            Ok(Request::Session { sid, transport }) => {
                assert!(!sid.is_empty());
                let _ = query.check_session(transport, Method::Post, upgrade);
            }
            Err(error) => assert!(matches!(error.status(), 400 | 403)),
        }
    }
});
