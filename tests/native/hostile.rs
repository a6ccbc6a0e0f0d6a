//! Text frames that are not what they should be: each is answered, none closes
//! the connection or disturbs a neighbour.

use serde_json::json;

use crate::support::*;

/// Frames that cannot be understood, without a readable id.
const NONSENSE: &[&str] = &[
    "",
    " ",
    "{",
    "}",
    "null",
    "7",
    "\"text\"",
    "[]",
    "[{\"type\":\"ping\"}]",
    "{\"type\":\"ping\"",
    "{\"type\":\"ping\"}}",
    "{'type':'ping'}",
    "{\"type\":\"ping\",}",
    "{\"type\":\"ping\",\"type\":\"ping\"}",
    "{}",
    "{\"type\":null}",
    "{\"type\":5}",
    "{\"type\":[\"join\"]}",
    "{\"type\":\"\"}",
    "{\"type\":\"no-such-event\"}",
    "{\"type\":\"PING\"}",
    "{\"type\":\"authenticated\"}",
    "{\"type\":\"ping\",\"id\":{}}",
    "{\"type\":\"ping\",\"id\":[1]}",
    "{\"type\":\"message\",\"content\":\"\\ud800\"}",
    "\u{feff}{\"type\":\"ping\"}",
    "NaN",
];

#[test]
fn nonsense_is_answered_and_forgiven() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.member("ann", "r");
    let mut neighbour = hub.member("bob", "r");
    for text in NONSENSE {
        ws.send_text(text);
        let error = ws.expect(&format!("an error for {text:?}"), kind("error"));
        assert_eq!(error["code"], "bad_request", "{text:?}: {error}");
        assert!(error["message"].as_str().is_some_and(|m| m.len() > 5), "{error}");
    }
    ws.say("r", "still good");
    neighbour.hears("still good");
    neighbour.none_kept("echo of nonsense", kind("error"));
}

#[test]
fn wrong_types_name_the_request() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.member("ann", "r");
    for request in [
        json!({"type": "join"}),
        json!({"type": "join", "roomId": 7}),
        json!({"type": "join", "roomId": ""}),
        json!({"type": "join", "roomId": "a\nb"}),
        json!({"type": "join", "roomId": "r".repeat(129)}),
        json!({"type": "join", "roomId": ["r"]}),
        json!({"type": "join", "roomId": "r", "since": 5}),
        json!({"type": "join", "roomId": "r", "since": {"epoch": "not hex", "offset": 1}}),
        json!({"type": "join", "roomId": "r", "since": {"offset": 1}}),
        json!({"type": "message", "roomId": "r"}),
        json!({"type": "message", "roomId": "r", "content": 5}),
        json!({"type": "message", "roomId": "r", "content": null}),
        json!({"type": "message", "roomId": "r", "content": {"a": 1}}),
        json!({"type": "message", "roomId": "r", "content": "x", "key": ""}),
        json!({"type": "message", "roomId": "r", "content": "x", "key": 5}),
        json!({"type": "message", "roomId": "r", "content": "x", "key": "k".repeat(129)}),
        json!({"type": "direct", "content": "x"}),
        json!({"type": "direct", "userId": "", "content": "x"}),
        json!({"type": "typing", "roomId": "r", "isTyping": "yes"}),
        json!({"type": "typing", "roomId": "r"}),
        json!({"type": "presence", "status": "here"}),
        json!({"type": "presence"}),
        json!({"type": "read", "roomId": "r", "offset": -1}),
        json!({"type": "read", "roomId": "r", "offset": 1.5}),
        json!({"type": "read", "roomId": "r"}),
        json!({"type": "event", "roomId": "r"}),
        json!({"type": "event", "roomId": "r", "name": "n", "volatile": "yes"}),
        json!({"type": "history", "roomId": "r", "limit": 0}),
        json!({"type": "history", "roomId": "r", "limit": 201}),
        json!({"type": "history", "roomId": "r", "after": "x"}),
        json!({"type": "members", "roomId": "r", "limit": 101}),
        json!({"type": "batch"}),
        json!({"type": "batch", "messages": {}}),
        json!({"type": "no-such-event", "roomId": "r"}),
    ] {
        ws.refused(request, "bad_request");
    }
    assert_eq!(ws.say("r", "nothing of it was stored")["offset"], 1);
}

#[test]
fn deep_nesting_is_refused_and_costs_nothing() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.member("ann", "r");
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"type":"message","id":"d","roomId":"r","content":"x","data":{open}{close}}}"#)
    };
    ws.send_text(&nested(32));
    assert_eq!(ws.answer_to("d").unwrap()["offset"], 1);
    for depth in [33, 30_000] {
        ws.send_text(&nested(depth));
        assert_eq!(ws.answer_to("d").unwrap_err()["code"], "bad_request");
    }
    // Deep where it is not even looked at, and never closed.
    for text in [
        format!(r#"{{"type":"ping","other":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000)),
        "[".repeat(60_000),
        "{\"a\":".repeat(12_000),
    ] {
        ws.send_text(&text);
        ws.expect("an answer to deep nesting", |e| e["type"] == "error" || e["type"] == "pong");
    }
    assert_eq!(ws.say("r", "still here")["offset"], 2);
}

#[test]
fn numbers_at_the_edges_do_no_harm() {
    let hub = Hub::start(&[UNLIMITED]);
    let mut ws = hub.member("ann", "r");
    let epoch = ws.say("r", "one")["epoch"].clone();
    for text in ["18446744073709551615", "9007199254740993", "0"] {
        for field in ["after", "before"] {
            ws.send_text(&format!(
                r#"{{"type":"history","id":"h","roomId":"r","{field}":{text}}}"#
            ));
            let page = ws.answer_to("h").unwrap();
            assert!(page["messages"].as_array().unwrap().len() <= 1, "{page}");
        }
        let since = format!(r#"{{"epoch":{epoch},"offset":{text}}}"#);
        ws.send_text(&format!(r#"{{"type":"join","id":"j","roomId":"r","since":{since}}}"#));
        ws.answer_to("j").unwrap();
        ws.expect_kind("joined");
    }
    for text in ["18446744073709551616", "-1", "1e3", "1e400", "0.0"] {
        ws.send_text(&format!(r#"{{"type":"read","id":"o","roomId":"r","offset":{text}}}"#));
        assert_eq!(ws.answer_to("o").unwrap_err()["code"], "bad_request", "{text}");
    }
    // Nobody has read what was never written.
    let future = ws.request(json!({"type": "read", "roomId": "r", "offset": u64::MAX}));
    if let Err(error) = future {
        assert_eq!(error["code"], "bad_request", "{error}");
    }
    ws.fence();
}
