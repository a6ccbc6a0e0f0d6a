//! Which session sent a message that is on its way through the store: for
//! vocabularies that tell the sender in another way than the others. Pure.

use std::collections::VecDeque;

use hubbub_protocol::id::{MessageId, SessionId};

/// Messages on their way that are remembered. The sender of an older one hears it
/// as everybody does.
const MAX: usize = 4096;

/// Messages and their senders, oldest first.
#[derive(Default)]
pub(super) struct Origins(VecDeque<(MessageId, SessionId)>);

impl Origins {
    /// Notes who sent a message.
    pub(super) fn note(&mut self, message: MessageId, session: SessionId) {
        if self.0.len() >= MAX {
            self.0.pop_front();
        }
        self.0.push_back((message, session));
    }

    /// Who sent a message, once.
    pub(super) fn take(&mut self, message: MessageId) -> Option<SessionId> {
        // They come back about in the order in which they went.
        let at = self.0.iter().position(|(id, _)| *id == message)?;
        self.0.remove(at).map(|(_, session)| session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> uuid::Uuid {
        uuid::Uuid::from_u128(n)
    }

    #[test]
    fn a_sender_is_known_once_and_not_for_ever() {
        let mut origins = Origins::default();
        origins.note(MessageId(id(1)), SessionId(id(10)));
        origins.note(MessageId(id(2)), SessionId(id(20)));
        assert_eq!(origins.take(MessageId(id(2))), Some(SessionId(id(20))));
        assert_eq!(origins.take(MessageId(id(2))), None);
        for n in 0..MAX as u128 {
            origins.note(MessageId(id(100 + n)), SessionId(id(n)));
        }
        assert_eq!(origins.take(MessageId(id(1))), None);
        assert_eq!(origins.0.len(), MAX);
    }
}
