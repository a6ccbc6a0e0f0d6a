//! Another program publishes as `@socket.io/redis-emitter` does.

use serde_json::json;

use crate::{load::Fleet, support::*};

/// A text of up to 31 bytes in MessagePack.
fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | text.len() as u8][..], text.as_bytes()].concat()
}

/// `["emitter", {type: 2, data: [name, {n: 7}], nsp: "/"}, {rooms, except: [], flags: {}}]`
fn packet(name: &str, rooms: &[&str]) -> Vec<u8> {
    let mut out = vec![0x93];
    out.extend(text("emitter"));
    out.push(0x83);
    out.extend([text("type"), vec![2], text("data"), vec![0x92], text(name)].concat());
    out.extend([vec![0x81], text("n"), vec![7], text("nsp"), text("/")].concat());
    out.push(0x83);
    out.extend([text("rooms"), vec![0x90 | rooms.len() as u8]].concat());
    rooms.iter().for_each(|room| out.extend(text(room)));
    out.extend([text("except"), vec![0x90], text("flags"), vec![0x80]].concat());
    out
}

#[test]
fn a_backend_emits_to_rooms_users_and_everyone() {
    let redis = RedisServer::start(&[]);
    let on = [("HUBBUB__CLUSTER__EMITTER_PREFIX", "socket.io")];
    let fleet = Fleet::start(2, &redis.url(), &on);
    let (mut ann, mut ben) = (fleet.hubs[0].member("ann", "r"), fleet.hubs[1].member("ben", "r"));
    let mut elsewhere = fleet.hubs[1].member("eve", "other");
    until("both nodes hear", SOON, || {
        redis.command(&["PUBSUB", "NUMPAT"]).starts_with(":1\r\n").then_some(())
    });
    redis.publish("socket.io#/#r#", &packet("to-room", &["r"]));
    redis.publish("socket.io#/#user:ann#", &packet("to-ann", &["user:ann"]));
    redis.publish("socket.io#/other#", b"\xc1");
    redis.publish("socket.io#/#", &packet("to-all", &[]));
    for (session, names) in [
        (&mut ann, &["to-room", "to-ann", "to-all"][..]),
        (&mut ben, &["to-room", "to-all"]),
        (&mut elsewhere, &["to-all"]),
    ] {
        for name in names {
            let event = session.expect_kind("event");
            assert_eq!((&event["name"], &event["data"]), (&json!(name), &json!({"n": 7})));
        }
        session.none_kept("other event", kind("event"));
    }
}
