//! The JSON wire in the `hubbub` vocabulary: one JSON object per text frame,
//! `{"type": <event>, ...fields, "id"?: <request id>}`.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::{event, fieldset, reply};
