//! A frame that is alone: written by who hands it out, without passing the queue.

use std::{io::IoSlice, sync::Arc};

use super::{Class, Item, Outbound, Pushed};
use crate::frame::{Frame, MAX_PIECES};

impl Outbound {
    /// Writes a frame to the socket at once if nothing waits before it, else
    /// [pushes](Self::push) it; gives what became of it and the bytes that the socket
    /// took. For what comes alone: frames that come together leave together only if they
    /// are pushed. To be called on the worker that owns the socket.
    pub fn hand(self: &Arc<Self>, frame: &Frame, class: Class) -> (Pushed, u64) {
        let frame = self.as_agreed(frame);
        let mut queue = self.queue.lock();
        let idle = queue.items.is_empty()
            && !(queue.blocked || queue.on_flush_list || queue.failed)
            && queue.closing.is_none()
            // What the socket does not take of it must fit into the queue.
            && frame.len() <= self.max_bytes();
        let Some(writer) = queue.writer.as_ref().filter(|_| idle) else {
            drop(queue);
            return (self.push(frame, class), 0);
        };
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let mut count = 0;
        for piece in frame.pieces().into_iter().filter(|piece| !piece.is_empty()) {
            slices[count] = IoSlice::new(piece);
            count += 1;
        }
        let written = match writer.try_write(&slices[..count]) {
            Ok(written) if written > 0 => written,
            // The flush list finds out what is the matter.
            Ok(_) | Err(_) => {
                drop(queue);
                return (self.push(frame, class), 0);
            }
        };
        queue.progress += written as u64;
        let taken = queue.count_progress();
        if written < frame.len() {
            queue.append(Item { frame: frame.clone(), class });
            queue.written = written as u32;
            queue.bytes -= written;
            self.schedule(queue);
        }
        (Pushed::Queued, taken)
    }
}
