//! Reads whose answers will go out by a queue: each may hold a page in memory until the
//! client has taken what waits before it.

use std::sync::{Arc, atomic::Ordering};

use super::Outbound;

/// The place of one read; given back when it is dropped.
pub struct ReadPlace(Arc<Outbound>);

impl Outbound {
    /// A place among the reads whose answers will go out here; none if all `max` are
    /// taken.
    pub fn read_place(self: &Arc<Self>, max: u8) -> Option<ReadPlace> {
        let place = ReadPlace(self.clone());
        (self.reading.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for ReadPlace {
    fn drop(&mut self) {
        self.0.reading.fetch_sub(1, Ordering::Relaxed);
    }
}
