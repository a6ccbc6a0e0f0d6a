//! The vocabularies that come with the hub, one for every dialect it speaks.

use super::Vocabulary;

/// Name and TOML text of each.
pub const SHIPPED: [(&str, &str); 7] = [
    ("hubbub", include_str!("../../../config/vocabularies/hubbub.toml")),
    ("join-room", include_str!("../../../config/vocabularies/join-room.toml")),
    ("chat-auth", include_str!("../../../config/vocabularies/chat-auth.toml")),
    ("typed-json", include_str!("../../../config/vocabularies/typed-json.toml")),
    ("message-new", include_str!("../../../config/vocabularies/message-new.toml")),
    ("chat-ack", include_str!("../../../config/vocabularies/chat-ack.toml")),
    ("plain-chat", include_str!("../../../config/vocabularies/plain-chat.toml")),
];

/// The text of a shipped vocabulary.
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A shipped vocabulary, compiled; none if there is none of this name.
pub fn get(name: &str) -> Option<Vocabulary> {
    // Each of them compiles: a test holds them to it.
    Vocabulary::parse(name, name, text(name)?).ok()
}
