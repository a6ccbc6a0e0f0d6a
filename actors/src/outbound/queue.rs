//! The frames that wait for one client, in order, and what the socket has taken of them.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
    task::Waker,
};

use hubbub_protocol::close::CloseCode;

use super::{Class, Drained, FlushList, RawWrite, WhenFull};
use crate::frame::{Frame, MAX_PIECES};

/// Most slices handed to one system call.
const MAX_SLICES: usize = 64;
/// How far back a newer volatile frame looks for the one it replaces.
const CONFLATE_SCAN: usize = 256;

pub(super) struct Item {
    pub(super) frame: Frame,
    pub(super) class: Class,
}

/// What waits for a client, and how its socket stands. Behind the lock of its [`Outbound`](super::Outbound).
#[derive(Default)]
pub(super) struct Queue {
    pub(super) items: VecDeque<Item>,
    /// Bytes of all items, without what was written of the first.
    pub(super) bytes: usize,
    /// Bytes of the first item that are written.
    pub(super) written: u32,
    /// Bytes taken by the socket since the connection opened.
    pub(super) progress: u64,
    /// How many of them are in the metrics; the low half.
    pub(super) counted: u32,
    /// How many of `bytes` are in the metrics.
    pub(super) reported: u32,
    pub(super) on_flush_list: bool,
    /// The socket takes no more; the driver waits for it.
    pub(super) blocked: bool,
    pub(super) failed: bool,
    pub(super) closing: Option<CloseCode>,
    pub(super) writer: Option<Arc<dyn RawWrite>>,
    /// What most queues never have.
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(super) struct Rare {
    /// Why the socket is gone.
    pub(super) reason: Option<&'static str>,
    /// Tasks that wait until less is queued.
    pub(super) waiters: Vec<Waker>,
}

impl Queue {
    pub(super) fn append(&mut self, item: Item) {
        self.bytes += item.frame.len();
        if self.items.capacity() == 0 {
            // Most queues never hold more than one frame at a time.
            self.items.reserve_exact(1);
        }
        self.items.push_back(item);
    }

    /// The first item may be half written; it stays.
    pub(super) fn begun(&self) -> usize {
        usize::from(self.written > 0)
    }

    pub(super) fn replace(&mut self, key: u64, frame: &Frame) -> bool {
        let begun = self.begun();
        let found = (begun..self.items.len())
            .rev()
            .take(CONFLATE_SCAN)
            .find(|&i| self.items[i].class == Class::Volatile(key));
        let Some(at) = found else { return false };
        let item = &mut self.items[at];
        self.bytes = self.bytes - item.frame.len() + frame.len();
        item.frame = frame.clone();
        true
    }

    /// Drops older frames until `len` more bytes fit; none if they cannot.
    pub(super) fn make_room(
        &mut self,
        when_full: WhenFull,
        max: usize,
        len: usize,
    ) -> Option<usize> {
        let enough = |bytes: usize, dropped: usize| match when_full {
            WhenFull::Disconnect => false,
            WhenFull::DropOldest => bytes + len <= max && dropped > 0,
            WhenFull::Conflate => false,
        };
        if when_full == WhenFull::Disconnect {
            return None;
        }
        let begun = self.begun();
        let (mut index, mut dropped, mut bytes) = (0, 0, self.bytes);
        self.items.retain(|item| {
            let droppable = index >= begun && item.class != Class::Reply && !enough(bytes, dropped);
            index += 1;
            if droppable {
                dropped += item.frame.events();
                bytes -= item.frame.len();
            }
            !droppable
        });
        self.bytes = bytes;
        (bytes + len <= max && dropped > 0).then_some(dropped)
    }

    pub(super) fn drop_unbegun(&mut self) {
        let begun = self.begun();
        self.items.truncate(begun);
        self.bytes = self.items.front().map_or(0, |i| i.frame.len() - self.written as usize);
    }

    pub(super) fn drain(
        &mut self,
        write: &mut dyn FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> Drained {
        if self.failed {
            return Drained::Failed;
        }
        self.blocked = false;
        while !self.items.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let (mut count, mut skip) = (0, self.written as usize);
            for item in &self.items {
                if count > MAX_SLICES - MAX_PIECES {
                    break;
                }
                for piece in item.frame.pieces() {
                    let left = &piece[skip.min(piece.len())..];
                    skip -= piece.len() - left.len();
                    if !left.is_empty() {
                        slices[count] = IoSlice::new(left);
                        count += 1;
                    }
                }
            }
            match write(&slices[..count]) {
                Ok(0) => {
                    self.failed = true;
                    return Drained::Failed;
                }
                Ok(n) => self.advance(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Drained::Blocked;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.failed = true;
                    self.wake_waiters();
                    return Drained::Failed;
                }
            }
        }
        self.relax();
        Drained::Empty
    }

    pub(super) fn count_progress(&mut self) -> u64 {
        // It is asked for long before so much has gone that the low half comes round.
        let now = self.progress as u32;
        now.wrapping_sub(std::mem::replace(&mut self.counted, now)).into()
    }

    pub(super) fn advance(&mut self, mut n: usize) {
        self.progress += n as u64;
        self.bytes -= n;
        self.wake_waiters();
        while n > 0 {
            let Some(first) = self.items.front() else { return };
            let left = first.frame.len() - self.written as usize;
            if n < left {
                self.written += n as u32;
                return;
            }
            n -= left;
            self.written = 0;
            self.items.pop_front();
        }
    }

    /// Puts what waits into the gauge. Not called for each push: what a client takes
    /// at once never shows up, and costs no counter that workers share.
    pub(super) fn report(&mut self, flush: &FlushList) {
        let bytes = u32::try_from(self.bytes).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.reported, bytes);
        if bytes != before
            && let Some(waiting) = &flush.waiting
        {
            waiting.add(i64::from(bytes) - i64::from(before));
        }
    }

    /// Gives memory back.
    pub(super) fn relax(&mut self) {
        if self.items.is_empty() && self.items.capacity() > 0 {
            self.items = VecDeque::new();
        }
    }

    pub(super) fn wake_waiters(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        rare.waiters.drain(..).for_each(Waker::wake);
        if rare.reason.is_none() {
            self.rare = None;
        }
    }
}
