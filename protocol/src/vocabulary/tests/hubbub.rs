//! The hub's own vocabulary says in TOML what the JSON wire has built in.

use super::*;
use crate::wire::json as native;

#[test]
fn every_event_is_written_alike() {
    let vocabulary = shipped_one("hubbub");
    for kind in EventKind::ALL {
        let Some((event, _)) = native::tests::golden(kind) else { continue };
        let ours = vocabulary.encode_json(&event, Copy::Others).unwrap();
        assert_eq!(String::from_utf8(ours), String::from_utf8(native::event(&event)));
    }
    for event in [
        message("r1", "quote \" nul \u{0} tab \t bell \u{8} \u{7f} é 🦀"),
        stored("r1", Body::Event { name: "move".into(), data: raw("[1.50]") }),
        stored("user:bob", Body::Direct { content: "x".into(), data: raw(r#"{"b":1,"a":2}"#) }),
        custom("n", None, "null"),
    ] {
        let ours = vocabulary.encode_json(&event, Copy::Sender).unwrap();
        assert_eq!(String::from_utf8(ours), String::from_utf8(native::event(&event)));
    }
}

#[test]
fn every_answer_is_written_alike() {
    let vocabulary = shipped_one("hubbub");
    let Event::Stored(stored) = message("r1", "x") else { panic!() };
    let replies = [
        Reply::Done,
        published(),
        Reply::Sent { id: MessageId(uuid::Uuid::from_u128(7)) },
        Reply::Joined { room: room("r1"), position: stored.position, recovered: true },
        Reply::History {
            room: room("r1"),
            epoch: Epoch(1),
            messages: vec![stored.clone(), stored],
            has_more: true,
        },
        Reply::Members {
            room: room("r1"),
            members: vec![member("r1"), member("r1")],
            member_count: 2,
            has_more: false,
        },
    ];
    let errors = [HubError::unavailable("later"), HubError::bad_request("no \"x\"")];
    let all: Vec<Result<Reply, HubError>> =
        replies.into_iter().map(Ok).chain(errors.into_iter().map(Err)).collect();
    for reply in &all {
        for id in [ReplyId::Json("7".into()), ReplyId::Json("\"a\"".into()), ReplyId::None] {
            let text = |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8(b).unwrap());
            let ours = text(vocabulary.reply_json(&id, reply));
            assert_eq!(ours, text(native::reply(&id, reply)), "{reply:?}");
        }
    }
}

#[test]
fn every_command_is_read_alike() {
    let vocabulary = shipped_one("hubbub");
    for text in [
        r#"{"type":"auth","token":"t","userId":"u","username":"U"}"#,
        r#"{"type":"auth"}"#,
        r#"{"type":"join","roomId":"r","since":{"epoch":"0a","offset":3},"id":1}"#,
        r#"{"type":"join_room","roomId":"r"}"#,
        r#"{"type":"leave","roomId":"r"}"#,
        r#"{"type":"leave_room","roomId":"r","id":"a"}"#,
        r#"{"type":"message","content":"hi","data":{"a":[1.50]},"key":"k"}"#,
        r#"{"type":"message","roomId":"r","text":"h\u00e9 \"\n"}"#,
        r#"{"type":"message","roomId":"user:bob","content":"reserved"}"#,
        r#"{"type":"message","roomId":null,"content":"x","data":null,"key":null}"#,
        r#"{"type":"direct","userId":"u","content":"x","key":"k"}"#,
        r#"{"type":"typing","isTyping":true}"#,
        r#"{"type":"presence","status":"away"}"#,
        r#"{"type":"read","roomId":"r","offset":9}"#,
        r#"{"type":"delivered","roomId":"r","offset":9}"#,
        r#"{"type":"delivered","roomId":"r"}"#,
        r#"{"type":"event","roomId":"r","name":"n","data":[1],"volatile":true}"#,
        r#"{"type":"event","name":"n","key":"k"}"#,
        r#"{"type":"history","roomId":"r","before":7,"limit":5}"#,
        r#"{"type":"history","roomId":"r","after":7}"#,
        r#"{"type":"members","roomId":"r","after":"u","limit":2}"#,
        r#"{"type":"batch","messages":[{"type":"ping","id":1},{"event":"message","data":{"roomId":"r","content":"x","id":"two"}},{"event":"ping"},{"type":"batch","messages":[],"id":3},7,{"event":"ping","data":7},{"event":5,"id":6}]}"#,
        r#"{"type":"ping","unknown":1}"#,
        // What is wrong is named by the same words.
        "",
        "{",
        "[1]",
        "7",
        "{}",
        r#"{"type":5}"#,
        r#"{"type":"nope","id":5}"#,
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"join"}"#,
        r#"{"type":"join","roomId":5}"#,
        r#"{"type":"join","roomId":""}"#,
        r#"{"type":"join","roomId":"r","since":7}"#,
        r#"{"type":"message","roomId":"r"}"#,
        r#"{"type":"message","content":{"a":1}}"#,
        r#"{"type":"message","content":"x","key":""}"#,
        r#"{"type":"typing","isTyping":"yes"}"#,
        r#"{"type":"typing"}"#,
        r#"{"type":"presence","status":"here"}"#,
        r#"{"type":"read","roomId":"r","offset":-1}"#,
        r#"{"type":"event","roomId":"r"}"#,
        r#"{"type":"history","roomId":"r","limit":0}"#,
        r#"{"type":"members","roomId":"r","limit":"x"}"#,
        r#"{"type":"ping","id":{}}"#,
        r#"{"type":"batch"}"#,
        r#"{"type":"batch","messages":7}"#,
    ] {
        let (ours, built_in) = (vocabulary.decode_json(text), native::decode(text));
        assert_eq!(format!("{ours:?}"), format!("{built_in:?}"), "{text}");
    }
    let deep = format!(
        r#"{{"type":"message","content":"x","data":{}{}}}"#,
        "[".repeat(33),
        "]".repeat(33)
    );
    let many = json!({"type":"batch","messages":vec![json!({"type":"ping"}); 101]}).to_string();
    for text in [deep, many] {
        let (ours, built_in) = (vocabulary.decode_json(&text), native::decode(&text));
        assert_eq!(format!("{ours:?}"), format!("{built_in:?}"));
    }
}

#[test]
fn on_socket_io_the_name_is_the_type_and_the_rest_one_argument() {
    let v = shipped_one("hubbub");
    assert_eq!(
        hears(&v, &typing(true), Copy::Others),
        json!(["typing", {"roomId": "r1", "userId": "ann", "username": "Ann", "isTyping": true}])
    );
    let request = emit(&v, "join", &[json!({"roomId": "r1"})]);
    assert_eq!(request.reply, ReplyId::SocketIo(3));
    assert!(matches!(command(request), Command::Join(j) if j.room.as_str() == "r1"));
    assert_eq!(ack(&v, Ok(Reply::Done)), json!([{"ok": true}]));
    assert_eq!(
        ack(&v, Err(HubError::bad_request("no"))),
        json!([{"ok": false, "code": "bad_request", "message": "no"}])
    );
    assert_eq!(
        told(&v, Err(HubError::bad_request("no"))),
        json!(["error", {"code": "bad_request", "message": "no"}])
    );
    assert_eq!(told(&v, Ok(Reply::Done)), Value::Null);
    assert!(matches!(command(emit(&v, "ping", &[])), Command::Ping));
}
