//! The JSON wire in the `hubbub` vocabulary: one JSON object per text frame,
//! `{"type": <event>, ...fields, "id"?: <request id>}`.

mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

pub use decode::decode;
pub(crate) use decode::depth;
pub use encode::{event, fieldset, reply};
