//! Rooms whose messages one node keeps for good.

use serde_json::json;

use crate::support::*;

#[test]
fn archived_rooms_keep_everything_and_others_their_bounds() {
    let mut hub = Hub::start(&[
        UNLIMITED,
        ("HUBBUB__HISTORY__MAX_MESSAGES", "20"),
        ("HUBBUB__ARCHIVE__ROOMS", "keep-*"),
    ]);
    for room in ["keep-1", "other"] {
        let mut ann = hub.member("ann", room);
        for n in 1..=300 {
            ann.ok(json!({"type": "message", "roomId": room, "content": format!("m{n}")}));
        }
    }
    hub.restart();
    let offsets = |room: &str, query: &str| -> Vec<u64> {
        let page = hub.api().get(&format!("/api/rooms/{room}/messages?{query}")).expect(200);
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!(offsets("keep-1", "after=0&limit=200"), (1..=200).collect::<Vec<_>>());
    assert_eq!(offsets("keep-1", "before=6"), [1, 2, 3, 4, 5]);
    assert_eq!(offsets("other", "after=0&limit=200"), (281..=300).collect::<Vec<_>>());
    let room = hub.api().get("/api/rooms/keep-1").expect(200);
    assert_eq!((&room["oldestOffset"], &room["offset"]), (&json!(1), &json!(300)));
    let mut ben = hub.ws("ben");
    let joined = ben.join_since("keep-1", json!({"epoch": room["epoch"], "offset": 2}));
    assert_eq!((&joined["recovered"], &joined["messages"][0]["offset"]), (&json!(true), &json!(3)));
}
