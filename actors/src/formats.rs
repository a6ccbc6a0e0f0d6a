//! The formats that sessions of a node speak. Those that are known at the start
//! stay; those of namespaces that a pattern allows come with their first session
//! and go with their last.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytestring::ByteString;
use hubbub_protocol::wire::{Format, FormatId, socketio::MAIN_NAMESPACE};
use parking_lot::{Mutex, RwLock};

/// Most formats that come and go, at a time.
const MAX_LEASED: usize = 4096;

/// The formats of a node, by id.
pub struct Formats {
    slots: RwLock<Vec<Option<Arc<Format>>>>,
    leases: Mutex<Leases>,
    fixed: Box<[Arc<Format>]>,
}

#[derive(Default)]
struct Leases {
    by_name: HashMap<Box<str>, Weak<FormatLease>>,
    free: Vec<FormatId>,
    taken: usize,
}

/// Keeps a format for as long as somebody may speak it.
pub struct FormatLease {
    /// Its id, nobody else's until the lease is dropped.
    pub id: FormatId,
    name: Box<str>,
    formats: Arc<Formats>,
}

impl FormatLease {
    /// The format.
    pub fn format(&self) -> Arc<Format> {
        self.formats.get(self.id)
    }

    /// The Socket.IO namespace that it is for.
    pub fn namespace(&self) -> ByteString {
        match &*self.format() {
            Format::SocketIo { namespace, .. } => namespace.clone(),
            Format::Json | Format::JsonVocabulary(_) => ByteString::from_static(MAIN_NAMESPACE),
        }
    }
}

impl Formats {
    /// Formats that stay; their ids are their places in the list. Without any the
    /// JSON wire is the only one.
    pub fn new(mut fixed: Vec<Format>) -> Arc<Self> {
        if fixed.is_empty() {
            fixed.push(Format::Json);
        }
        let slots: Vec<_> = fixed.into_iter().map(Arc::new).collect();
        Arc::new(Self {
            slots: RwLock::new(slots.iter().cloned().map(Some).collect()),
            fixed: slots.into(),
            leases: Mutex::default(),
        })
    }

    /// Those that stay, in the order of their ids.
    pub fn fixed(&self) -> &[Arc<Format>] {
        &self.fixed
    }

    /// A format by its id.
    pub fn get(&self, id: FormatId) -> Arc<Format> {
        let slots = self.slots.read();
        let format = slots.get(usize::from(id.0)).and_then(Option::as_ref);
        // An id lives no longer than its lease, so there always is one.
        format.unwrap_or(&self.fixed[0]).clone()
    }

    /// The format of a name, made if nobody speaks it yet; none if there are as
    /// many as there may be.
    pub fn lease(
        self: &Arc<Self>,
        name: &str,
        make: impl FnOnce() -> Format,
    ) -> Option<Arc<FormatLease>> {
        let mut leases = self.leases.lock();
        if let Some(lease) = leases.by_name.get(name).and_then(Weak::upgrade) {
            return Some(lease);
        }
        if leases.taken >= MAX_LEASED {
            return None;
        }
        let format = Some(Arc::new(make()));
        let mut slots = self.slots.write();
        let id = match leases.free.pop() {
            Some(id) => {
                slots[usize::from(id.0)] = format;
                id
            }
            None => {
                let id = FormatId(u16::try_from(slots.len()).ok()?);
                slots.push(format);
                id
            }
        };
        drop(slots);
        leases.taken += 1;
        let lease = Arc::new(FormatLease { id, name: name.into(), formats: self.clone() });
        leases.by_name.insert(name.into(), Arc::downgrade(&lease));
        Some(lease)
    }
}

impl Drop for FormatLease {
    fn drop(&mut self) {
        let mut leases = self.formats.leases.lock();
        // Somebody may have come between the last user's going and this.
        if leases.by_name.get(&self.name).is_some_and(|l| l.strong_count() == 0) {
            leases.by_name.remove(&self.name);
        }
        leases.taken -= 1;
        leases.free.push(self.id);
        self.formats.slots.write()[usize::from(self.id.0)] = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn make(name: &'static str) -> impl FnOnce() -> Format {
        move || Format::socketio(name.into(), None)
    }

    #[test]
    fn a_name_has_one_format_while_somebody_speaks_it() {
        let formats = Formats::new(vec![Format::Json]);
        let a = formats.lease("/a", make("/a")).unwrap();
        let again = formats.lease("/a", make("/a")).unwrap();
        let b = formats.lease("/b", make("/b")).unwrap();
        assert_eq!((a.id, b.id), (again.id, FormatId(2)));
        assert_eq!(formats.get(a.id).name(), "socketio");
        drop((a, again));
        let c = formats.lease("/c", make("/c")).unwrap();
        assert_eq!(c.id, FormatId(1));
        assert_eq!(formats.leases.lock().by_name.len(), 2);
    }

    #[test]
    fn there_are_only_so_many() {
        let formats = Formats::new(vec![]);
        let name = |i: usize| format!("/{i}");
        let all: Vec<_> =
            (0..MAX_LEASED).map(|i| formats.lease(&name(i), || Format::Json).unwrap()).collect();
        assert!(formats.lease("/more", || Format::Json).is_none());
        assert!(formats.lease("/7", || Format::Json).is_some());
        drop(all);
        assert!(formats.lease("/more", || Format::Json).is_some());
    }
}
