//! What only this history does.
#![allow(clippy::unwrap_used, clippy::expect_used)]
