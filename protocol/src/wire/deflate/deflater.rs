//! Compresses whole messages.

use flate2::{Compress, Compression, FlushCompress};

use super::FLUSHED;

/// Compresses messages one at a time. It takes about 310 KiB from the first message on.
#[derive(Debug, Default)]
pub struct Deflater(Option<Compress>);

impl Deflater {
    /// A deflater that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Appends the payload of the compressed message to `out` (RFC 7692 section 7.2.1);
    /// whether it became shorter than `message`. If not, `out` has something of no use
    /// at its end.
    pub fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        // Fast: it is done while others wait, and texts get small with it too.
        let state = self.0.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        state.reset();
        let before = out.len();
        out.reserve_exact(message.len() + FLUSHED.len());
        let done = state.compress_vec(message, out, FlushCompress::Sync);
        let whole = done.is_ok()
            && state.total_in() == message.len() as u64
            && out.len() < out.capacity()
            && out.ends_with(&FLUSHED);
        if !whole {
            return false;
        }
        out.truncate(out.len() - FLUSHED.len());
        out.len() - before < message.len()
    }
}
