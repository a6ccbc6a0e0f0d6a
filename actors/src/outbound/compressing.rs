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
