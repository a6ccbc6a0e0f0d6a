//! `auth`: who the client is, said in-band.

use std::sync::Arc;

use crate::id::UserId;

/// Says who it is: with a token, or, where the hub allows anonymous clients, by
/// naming itself. A token counts before a name.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The JWT.
    pub token: Option<Box<str>>,
    /// The user id it gives itself.
    pub user: Option<UserId>,
    /// The display name it gives itself, at most 128 bytes.
    pub username: Option<Arc<str>>,
}
