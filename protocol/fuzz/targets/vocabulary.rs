//! Vocabularies: any text is compiled or refused with lines, and whatever frames
//! and events a vocabulary is given, it answers and writes JSON.
#![no_main]

use std::sync::{Arc, LazyLock};

use hubbub_protocol::{
    error::HubError,
    event::{Command, Event, Reply, ReplyId, Request},
    id::{MessageId, RoomName, UserId},
    position::{Epoch, Position},
    record::{Body, Record, Stored},
    timestamp::Timestamp,
    vocabulary::{Answer, Copy, Vocabulary, shipped},
};
use libfuzzer_sys::fuzz_target;

static SHIPPED: LazyLock<Vec<Vocabulary>> = LazyLock::new(|| {
    shipped::SHIPPED.iter().map(|(name, _)| shipped::get(name).expect("it compiles")).collect()
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Vocabulary::parse("fuzz", "fuzz.toml", text) {
        Ok(vocabulary) => {
            for frame in [r#"{"type":"message","roomId":"r","content":"x","data":{"a":1}}"#, text] {
                try_all(&vocabulary, frame);
            }
        }
        Err(errors) => {
            let lines = text.lines().count().max(1) + 1;
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| (1..=lines).contains(&error.line)));
        }
    }
    for vocabulary in SHIPPED.iter() {
        try_all(vocabulary, text);
    }
});

/// Reads the text as a frame and, line by line, as an event with its arguments.
fn try_all(vocabulary: &Vocabulary, text: &str) {
    answer(vocabulary, vocabulary.decode_json(text));
    let mut lines = text.lines();
    let name = lines.next().unwrap_or_default();
    let args: Vec<&str> = lines
        .filter(|line| serde_json::from_str::<&serde_json::value::RawValue>(line).is_ok())
        .take(20)
        .collect();
    answer(vocabulary, vocabulary.decode_event(name, &args, Some(1)));
}

fn answer(vocabulary: &Vocabulary, request: Request) {
    let (body, room) = match request.command {
        Ok(Command::Publish(p)) => (Body::Message { content: p.content, data: p.data }, p.room),
        Ok(Command::Event(e)) => (Body::Event { name: e.name, data: e.data }, None),
        Ok(Command::Batch(items)) => {
            return items.into_iter().for_each(|item| answer(vocabulary, item));
        }
        Ok(_) => return,
        Err(error) => return replies(vocabulary, &request.reply, &Err(error)),
    };
    let stored = Arc::new(Stored {
        position: Position { epoch: Epoch(1), offset: 1 },
        record: Record {
            id: MessageId(uuid::Uuid::nil()),
            room: room.unwrap_or_else(|| RoomName::new("r").expect("a name")),
            user: UserId::new("u").ok(),
            username: None,
            timestamp: Timestamp(0),
            body,
            trace: None,
        },
    });
    let published = Reply::Published {
        id: stored.record.id,
        position: stored.position,
        stored: Some(stored.clone()),
    };
    replies(vocabulary, &request.reply, &Ok(published));
    let event = Event::Stored(stored);
    for copy in [Copy::Others, Copy::Sender] {
        if let Some(frame) = vocabulary.encode_json(&event, copy) {
            json(std::str::from_utf8(&frame).expect("text"));
        }
        if let Some(rendered) = vocabulary.encode(&event, copy) {
            rendered.args.iter().for_each(|arg| json(arg));
        }
    }
}

fn replies(vocabulary: &Vocabulary, id: &ReplyId, reply: &Result<Reply, HubError>) {
    if let Some(frame) = vocabulary.reply_json(id, reply) {
        json(std::str::from_utf8(&frame).expect("text"));
    }
    match vocabulary.reply(id, reply) {
        Some(Answer::Ack(args)) => args.iter().for_each(|arg| json(arg)),
        Some(Answer::Event(rendered)) => rendered.args.iter().for_each(|arg| json(arg)),
        None => {}
    }
}

/// One JSON value (perhaps with half a surrogate pair that the client sent).
fn json(text: &str) {
    serde_json::from_str::<&serde_json::value::RawValue>(text).expect("JSON");
}
