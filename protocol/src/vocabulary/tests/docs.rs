//! docs/vocabularies.md says what is so.

use super::*;
use crate::vocabulary::outbound;

const DOCS: &str = include_str!("../../../../docs/vocabularies.md");

/// The TOML of the worked example, put together as the reader does.
fn example() -> String {
    let mut text = String::new();
    for block in DOCS.split("```toml\n").skip(1) {
        let block = block.split("```").next().unwrap();
        // A variant of a line shown before.
        if !block.starts_with("args") {
            text.push_str(block);
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_worked_example_works() {
    let v = parse(&example());
    let enter = v.decode_json(r#"{"action":"enter","channel":"general"}"#);
    assert!(matches!(command(enter), Command::Join(j) if j.room.as_str() == "general"));
    let say = v.decode_json(r#"{"action":"say","channel":"general","words":"hi","ref":17}"#);
    assert_eq!(say.reply, ReplyId::Json("17".into()));
    let id = say.reply.clone();
    assert!(matches!(command(say), Command::Publish(p) if &*p.content == "hi"));
    assert_eq!(
        frame(&v, &message("chat-general", "hi")),
        json!({"action": "heard", "channel": "general", "words": "hi", "author": {"id": "ann"},
            "at": AT.0})
    );
    let done = v.reply_json(&id, &Ok(published())).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&done).unwrap(),
        json!({"action": "done", "ref": 17, "messageId": ID})
    );
    assert_eq!(frame(&v, &presence(Status::Offline, 0)), json!({"action": "gone", "id": "ann"}));
    assert_eq!(frame(&v, &presence(Status::Away, 1)), json!({"action": "here", "id": "ann"}));
    let cursor = v.decode_json(r#"{"action":"cursor","channel":"general","at":{"x":1,"y":2}}"#);
    let Command::Event(cursor) = command(cursor) else { panic!() };
    assert!(cursor.volatile && !cursor.echo);
    assert_eq!(
        frame(&v, &custom("cursor", Some("ann"), cursor.data.unwrap().get())),
        json!({"action": "cursor", "by": "ann", "x": 1, "y": 2})
    );
    let refused = HubError::new(crate::error::ErrorCode::Forbidden, "no");
    let told = v.reply_json(&ReplyId::None, &Err(refused)).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&told).unwrap(),
        json!({"action": "failed", "why": "You cannot do that here.", "code": "forbidden"})
    );
}

#[test]
fn every_kind_and_field_is_in_the_reference() {
    let named = |row: &&str, name: &str| {
        row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{name}`")))
    };
    for (name, fields) in outbound::known() {
        let rows = DOCS.lines().filter(|line| line.starts_with("| `"));
        let whole = |row: &&str| fields.iter().all(|field| row.contains(&format!("`{field}`")));
        let found = rows.filter(|row| named(row, name)).find(whole);
        assert!(found.is_some(), "no row for `{name}` with all of {fields:?}");
    }
}
