//! Which frames go out compressed: those worth it, to clients that agreed on it.

use std::sync::atomic::Ordering;

use prometheus::IntCounter;

use super::Outbound;
use crate::frame::Frame;

/// When a worker compresses, and what it counts.
pub struct Compressing {
    /// Least bytes of a message worth it.
    pub min_bytes: usize,
    /// Compressed messages handed to clients.
    pub messages: IntCounter,
    /// Bytes they were shorter by.
    pub saved_bytes: IntCounter,
}

impl Outbound {
    /// The client takes compressed messages from now on, that refer back by at most two to
    /// the power of `window_bits`.
    pub fn compress(&self, window_bits: u8) {
        self.window_bits.store(window_bits, Ordering::Relaxed);
    }

    /// Whether the client gets some frames compressed.
    pub(crate) fn compresses(&self) -> bool {
        self.window_bits.load(Ordering::Relaxed) != 0
    }

    /// The frame as the client gets it.
    pub(super) fn as_agreed<'a>(&self, frame: &'a Frame) -> &'a Frame {
        match self.window_bits.load(Ordering::Relaxed) {
            0 => frame,
            bits => self.compressed(frame, bits).unwrap_or(frame),
        }
    }

    fn compressed<'a>(&self, frame: &'a Frame, window_bits: u8) -> Option<&'a Frame> {
        let compressing = self.flush.compressing.as_ref()?;
        let compressed = frame.compressed(compressing.min_bytes, window_bits)?;
        compressing.messages.inc();
        compressing.saved_bytes.inc_by((frame.len() - compressed.len()) as u64);
        Some(compressed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::outbound::{Class, FlushList, WhenFull};

    #[test]
    fn only_what_was_agreed_on_is_compressed_and_it_counts_as_it_goes_out() {
        let messages = IntCounter::new("messages", "messages").unwrap();
        let saved_bytes = IntCounter::new("saved", "saved").unwrap();
        let (counted, saved) = (messages.clone(), saved_bytes.clone());
        let compressing = Compressing { min_bytes: 1000, messages, saved_bytes };
        let list = Arc::new(FlushList::default().compressing(Some(compressing)));
        let queue = || Outbound::new(list.clone(), 4000, WhenFull::Disconnect);
        let frame = Frame::text("again and again ".repeat(100).as_bytes());
        let (agreed, other) = (queue(), queue());
        agreed.compress(15);
        for _ in 0..5 {
            agreed.push(&frame, Class::Durable);
        }
        agreed.push(&Frame::text(b"short"), Class::Durable);
        other.push(&frame, Class::Durable);
        assert_eq!(other.len(), frame.len());
        let compressed = frame.compressed(0, 15).unwrap().len();
        // So more of them fit.
        assert_eq!(agreed.len(), 5 * compressed + 7);
        assert_eq!(counted.get(), 5);
        assert_eq!(saved.get(), 5 * (frame.len() - compressed) as u64);
        // Where the configuration has none, nothing is.
        let plain = Outbound::new(Arc::default(), 4000, WhenFull::Disconnect);
        plain.compress(15);
        plain.hand(&frame, Class::Durable);
        assert_eq!(plain.len(), frame.len());
    }
}
