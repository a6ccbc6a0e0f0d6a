//! What waits to go out to one client: frames that are encoded once and shared by
//! every member of a room, bounded in bytes.
//!
//! A push puts the queue on the [`FlushList`] of the worker that owns the
//! socket; when the worker has handled everything that arrived together, it
//! writes each queue on the list with one system call. A frame that is alone is
//! [handed](Outbound::hand) to the socket at once. A socket that takes no more is
//! left to its driver, which waits until it is writable again.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering},
    },
    task::{Poll, Waker},
};

use futures_util::task::AtomicWaker;
use hubbub_protocol::close::CloseCode;
use parking_lot::Mutex;

mod compressing;
mod flush;
mod hand;
mod queue;
mod reads;

use self::queue::{Item, Queue};
pub use self::{compressing::Compressing, flush::FlushList, reads::ReadPlace};
use crate::frame::Frame;

/// What happens when a message does not fit any more (`session.when_full`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenFull {
    /// The connection is closed with 4413; the client comes back and recovers.
    #[default]
    Disconnect,
    /// The oldest waiting messages are dropped; the client sees it by the offsets.
    DropOldest,
    /// All waiting messages but the newest are dropped.
    Conflate,
}

/// How much a frame matters when there is no room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// An answer, or something about the session itself: never dropped.
    Reply,
    /// A stored message: dropped only as `session.when_full` says.
    Durable,
    /// At most once: dropped first. A key other than 0 lets a newer one replace
    /// an older one that still waits.
    Volatile(u64),
}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It took the place of an older one with the same key.
    Conflated,
    /// It was volatile and there was no room.
    Dropped,
    /// It waits, and that many older ones were dropped for it.
    DroppedOldest(usize),
    /// There was no room: the connection is being closed with 4413.
    Overflowed,
    /// The connection is closing or closed.
    Closed,
}

/// A socket that can be written to without waiting, from the worker's thread.
pub trait RawWrite: Send + Sync {
    /// Writes what the kernel takes at once; `WouldBlock` if that is nothing.
    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// What a drain came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drained {
    /// Nothing waits.
    Empty,
    /// The socket takes no more for now.
    Blocked,
    /// The socket failed; the connection is over.
    Failed,
}

/// The outbound queue of one connection.
pub struct Outbound {
    queue: Mutex<Queue>,
    driver: AtomicWaker,
    flush: Arc<FlushList>,
    max_bytes: u32,
    when_full: WhenFull,
    /// The client closed first: it says no more.
    answered: AtomicBool,
    pings: AtomicU32,
    pongs: AtomicU32,
    reading: AtomicU8,
    /// The client's window, as a power of two; 0 for one that takes nothing compressed.
    window_bits: AtomicU8,
}

/// A queue takes one frame for so many bytes of its bound, and [`MIN_FRAMES`] in any
/// case.
const MIN_FRAME_SHARE: usize = 128;
const MIN_FRAMES: usize = 16;

impl Outbound {
    /// A queue of at most `max_bytes`, flushed by the worker that owns `flush`.
    pub fn new(flush: Arc<FlushList>, max_bytes: usize, when_full: WhenFull) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            driver: AtomicWaker::new(),
            flush,
            max_bytes: u32::try_from(max_bytes).unwrap_or(u32::MAX),
            when_full,
            answered: AtomicBool::new(false),
            pings: AtomicU32::new(0),
            pongs: AtomicU32::new(0),
            reading: AtomicU8::new(0),
            window_bits: AtomicU8::new(0),
        })
    }

    /// Gives the queue a socket that it may write to by itself. Without one the
    /// driver drains it.
    /// What waits already is written soon.
    pub fn set_writer(self: &Arc<Self>, writer: Arc<dyn RawWrite>) {
        let mut queue = self.queue.lock();
        queue.writer = Some(writer);
        if !queue.items.is_empty() {
            self.schedule(queue);
        }
    }

    fn max_bytes(&self) -> usize {
        self.max_bytes as usize
    }

    /// A frame weighs on memory beside its bytes, so that very small ones are
    /// bounded by their number.
    fn max_frames(&self) -> usize {
        (self.max_bytes() / MIN_FRAME_SHARE).max(MIN_FRAMES)
    }

    /// Puts a frame at the end. Never blocks and never writes.
    pub fn push(self: &Arc<Self>, frame: &Frame, class: Class) -> Pushed {
        let frame = self.as_agreed(frame);
        let mut queue = self.queue.lock();
        if queue.closing.is_some() || queue.failed {
            return Pushed::Closed;
        }
        let mut outcome = Pushed::Queued;
        // What has no socket to go to at once waits for a while.
        if (queue.blocked || queue.writer.is_none())
            && let Class::Volatile(key) = class
            && key != 0
            && queue.replace(key, frame)
        {
            return Pushed::Conflated;
        }
        if queue.bytes + frame.len() > self.max_bytes() / 2
            && !queue.blocked
            && let Some(writer) = queue.writer.clone()
        {
            // The worker is in the middle of a large batch, and nobody has tried to
            // write yet: a client that reads must not be taken for a slow one.
            if queue.drain(&mut |slices| writer.try_write(slices)) != Drained::Empty {
                self.driver.wake();
            }
            if queue.failed {
                return Pushed::Closed;
            }
        }
        let after = queue.bytes + frame.len();
        let crowded = |part: usize| queue.items.len() >= self.max_frames() / 4 * part;
        match class {
            // A quarter of the room is kept for what must not be lost.
            Class::Volatile(_) if after > self.max_bytes() / 4 * 3 || crowded(3) => {
                return Pushed::Dropped;
            }
            _ if after <= self.max_bytes() && !crowded(4) => {}
            _ => match queue.make_room(self.when_full, self.max_bytes(), frame.len()) {
                Some(dropped) => outcome = Pushed::DroppedOldest(dropped),
                None => {
                    drop(queue);
                    self.close_now(CloseCode::TooSlow);
                    return Pushed::Overflowed;
                }
            },
        }
        queue.append(Item { frame: frame.clone(), class });
        if queue.blocked {
            queue.report(&self.flush);
        }
        self.schedule(queue);
        outcome
    }

    /// Asks the client for a sign of life with a frame that it answers. Gives the
    /// number of the question: whoever has [answered](Self::pongs) so many has got
    /// everything that was pushed before.
    pub fn ping(self: &Arc<Self>, frame: &Frame) -> u32 {
        self.push(frame, Class::Reply);
        self.pings.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The client answered one question.
    pub fn ponged(&self) {
        // One that was not asked for proves nothing.
        let most = self.pings.load(Ordering::Relaxed);
        let next = |n: u32| (n != most).then_some(n.wrapping_add(1));
        let _ = self.pongs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// How many questions the client has answered.
    pub fn pongs(&self) -> u32 {
        self.pongs.load(Ordering::Relaxed)
    }

    /// Closes after what waits is written: nothing can be pushed any more.
    pub fn close(self: &Arc<Self>, code: CloseCode) {
        self.close_with(code, false);
    }

    /// Closes at once: what waits and was not begun is dropped.
    pub fn close_now(self: &Arc<Self>, code: CloseCode) {
        self.close_with(code, true);
    }

    /// Answers the client's close frame with the client's own code.
    pub fn answer_close(self: &Arc<Self>, code: Option<u16>) {
        self.answered.store(true, Ordering::Relaxed);
        self.close_frame(CloseCode::Normal, Frame::close_answer(code), false);
    }

    /// Closes as [`close`](Self::close), or [`close_now`](Self::close_now) if what
    /// waits shall be dropped; the close frame has the code and no reason.
    pub fn close_bare(self: &Arc<Self>, code: CloseCode, now: bool) {
        self.close_frame(code, Frame::close_answer(Some(code.code())), now);
    }

    fn close_with(self: &Arc<Self>, code: CloseCode, now: bool) {
        self.close_frame(code, Frame::close(code), now);
    }

    fn close_frame(self: &Arc<Self>, code: CloseCode, frame: Frame, now: bool) {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() || queue.failed {
            return;
        }
        if now {
            queue.drop_unbegun();
        }
        queue.closing = Some(code);
        queue.wake_waiters();
        queue.append(Item { frame, class: Class::Reply });
        self.schedule(queue);
        self.driver.wake();
    }

    /// Puts the queue on its worker's list unless it is there or the driver has it.
    fn schedule(self: &Arc<Self>, mut queue: parking_lot::MutexGuard<'_, Queue>) {
        if queue.on_flush_list || queue.blocked {
            return;
        }
        queue.on_flush_list = true;
        drop(queue);
        self.flush.add(self.clone());
    }

    /// Has the processor fetch what a push needs, without waiting for it.
    pub(crate) fn warm(&self) {
        std::hint::black_box(self.queue.is_locked());
        std::hint::black_box(self.max_bytes);
    }

    /// The close code once the connection is closing.
    pub fn closing(&self) -> Option<CloseCode> {
        self.queue.lock().closing
    }

    /// Whether the client has closed, so that nothing more of it is to come.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().items.is_empty()
    }

    /// Bytes the socket has taken since the connection opened.
    pub fn progress(&self) -> u64 {
        self.queue.lock().progress
    }

    /// Bytes that the socket took since this was asked last.
    pub fn count_progress(&self) -> u64 {
        self.queue.lock().count_progress()
    }

    /// Whether less than `quarters` quarters of the bound wait; if not, the waker is
    /// woken when less waits or the connection ends.
    pub fn poll_below(&self, quarters: usize, waker: &Waker) -> Poll<()> {
        let mut queue = self.queue.lock();
        let enough = queue.bytes < self.max_bytes() / 4 * quarters
            && queue.items.len() < self.max_frames() / 4 * quarters;
        if enough || queue.closing.is_some() || queue.failed {
            return Poll::Ready(());
        }
        let waiters = &mut queue.rare.get_or_insert_default().waiters;
        if !waiters.iter().any(|w| w.will_wake(waker)) {
            waiters.push(waker.clone());
        }
        Poll::Pending
    }

    /// The driver is woken when the socket blocks, fails, or the connection closes.
    pub fn register_driver(&self, waker: &Waker) {
        self.driver.register(waker);
    }

    /// Why the connection ends: the close code's reason, what [`fail`](Self::fail)
    /// was told, or that the client has gone.
    pub fn reason(&self) -> &'static str {
        let queue = self.queue.lock();
        let failed = || queue.rare.as_ref().and_then(|rare| rare.reason);
        queue.closing.map(CloseCode::reason).or_else(failed).unwrap_or("client_gone")
    }

    /// Marks the socket as gone: what waits is dropped, pushes are refused.
    pub fn fail(&self, reason: &'static str) {
        let mut queue = self.queue.lock();
        queue.failed = true;
        queue.rare.get_or_insert_default().reason.get_or_insert(reason);
        queue.items = VecDeque::new();
        queue.bytes = 0;
        queue.writer = None;
        queue.report(&self.flush);
        queue.wake_waiters();
    }

    /// Whether the socket takes no more or has failed, so that the driver must see
    /// to it.
    pub fn needs_driver(&self) -> bool {
        let queue = self.queue.lock();
        queue.blocked || queue.failed
    }

    /// Writes what waits with `write` until nothing waits or it would block.
    /// Called by the driver.
    pub fn drain(&self, write: &mut dyn FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> Drained {
        let mut queue = self.queue.lock();
        let drained = queue.drain(write);
        queue.report(&self.flush);
        drained
    }

    /// Writes what waits to the queue's own socket; called for each queue on the
    /// flush list. Wakes the driver if there is something for it to do.
    fn flush(&self) -> usize {
        let mut queue = self.queue.lock();
        queue.on_flush_list = false;
        if queue.blocked {
            return 0;
        }
        let Some(writer) = queue.writer.clone() else {
            queue.report(&self.flush);
            drop(queue);
            self.driver.wake();
            return 0;
        };
        let drained = queue.drain(&mut |slices| writer.try_write(slices));
        queue.report(&self.flush);
        let taken = queue.count_progress() as usize;
        let closing = queue.closing.is_some();
        drop(queue);
        if drained != Drained::Empty || closing {
            self.driver.wake();
        }
        taken
    }

    /// Takes whole texts and binaries of at most `max_bytes` of payload (at least
    /// one), for a transport that sends payloads instead of WebSocket frames. What
    /// only WebSocket has, such as its close frame, is passed over.
    pub fn take(&self, max_bytes: usize) -> Vec<Frame> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::new();
        let mut sum = 0;
        while let Some(item) = queue.items.front() {
            let size = item.frame.len();
            if !taken.is_empty() && sum + size > max_bytes {
                break;
            }
            sum += size;
            queue.bytes -= size;
            queue.progress += size as u64;
            if let Some(item) = queue.items.pop_front()
                && (item.frame.is_text() || item.frame.is_binary())
            {
                taken.push(item.frame);
            }
        }
        queue.report(&self.flush);
        queue.wake_waiters();
        queue.relax();
        taken
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let queue = self.queue.get_mut();
        queue.bytes = 0;
        queue.report(&self.flush);
    }
}

#[cfg(test)]
mod tests;
