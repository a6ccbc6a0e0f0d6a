//! How many connections an address has on all nodes together, as far as it matters.
//!
//! A node tells of an address only when it has so many connections from it that the
//! sum could come near the limit: an eighth of each node's even part. So the sum is
//! too low by an eighth of the limit at most, plus what changed in the last moment.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use parking_lot::{Mutex, RwLock};

use super::store::Instance;

/// The addresses of the cluster. The maps are bounded by the connections.
pub struct Addresses {
    max: usize,
    /// From this many connections on an address is told of.
    floor: AtomicU32,
    own: Mutex<Own>,
    others: RwLock<HashMap<Instance, HashMap<IpAddr, u32>>>,
}

#[derive(Default)]
struct Own {
    /// What the others were told last; `UNSURE` if that is not known.
    told: HashMap<IpAddr, u32>,
    changed: HashMap<IpAddr, u32>,
}

const UNSURE: u32 = u32::MAX;

impl Addresses {
    /// Nobody is connected; an address may have `max` connections, 0: any number.
    pub fn new(max: usize) -> Self {
        let addresses = Self {
            max,
            floor: AtomicU32::new(1),
            own: Mutex::default(),
            others: RwLock::default(),
        };
        addresses.set_nodes(1);
        addresses
    }

    /// There are so many nodes.
    pub fn set_nodes(&self, nodes: usize) {
        let floor = self.max / (8 * nodes.max(1));
        self.floor.store(u32::try_from(floor).unwrap_or(UNSURE).max(1), Ordering::Relaxed);
    }

    /// Connections from an address on other nodes.
    pub fn elsewhere(&self, address: IpAddr) -> usize {
        let others = self.others.read();
        others.values().filter_map(|node| node.get(&address)).map(|n| *n as usize).sum()
    }

    /// This node has so many connections from an address now; says whether that is
    /// to be told.
    pub fn note(&self, address: IpAddr, count: usize) -> bool {
        if self.max == 0 {
            return false;
        }
        let count = u32::try_from(count).unwrap_or(UNSURE - 1);
        let mut own = self.own.lock();
        let matters = count >= self.floor.load(Ordering::Relaxed)
            || own.told.contains_key(&address)
            || own.changed.contains_key(&address);
        if matters {
            own.changed.insert(address, count);
        }
        matters
    }

    /// Takes up to `max` addresses to tell of, with their connections; 0: none worth
    /// telling.
    pub fn take(&self, max: usize) -> Vec<(IpAddr, u32)> {
        let floor = self.floor.load(Ordering::Relaxed);
        let mut own = self.own.lock();
        let some: Vec<(IpAddr, u32)> =
            own.changed.iter().take(max).map(|(address, count)| (*address, *count)).collect();
        let mut news = Vec::new();
        for (address, count) in some {
            own.changed.remove(&address);
            let count = if count < floor { 0 } else { count };
            let before = match count {
                0 => own.told.remove(&address),
                count => own.told.insert(address, count),
            };
            if before.unwrap_or(0) != count {
                news.push((address, count));
            }
        }
        news
    }

    /// These were perhaps not told.
    pub fn put_back(&self, news: &[(IpAddr, u32)]) {
        let mut own = self.own.lock();
        for (address, count) in news {
            own.told.insert(*address, UNSURE);
            own.changed.entry(*address).or_insert(*count);
        }
    }

    /// All is to be told again.
    pub fn tell_again(&self) {
        let mut own = self.own.lock();
        let Own { told, changed } = &mut *own;
        for (address, count) in told {
            if *count != UNSURE {
                changed.entry(*address).or_insert(*count);
                *count = UNSURE;
            }
        }
    }

    /// Another node has so many connections from these addresses now.
    pub fn set(&self, node: &Instance, counts: Vec<(IpAddr, u32)>) {
        let mut others = self.others.write();
        let known = others.entry(node.clone()).or_default();
        for (address, count) in counts {
            match count {
                0 => drop(known.remove(&address)),
                count => drop(known.insert(address, count)),
            }
        }
    }

    /// Another node is gone, or all nodes are to be read anew.
    pub fn forget(&self, node: Option<&Instance>) {
        let mut others = self.others.write();
        match node {
            Some(node) => drop(others.remove(node)),
            None => others.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    #[test]
    fn only_what_matters_is_told() {
        let a = Addresses::new(1024);
        a.set_nodes(4);
        // 1024 / (8 * 4)
        assert!(!a.note(ip(1), 31));
        assert!(a.note(ip(1), 32));
        assert_eq!(a.take(9), [(ip(1), 32)]);
        assert!(a.note(ip(1), 33) && a.note(ip(1), 32));
        assert_eq!(a.take(9), [], "it is what it was");
        assert!(a.note(ip(1), 31), "the others believe 32");
        assert_eq!(a.take(9), [(ip(1), 0)]);
        assert!(!a.note(ip(1), 30));
        assert!(!Addresses::new(0).note(ip(1), 9999));
    }

    #[test]
    fn what_was_perhaps_not_told_is_told_again() {
        let a = Addresses::new(8);
        a.note(ip(1), 2);
        a.note(ip(2), 1);
        let mut news = a.take(9);
        news.sort_unstable();
        assert_eq!(news, [(ip(1), 2), (ip(2), 1)]);
        a.note(ip(2), 0);
        a.put_back(&news);
        let mut news = a.take(9);
        news.sort_unstable();
        assert_eq!(news, [(ip(1), 2), (ip(2), 0)]);
        a.tell_again();
        assert_eq!(a.take(9), [(ip(1), 2)]);
        assert_eq!(a.take(9), []);
    }

    #[test]
    fn the_others_add_up() {
        let a = Addresses::new(8);
        let (x, y): (Instance, Instance) = ("x#1".into(), "y#1".into());
        a.set(&x, vec![(ip(1), 3), (ip(2), 1)]);
        a.set(&y, vec![(ip(1), 4)]);
        assert_eq!((a.elsewhere(ip(1)), a.elsewhere(ip(2)), a.elsewhere(ip(3))), (7, 1, 0));
        a.set(&x, vec![(ip(1), 0)]);
        assert_eq!(a.elsewhere(ip(1)), 4);
        a.forget(Some(&y));
        assert_eq!((a.elsewhere(ip(1)), a.elsewhere(ip(2))), (0, 1));
        a.forget(None);
        assert_eq!(a.elsewhere(ip(2)), 0);
    }
}
