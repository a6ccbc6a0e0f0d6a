//! Which connections there are, by their sid: requests of one client may come to
//! any worker.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use actix::Recipient;
use hubbub_protocol::wire::engineio::Transport;
use parking_lot::RwLock;

use super::polling::PollingRequest;

/// The id of an Engine.IO connection: 128 random bits, 32 hex digits in a URL.
// Bytes: a number of this size would have every connection padded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Sid([u8; 16]);

impl Sid {
    /// A fresh one that nobody can guess.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Reads what [`Display`](fmt::Display) wrote; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.len() == 32
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let number = plain.then(|| u128::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

const POLLING: u8 = 0;
const PROBING: u8 = 1;
const WEBSOCKET: u8 = 2;

/// Where a connection is.
pub struct Entry {
    /// The worker that owns it, as long as it may be asked.
    pub worker: usize,
    state: AtomicU8,
    posting: AtomicBool,
    polling: Option<Recipient<PollingRequest>>,
}

impl Entry {
    /// The transport it is on now; one that probes is still on polling.
    pub fn transport(&self) -> Transport {
        match self.state.load(Ordering::Acquire) {
            WEBSOCKET => Transport::WebSocket,
            _ => Transport::Polling,
        }
    }

    /// Asks the actor of a connection that polls; false if it does not, any more.
    pub fn ask(&self, request: PollingRequest) -> bool {
        let asked = self.polling.as_ref().filter(|_| self.transport() == Transport::Polling);
        asked.is_some_and(|polling| {
            polling.do_send(request);
            true
        })
    }

    /// A body is being received; none if there is one already.
    pub fn begin_post(self: &Arc<Self>) -> Option<Posting> {
        let free = !self.posting.swap(true, Ordering::AcqRel);
        free.then(|| Posting(self.clone()))
    }

    /// A WebSocket came for it; false if it cannot be upgraded (again).
    pub fn begin_probe(&self) -> bool {
        let (from, to) = (POLLING, PROBING);
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The WebSocket came to nothing: another one may try.
    pub fn end_probe(&self) {
        // Unless it was upgraded meanwhile.
        let _ = self.state.compare_exchange(PROBING, POLLING, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// A body that is being received.
pub struct Posting(Arc<Entry>);

impl Drop for Posting {
    fn drop(&mut self) {
        self.0.posting.store(false, Ordering::Release);
    }
}

/// The connections of a node; as many as `limits.max_connections` lets in.
pub struct Registry {
    entries: RwLock<HashMap<Sid, Arc<Entry>>>,
    /// Of all that began on a WebSocket: nothing is ever asked of one.
    websocket: Arc<Entry>,
}

impl Default for Registry {
    fn default() -> Self {
        let websocket = Entry {
            worker: 0,
            state: AtomicU8::new(WEBSOCKET),
            posting: AtomicBool::new(false),
            polling: None,
        };
        Self { entries: RwLock::default(), websocket: Arc::new(websocket) }
    }
}

impl Registry {
    /// The connection of a sid.
    pub fn find(&self, sid: &str) -> Option<Arc<Entry>> {
        self.entries.read().get(&Sid::parse(sid)?).cloned()
    }

    /// Adds a connection under a fresh sid. With `polling`, that actor is asked.
    pub fn add(
        self: &Arc<Self>,
        worker: usize,
        polling: Option<Recipient<PollingRequest>>,
    ) -> Registration {
        let sid = Sid::random();
        let entry = match polling {
            None => self.websocket.clone(),
            Some(polling) => Arc::new(Entry {
                worker,
                state: AtomicU8::new(POLLING),
                posting: AtomicBool::new(false),
                polling: Some(polling),
            }),
        };
        self.entries.write().insert(sid, entry);
        Registration { sid, registry: self.clone() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A connection's place in the registry; taken out when dropped.
pub struct Registration {
    sid: Sid,
    registry: Arc<Registry>,
}

impl Registration {
    /// Its sid.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// From now on it is on a WebSocket.
    pub(super) fn on_websocket(&self) {
        if let Some(entry) = self.registry.entries.read().get(&self.sid) {
            entry.state.store(WEBSOCKET, Ordering::Release);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.entries.write().remove(&self.sid);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sid_reads_back_and_nothing_else_does() {
        let sid = Sid::random();
        assert_eq!(Sid::parse(&sid.to_string()), Some(sid));
        for bad in ["", "0", "+0000000000000000000000000000000", &"A".repeat(32), &"0".repeat(33)] {
            assert_eq!(Sid::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_connection_is_found_until_it_goes() {
        let registry = Arc::new(Registry::default());
        let registration = registry.add(1, None);
        let sid = registration.sid().to_string();
        let entry = registry.find(&sid).unwrap();
        assert_eq!(entry.transport(), Transport::WebSocket);
        assert!(!entry.begin_probe());
        let posting = entry.begin_post().unwrap();
        assert!(entry.begin_post().is_none());
        drop(posting);
        assert!(entry.begin_post().is_some());
        drop(registration);
        assert!(registry.find(&sid).is_none() && registry.is_empty());
    }
}
