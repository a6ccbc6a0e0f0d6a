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
use ipnet::IpNet;
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

/// Counts the connections of an address that are not upgraded: those that have said nothing yet,
/// that shake hands, or that speak plain HTTP. There may be twice as many of an address as may
/// stay, since a client that polls has two, and 64 more. Trusted proxies speak for
/// many and are not counted. The map has an entry per address with such a connection.
pub struct Guests {
    max_per_ip: usize,
    proxies: Vec<IpNet>,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
}

/// For requests of clients that have as many connections as they may.
const SPARE_GUESTS: usize = 64;

/// The place of one of them, given back when it is dropped; none for a trusted proxy.
pub struct GuestPlace(Option<(Arc<Guests>, IpAddr)>);

impl Guests {
    /// Where so many connections of an address may stay; 0 is no limit.
    pub fn new(max_per_ip: usize, proxies: Vec<IpNet>) -> Arc<Self> {
        let max_per_ip = match max_per_ip {
            0 => usize::MAX,
            max => max.saturating_mul(2).saturating_add(SPARE_GUESTS),
        };
        Arc::new(Self { max_per_ip, proxies, by_ip: Mutex::default() })
    }

    /// Takes a place; none if the address has as many as it may.
    pub fn take(self: &Arc<Self>, peer: IpAddr) -> Option<GuestPlace> {
        let ip = peer.to_canonical();
        if self.max_per_ip == usize::MAX || self.proxies.iter().any(|net| net.contains(&ip)) {
            return Some(GuestPlace(None));
        }
        let mut by_ip = self.by_ip.lock();
        let count = by_ip.entry(ip).or_default();
        if *count >= self.max_per_ip {
            return None;
        }
        *count += 1;
        Some(GuestPlace(Some((self.clone(), ip))))
    }
}

impl Drop for GuestPlace {
    fn drop(&mut self) {
        let Some((guests, ip)) = &self.0 else { return };
        let mut by_ip = guests.by_ip.lock();
        if let Some(count) = by_ip.get_mut(ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(ip);
            }
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

    #[test]
    fn guests_are_counted_by_address_unless_they_are_proxies() {
        let guests = Guests::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        let (stranger, proxy) =
            ("::ffff:203.0.113.7".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let mut held: Vec<_> = (0..66).map(|_| guests.take(stranger).unwrap()).collect();
        assert!(guests.take("203.0.113.7".parse().unwrap()).is_none());
        assert!(guests.take("203.0.113.8".parse().unwrap()).is_some());
        let proxied: Vec<_> = (0..100).map(|_| guests.take(proxy).unwrap()).collect();
        held.pop();
        assert!(guests.take(stranger).is_some());
        drop((held, proxied));
        assert!(guests.by_ip.lock().is_empty());
        let unlimited = Guests::new(0, Vec::new());
        assert!((0..10_000).all(|_| unlimited.take(stranger).is_some()));
    }
}
