//! Names of rooms, users, sessions and messages.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::HubError;
use crate::limits::{MAX_ROOM_NAME, MAX_USER_ID};

/// What is wrong with a text that should be a name, as the end of a sentence.
fn name_fault(text: &str, max: usize) -> Option<String> {
    if text.is_empty() {
        Some("must not be empty".into())
    } else if text.len() > max {
        Some(format!("is longer than {max} bytes"))
    } else if text.chars().any(char::is_control) {
        Some("contains a control character".into())
    } else {
        None
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $max:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name: 1 to 128 bytes without control characters.
            /// Fails with `bad_request` and the reason.
            pub fn new(text: impl AsRef<str>) -> Result<Self, HubError> {
                let text = text.as_ref();
                match name_fault(text, $max) {
                    None => Ok(Self(text.into())),
                    Some(fault) => Err(HubError::bad_request(format!("{} {fault}", $what))),
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                Self::new(text).map_err(|e| serde::de::Error::custom(e.message))
            }
        }
    };
}

name!(
    /// The name of a room: 1 to 128 bytes of UTF-8 without control characters.
    /// Cheap to clone.
    RoomName, MAX_ROOM_NAME, "the room name"
);
name!(
    /// Who a token names (`sub`): 1 to 128 bytes of UTF-8 without control characters.
    /// Cheap to clone.
    UserId, MAX_USER_ID, "the user id"
);

/// Prefix of the rooms that carry one user's direct messages.
const PERSONAL: &str = "user:";
/// Prefix of rooms the hub keeps for itself.
const INTERNAL: &str = "$";

impl RoomName {
    /// The room that carries a user's direct messages and notifications.
    pub fn personal(user: &UserId) -> Self {
        Self(format!("{PERSONAL}{user}").into())
    }

    /// The room of the sessions that are told of everybody's presence, because their
    /// vocabulary says `presence = "all"`.
    pub fn everybody() -> Self {
        Self(format!("{INTERNAL}everybody").into())
    }

    /// The user of a personal room.
    pub fn personal_user(&self) -> Option<&str> {
        self.0.strip_prefix(PERSONAL)
    }

    /// Reserved names (`user:...`, `$...`) can be neither joined nor published
    /// to by clients.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(PERSONAL) || self.0.starts_with(INTERNAL)
    }
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// A session: what survives a reconnection. UUIDv7.
    SessionId
);
uuid_id!(
    /// A message or event. UUIDv7.
    MessageId
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(RoomName::new("lobby").is_ok());
        assert!(RoomName::new("häuser 7").is_ok());
        assert!(RoomName::new("x".repeat(128)).is_ok());
        for bad in ["", "a\nb", "a\u{0}", "\u{7f}"] {
            assert!(RoomName::new(bad).is_err(), "{bad:?}");
        }
        assert!(RoomName::new("x".repeat(129)).unwrap_err().message.contains("128"));
    }

    #[test]
    fn reserved_rooms_are_known() {
        let user = UserId::new("ann").unwrap();
        let room = RoomName::personal(&user);
        assert_eq!(room.as_str(), "user:ann");
        assert_eq!(room.personal_user(), Some("ann"));
        assert!(room.is_reserved());
        assert!(RoomName::new("$all").unwrap().is_reserved());
        assert!(!RoomName::new("users").unwrap().is_reserved());
    }
}
