//! The JSON wire in the `hubbub` vocabulary: one JSON object per text frame,
//! `{"type": <event>, ...fields, "id"?: <request id>}`.

mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use decode::depth;
pub use decode::{decode, decode_named};
pub use encode::{event, fieldset, reply, write_answer, write_fields};
