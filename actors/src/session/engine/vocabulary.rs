//! Which vocabulary a namespace is spoken to in.

use std::sync::Arc;

use hubbub_protocol::{error::HubError, pattern, vocabulary::Vocabulary, wire::socketio::RawJson};
use serde::Deserialize;

use super::EngineSettings;

/// Vocabularies besides that of `socketio.vocabulary`.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Namespaces, or patterns of them, with a vocabulary of their own; the first
    /// that matches counts.
    pub namespaces: Vec<(String, Arc<Vocabulary>)>,
    /// `socketio.allow_vocabularies`: what a client may ask for by `auth.vocabulary`
    /// or `?vocabulary=`.
    pub allowed: Vec<Arc<Vocabulary>>,
}

impl EngineSettings {
    /// Every vocabulary that a namespace may be spoken to in.
    pub fn vocabularies(&self) -> impl Iterator<Item = &Arc<Vocabulary>> {
        let named = self.choices.namespaces.iter().map(|(_, vocabulary)| vocabulary);
        self.vocabulary.iter().chain(named).chain(&self.choices.allowed)
    }

    /// The vocabulary of a namespace: what the client asks for, that of the
    /// namespace, or the usual one; none for `hubbub`. Fails if the client asks for
    /// one that it may not have.
    pub(super) fn choose(
        &self,
        namespace: &str,
        wanted: Option<&str>,
    ) -> Result<Option<Arc<Vocabulary>>, HubError> {
        let chosen = match wanted {
            Some(name) => match self.choices.allowed.iter().find(|v| v.name() == name) {
                Some(vocabulary) => Some(vocabulary),
                None => {
                    let why = "this vocabulary may not be chosen here; see \
                               socketio.allow_vocabularies";
                    return Err(HubError::bad_request(why));
                }
            },
            None => {
                let own = |(name, _): &&(String, _)| pattern::matches(name, namespace);
                let own = self.choices.namespaces.iter().find(own);
                own.map(|(_, vocabulary)| vocabulary).or(self.vocabulary.as_ref())
            }
        };
        Ok(chosen.filter(|vocabulary| vocabulary.name() != "hubbub").cloned())
    }
}

/// The vocabulary that the payload of a CONNECT asks for.
pub(super) fn wanted(data: Option<&RawJson>) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Wish {
        vocabulary: Option<Box<str>>,
    }
    // A payload that is none is refused by whoever reads the rest of it.
    serde_json::from_str::<Wish>(data?.get()).ok()?.vocabulary
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use hubbub_protocol::vocabulary::shipped;

    use super::*;
    use crate::session::HeartbeatSettings;

    #[test]
    fn what_is_asked_for_then_the_namespace_then_the_usual_one() {
        let get = |name: &str| Arc::new(shipped::get(name).unwrap());
        let settings = EngineSettings {
            heartbeat: HeartbeatSettings { heartbeat_ms: 1, timeout_ms: 1 },
            max_payload: 1000,
            connect_timeout_ms: 1000,
            parser: Default::default(),
            namespaces: vec!["*".into()],
            vocabulary: Some(get("join-room")),
            choices: Choices {
                namespaces: vec![("/team-*".into(), get("chat-ack"))],
                allowed: vec![get("message-new"), get("hubbub")],
            },
        };
        let chosen = |namespace, wanted| {
            let chosen = settings.choose(namespace, wanted).unwrap();
            chosen.map_or("hubbub".to_owned(), |v| v.name().to_owned())
        };
        assert_eq!(chosen("/", None), "join-room");
        assert_eq!(chosen("/team-7", None), "chat-ack");
        assert_eq!(chosen("/team-7", Some("message-new")), "message-new");
        assert_eq!(chosen("/", Some("hubbub")), "hubbub");
        let refused = settings.choose("/", Some("chat-auth")).unwrap_err();
        assert!(refused.message.contains("socketio.allow_vocabularies"));
        assert_eq!(settings.vocabularies().count(), 4);
    }
}
