//! How many connections there may be, in all and from one address. The latter are
//! counted over all nodes of the cluster, as far as they are known here.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hubbub_actors::{
    cluster::ClusterPresence,
    session::engine::seat::{Place, Places},
};
use parking_lot::Mutex;

/// Counts the open connections of a node. The map has an entry per address with
/// a connection, so it is bounded by `limits.max_connections`.
pub struct ConnectionLimits {
    max: usize,
    max_per_ip: usize,
    open: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    cluster: Option<Arc<ClusterPresence>>,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// The node has as many as it may.
    Node,
    /// The address has as many as it may.
    Address,
}

impl ConnectionLimits {
    /// At most `max` connections, `max_per_ip` from one address; 0 is no limit.
    pub fn new(max: usize, max_per_ip: usize, cluster: Option<Arc<ClusterPresence>>) -> Arc<Self> {
        let unless_zero = |n| if n == 0 { usize::MAX } else { n };
        Arc::new(Self {
            max: unless_zero(max),
            max_per_ip: unless_zero(max_per_ip),
            open: AtomicUsize::new(0),
            by_ip: Mutex::default(),
            cluster,
        })
    }

    /// Takes a place for a connection from an address.
    pub fn take(self: &Arc<Self>, ip: IpAddr) -> Result<Place, NoPlace> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Node);
        }
        let elsewhere = self.cluster.as_ref().map_or(0, |c| c.connections_elsewhere(ip));
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.get(&ip).copied().unwrap_or(0);
        if count + elsewhere >= self.max_per_ip {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(NoPlace::Address);
        }
        by_ip.insert(ip, count + 1);
        self.note(ip, count + 1);
        drop(by_ip);
        Ok(Place { places: self.clone(), ip })
    }

    /// Tells the other nodes, in the order of the changes.
    fn note(&self, ip: IpAddr, count: usize) {
        if let Some(cluster) = &self.cluster {
            cluster.note_connections(ip, count);
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Places for ConnectionLimits {
    fn give_back(&self, ip: IpAddr) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let mut by_ip = self.by_ip.lock();
        if let Some(count) = by_ip.get_mut(&ip) {
            *count -= 1;
            let left = *count;
            if left == 0 {
                by_ip.remove(&ip);
            }
            self.note(ip, left);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_counted_and_given_back() {
        let limits = ConnectionLimits::new(3, 2, None);
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = limits.take(a).unwrap();
        let _second = limits.take(a).unwrap();
        assert_eq!(limits.take(a).err(), Some(NoPlace::Address));
        let _third = limits.take(b).unwrap();
        assert_eq!(limits.take(b).err(), Some(NoPlace::Node));
        drop(first);
        assert_eq!(limits.open(), 2);
        assert!(limits.take(a).is_ok());
        assert_eq!(limits.by_ip.lock().len(), 2);
    }
}
