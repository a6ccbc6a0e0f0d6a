//! The writing half of a connection, shared by the thread that reads and the thread that paces.
//!
//! The pacing thread writes straight into the socket: no wake-up, no queue between them. Only what
//! the socket does not take is kept, and sent before anything else.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Write},
    net::TcpStream,
    sync::Arc,
};

use parking_lot::Mutex;

/// Bytes that may wait for a socket; a message beyond them counts as not sent.
const MAX_BACKLOG: usize = 1 << 20;

/// A publish that is not answered yet.
#[derive(Debug)]
pub struct Waiting {
    /// The request's id.
    pub id: u64,
    /// Its room.
    pub room: u32,
    /// Its number in the room.
    pub number: u32,
    /// When it was due, in microseconds.
    pub due: u64,
    /// The frame, if it has a key and may be sent again.
    pub again: Option<Box<[u8]>>,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// The connection is not open.
    Down,
    /// The socket takes no more, and 1 MiB waits already.
    Blocked,
}

#[derive(Debug, Default)]
struct State {
    half: Option<Arc<TcpStream>>,
    backlog: Vec<u8>,
    waiting: VecDeque<Waiting>,
    /// Joined, so that messages may go out.
    ready: bool,
}

impl State {
    /// Writes what waits; whether nothing waits any more.
    fn flush(&mut self) -> bool {
        let Some(half) = &self.half else { return true };
        let mut done = 0;
        while done < self.backlog.len() {
            match (&**half).write(&self.backlog[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The reader learns that the connection has ended.
                Err(_) => {
                    done = self.backlog.len();
                }
            }
        }
        self.backlog.drain(..done);
        self.backlog.is_empty()
    }

    fn send(&mut self, frame: &[u8]) {
        let mut done = 0;
        if self.flush() {
            let Some(half) = &self.half else { return };
            while done < frame.len() {
                match (&**half).write(&frame[done..]) {
                    Ok(0) => break,
                    Ok(n) => done += n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        }
        self.backlog.extend_from_slice(&frame[done..]);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Link(Mutex<State>);

impl Link {
    /// A connection was opened; nothing of an older one is left to write.
    pub fn attach(&self, half: Arc<TcpStream>) {
        let mut state = self.0.lock();
        state.half = Some(half);
        state.backlog.clear();
    }

    /// The connection has ended. Gives back what was never answered; what may be sent again stays.
    pub fn detach(&self) -> u64 {
        let mut state = self.0.lock();
        state.half = None;
        state.ready = false;
        state.backlog.clear();
        let before = state.waiting.len();
        state.waiting.retain(|w| w.again.is_some());
        (before - state.waiting.len()) as u64
    }

    /// Messages may go out; those that may be sent again go first. How many.
    pub fn ready(&self) -> u64 {
        let mut state = self.0.lock();
        let again: Vec<Box<[u8]>> = state.waiting.iter().filter_map(|w| w.again.clone()).collect();
        for frame in &again {
            state.send(frame);
        }
        state.ready = true;
        again.len() as u64
    }

    /// Sends a frame that is no message: it goes out or waits.
    pub fn send(&self, frame: &[u8]) {
        self.0.lock().send(frame);
    }

    /// Sends a message and remembers that an answer is owed.
    ///
    /// # Errors
    /// See [`Unsent`]; nothing was sent and no answer is owed.
    pub fn publish(&self, frame: &[u8], waiting: Waiting) -> Result<(), Unsent> {
        let mut state = self.0.lock();
        if !state.ready {
            return Err(Unsent::Down);
        }
        if !state.flush() && state.backlog.len() > MAX_BACKLOG {
            return Err(Unsent::Blocked);
        }
        state.waiting.push_back(waiting);
        state.send(frame);
        Ok(())
    }

    /// The publish that an answer belongs to.
    pub fn answered(&self, id: u64) -> Option<Waiting> {
        let mut state = self.0.lock();
        // Nearly always the oldest.
        let at = state.waiting.iter().position(|w| w.id == id)?;
        state.waiting.remove(at)
    }

    /// Writes what waits, and how many publishes are not answered.
    pub fn unanswered(&self) -> usize {
        let mut state = self.0.lock();
        state.flush();
        state.waiting.len()
    }
}
