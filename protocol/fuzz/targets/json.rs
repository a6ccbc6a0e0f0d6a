//! The JSON wire: any text gives a request, and what the built-in decoder accepts
//! the `hubbub` vocabulary reads alike.
#![no_main]

use std::sync::LazyLock;

use hubbub_protocol::{
    event::{Command, ReplyId, Request},
    limits::{MAX_BATCH, MAX_KEY, MAX_REQUEST_ID},
    vocabulary::{Vocabulary, shipped},
    wire::json,
};
use libfuzzer_sys::fuzz_target;

static HUBBUB: LazyLock<Vocabulary> =
    LazyLock::new(|| shipped::get("hubbub").expect("it compiles"));

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let request = json::decode(text);
    check(&request, true);
    let again = HUBBUB.decode_json(text);
    check(&again, true);
    if request.command.is_ok() && !matches!(request.command, Ok(Command::Batch(_))) {
        assert_eq!(format!("{request:?}"), format!("{again:?}"));
    }
    let refusal = match &request.command {
        Ok(_) => return,
        Err(error) => Err(error.clone()),
    };
    let answer = json::reply(&request.reply, &refusal).expect("errors are always told");
    // By the grammar only: an id that no value of ours can hold is given back.
    serde_json::from_slice::<&serde_json::value::RawValue>(&answer).expect("JSON");
});

fn check(request: &Request, batch_allowed: bool) {
    if let ReplyId::Json(id) = &request.reply {
        assert!(id.len() <= MAX_REQUEST_ID);
        serde_json::from_str::<serde_json::Value>(id).map_or_else(
            // Half a surrogate pair and 3e1300 are JSON, and no value of ours.
            |_| {
                assert!(
                    id.contains("\\u") || id.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                )
            },
            |value| assert!(value.is_string() || value.is_number()),
        );
    }
    match &request.command {
        Ok(Command::Batch(items)) => {
            assert!(batch_allowed && items.len() <= MAX_BATCH);
            items.iter().for_each(|item| check(item, false));
        }
        Ok(Command::Publish(publish)) => {
            assert!(publish.key.as_ref().is_none_or(|key| key.len() <= MAX_KEY));
        }
        Ok(_) => {}
        Err(error) => assert!(!error.message.is_empty()),
    }
}
