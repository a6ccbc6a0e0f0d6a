//! Reading through HTTP: rooms, members, users, history.

use serde_json::{Value, json};

use crate::support::*;

#[test]
fn rooms_and_members_are_listed() {
    let hub = Hub::start(&[UNLIMITED]);
    let _ann = hub.member("ann", "alpha");
    let mut bob = hub.member("bob", "alpha");
    bob.join("beta");
    bob.say("beta", "hello");
    let rooms = hub.api().get("/api/rooms").expect(200);
    let text = rooms.to_string();
    assert!(text.contains("\"alpha\"") && text.contains("\"beta\""), "{rooms}");
    assert!(!text.contains("user:"), "personal rooms are nobody's business: {rooms}");

    let alpha = hub.api().get("/api/rooms/alpha").expect(200);
    assert_eq!(alpha["memberCount"], 2, "{alpha}");
    let beta = hub.api().get("/api/rooms/beta").expect(200);
    assert_eq!(beta["offset"], 1, "{beta}");
    assert!(beta["epoch"].is_string(), "{beta}");

    let members = hub.api().get("/api/rooms/alpha/members").expect(200);
    let users: Vec<&Value> =
        members["members"].as_array().unwrap().iter().map(|m| &m["userId"]).collect();
    assert_eq!(users, ["ann", "bob"], "{members}");
    assert_eq!(members["memberCount"], 2, "{members}");

    let none = hub.api().get("/api/rooms/never-seen/members");
    match none.status {
        404 => none.expect_error(404, "not_found"),
        _ => assert_eq!(none.expect(200)["memberCount"], 0),
    }
    hub.api().get("/api/rooms/never-seen").expect_error(404, "not_found");
    hub.api().get("/api/users/never-seen").expect_error(404, "not_found");
}

#[test]
fn messages_are_paged_by_offset() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ann = hub.member("ann", "r");
    for n in 1..=30 {
        ann.say("r", &format!("m{n}"));
    }
    let page = |query: &str| {
        let page = hub.api().get(&format!("/api/rooms/r/messages{query}")).expect(200);
        assert!(page["epoch"].as_str().is_some_and(|e| e.len() == 16), "{page}");
        let messages = page["messages"].as_array().unwrap().clone();
        let offsets: Vec<u64> = messages.iter().map(|m| m["offset"].as_u64().unwrap()).collect();
        (offsets, page["hasMore"].as_bool().unwrap(), messages)
    };
    let (offsets, more, messages) = page("?after=0&limit=20");
    assert_eq!((offsets, more), ((1..=20).collect(), true));
    assert_eq!((&messages[4]["content"], &messages[4]["userId"]), (&json!("m5"), &json!("ann")));
    let (offsets, more, _) = page("?after=20");
    assert_eq!((offsets, more), ((21..=30).collect(), false));
    let (offsets, more, _) = page("?before=11&limit=5");
    assert_eq!((offsets, more), ((6..=10).collect(), true));
    let (offsets, more, _) = page("?limit=3");
    assert_eq!((offsets, more), (vec![28, 29, 30], true));
}

#[test]
fn long_lists_come_in_pages() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut all: Vec<Ws> = Vec::new();
    for i in 0..3 {
        let mut ws = hub.ws(&format!("u{i}"));
        for r in 0..80 {
            ws.join(&format!("room-{i}-{r:02}"));
        }
        all.push(ws);
    }
    let first = hub.api().get("/api/rooms?limit=100").expect(200);
    let listed = first["rooms"].as_array().unwrap();
    assert_eq!(listed.len(), 100, "{first}");
    assert_eq!(first["hasMore"], true, "{first}");
    let name = |room: &Value| room["roomId"].as_str().or(room.as_str()).unwrap().to_owned();
    let mut names: Vec<String> = listed.iter().map(name).collect();
    while names.len() < 240 {
        let last = names.last().unwrap();
        let next = hub.api().get(&format!("/api/rooms?limit=100&after={last}")).expect(200);
        let listed = next["rooms"].as_array().unwrap();
        assert!(!listed.is_empty(), "{next}");
        names.extend(listed.iter().map(name));
        assert_eq!(next["hasMore"], names.len() < 240, "{next}");
    }
    names.dedup();
    assert_eq!(names.len(), 240);
}
