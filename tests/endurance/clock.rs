//! A clock that jumps, under a hub that runs.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{
    alone,
    listener::long_token,
    support::*,
    world::{faketime, set_clock, with_clock},
};

#[test]
fn a_clock_that_jumps_ends_no_session_and_delays_no_deadline() {
    let _alone = alone();
    let Some(library) = faketime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    set_clock(&clock, 0);
    let faked = with_clock(&library, &clock);
    let mut settings = vec![
        UNLIMITED,
        ("HUBBUB__PRESENCE__OFFLINE_GRACE_MS", "300"),
        ("HUBBUB__SESSION__HEARTBEAT_MS", "1000"),
        ("HUBBUB__SESSION__TIMEOUT_MS", "1000"),
    ];
    settings.extend(faked.iter().map(|(name, value)| (*name, &**value)));
    let hub = Hub::start(&settings);
    let member = |user: &str| {
        let mut ws = hub.ws_by(Handshake::new().query_token(&long_token(user)));
        ws.join("r");
        ws
    };
    let mut ann = member("ann");
    let before = ann.say("r", "before");
    let year = |ws: &mut Ws, said: &str| {
        let at = ws.hears(said)["timestamp"].as_str().unwrap().to_owned();
        at[..13].to_owned()
    };
    let mut hour = year(&mut ann, "before");
    for (n, seconds) in [7200, -7200, 0].into_iter().enumerate() {
        let bob = member("bob");
        set_clock(&clock, seconds);
        // Messages have the new time as soon as the process sees it.
        until("the clock jumps", SOON, || {
            let said = format!("{n} {}", now());
            ann.say("r", &said);
            thread::sleep(Duration::from_millis(100));
            let seen = year(&mut ann, &said);
            (seen != hour).then(|| hour = seen)
        });
        // Who goes is told as gone after its grace, and who stays, stays.
        drop(bob);
        ann.expect("bob's leave", |e| e["type"] == "user_left" && e["userId"] == "bob");
        ann.fence();
        assert!(ann.pings > 0 || ann.ended().is_none());
    }
    let page = ann.ok(json!({"type": "history", "roomId": "r", "before": 2}));
    assert_eq!(page["messages"][0]["id"], before["messageId"]);
    assert_eq!(hub.metrics().sum("hubbub_closed_total", &["heartbeat_missed"]), 0.0);
}
