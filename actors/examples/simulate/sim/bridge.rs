//! The bridge of a node: the hub's own table of where rooms stand, with the steps that
//! `redis_bridge/mod.rs` and `redis_bridge/repair.rs` do around it.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use hubbub_actors::{
    ports::{Page, StoreError},
    redis_bridge::table::{Head, Repaired, Room, Rooms, Verdict, known_id},
};
use hubbub_protocol::{id::RoomName, record::Stored};

use super::{
    check::Violation,
    event::{Event, Purpose, Sabotage},
    schedule::{ROOMS, WORKERS},
    world::{World, room_name},
};

/// Between two looks at what is not in order.
const TICK_MS: u64 = 20;
/// Between two comparisons of every room with the store.
pub const CHECK_MS: u64 = 2000;
/// How long a room is heard after its last member has left.
const LINGER: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub struct Bridge {
    rooms: Rooms,
    watched: BTreeSet<usize>,
    ticking: bool,
    /// Which connection to the store's channels it is on; none while `down`.
    pub link: u32,
    down: bool,
    /// What the store tells this connection.
    subscribed: BTreeSet<usize>,
}

impl Bridge {
    /// Whether the store tells this node of a room.
    pub fn is_subscribed(&self, room: &RoomName) -> bool {
        self.subscribed.iter().any(|known| room_name(*known) == *room)
    }

    fn room(&mut self, room: usize) -> Option<&mut Room> {
        self.rooms.get_mut(&room_name(room))
    }

    fn known(&mut self) -> Vec<usize> {
        (0..ROOMS).filter(|room| self.room(*room).is_some()).collect()
    }

    /// Whether members may read the history of a room and then hear it.
    pub fn is_open(&mut self, room: usize) -> bool {
        self.room(room).is_some_and(|r| r.live && r.is_open())
    }

    /// How many rooms it hears.
    pub fn len(&mut self) -> usize {
        self.known().len()
    }
}

impl World {
    fn instant(&self) -> Instant {
        self.began + Duration::from_millis(self.now)
    }

    fn bridged(&mut self, node: usize, room: usize) -> Option<&mut Room> {
        self.nodes[node].bridge.as_mut()?.room(room)
    }

    /// A worker of the node has its first member in a room.
    pub fn bridge_enter(&mut self, node: usize, room: usize) {
        let Some(bridge) = &mut self.nodes[node].bridge else { return };
        if bridge.rooms.add(&room_name(room)) && !bridge.down {
            self.subscribe(node, room);
        }
    }

    fn subscribe(&mut self, node: usize, room: usize) {
        let this = &self.nodes[node];
        let Some(bridge) = &this.bridge else { return };
        let (life, link) = (this.life, bridge.link);
        // On a network that loses it, it is sent again until it is heard.
        let ms = self.latency();
        self.after(ms, Event::Subscribe { node, life, link, room });
    }

    /// The store has begun to tell a node of a room.
    pub fn subscribed(&mut self, node: usize, life: u32, link: u32, room: usize) {
        if self.nodes[node].cut_until > self.now {
            return;
        }
        let ms = self.latency();
        let now = self.now;
        let this = &mut self.nodes[node];
        let Some(bridge) = this.bridge.as_mut().filter(|bridge| bridge.link == link) else {
            return;
        };
        bridge.subscribed.insert(room);
        this.channel_at = this.channel_at.max(now + ms);
        let at = this.channel_at;
        self.at(at, Event::Heard { node, life, link, room });
    }

    /// A room's channel is heard.
    pub fn heard(&mut self, node: usize, link: u32, room: usize) -> Result<(), Violation> {
        if self.nodes[node].bridge.as_ref().is_some_and(|bridge| bridge.link == link)
            && let Some(entry) = self.bridged(node, room)
        {
            entry.live = true;
            self.attend(node, room);
        }
        Ok(())
    }

    /// The node sees that its channels are gone.
    pub fn unheard(&mut self, node: usize, link: u32) {
        if self.nodes[node].cut_until < self.now {
            return;
        }
        let Some(bridge) = self.nodes[node].bridge.as_mut().filter(|b| b.link == link) else {
            return;
        };
        bridge.link += 1;
        bridge.down = true;
        bridge.subscribed.clear();
        for room in bridge.known() {
            if let Some(entry) = bridge.room(room) {
                entry.lose();
            }
            bridge.watched.insert(room);
        }
    }

    /// The store is reached again.
    pub fn bridge_heal(&mut self, node: usize) {
        let Some(bridge) = &self.nodes[node].bridge else { return };
        if !bridge.down {
            // What was published meanwhile is lost, and so is the connection.
            let link = bridge.link;
            self.unheard(node, link);
        }
        let Some(bridge) = &mut self.nodes[node].bridge else { return };
        bridge.down = false;
        for room in bridge.known() {
            self.subscribe(node, room);
        }
        self.watch(node);
    }

    /// The last member of the node has left a room.
    pub fn bridge_exit(&mut self, node: usize, room: usize) {
        let now = self.instant();
        if let Some(entry) = self.bridged(node, room) {
            entry.emptied(now);
        }
    }

    /// Records of a room come by the channel, or by the answer to the node's own publish.
    pub fn bridge_take(&mut self, node: usize, records: Vec<Arc<Stored>>) {
        let now = self.instant();
        let Some(room) = records.first().and_then(|r| number(&r.record.room)) else { return };
        let Some(entry) = self.bridged(node, room) else { return };
        let mut out = Vec::new();
        for record in records {
            if !entry.has(record.position) {
                out.extend(entry.accept(record, now));
            }
        }
        let in_order = entry.in_order();
        self.hand_on(node, out);
        if !in_order {
            self.attend(node, room);
        }
    }

    fn hand_on(&mut self, node: usize, records: Vec<Arc<Stored>>) {
        for stored in records {
            self.deliver(node, &stored);
        }
    }

    fn attend(&mut self, node: usize, room: usize) {
        let now = self.instant();
        let Some(bridge) = &mut self.nodes[node].bridge else { return };
        bridge.watched.insert(room);
        if bridge.room(room).is_some_and(|r| r.wants_look(now)) {
            self.look_at(node, room);
        }
        self.watch(node);
    }

    /// Has the bridge look around soon, while something is out of order.
    fn watch(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        let life = this.life;
        let Some(bridge) = &mut this.bridge else { return };
        if !bridge.watched.is_empty() && !bridge.ticking {
            bridge.ticking = true;
            self.after(TICK_MS, Event::Look { node, life });
        }
    }

    /// The bridge looks around.
    pub fn look_around(&mut self, node: usize) {
        let now = self.instant();
        let Some(bridge) = &mut self.nodes[node].bridge else { return };
        bridge.ticking = false;
        if !bridge.down {
            let rooms = &mut bridge.rooms;
            bridge
                .watched
                .retain(|room| rooms.get_mut(&room_name(*room)).is_some_and(|r| !r.in_order()));
            let due =
                |room: &usize| rooms.get_mut(&room_name(*room)).is_some_and(|r| r.wants_look(now));
            let due: Vec<usize> = bridge.watched.iter().copied().filter(due).collect();
            for room in due {
                self.look_at(node, room);
            }
        }
        self.watch(node);
    }

    fn look_at(&mut self, node: usize, room: usize) {
        if self.sabotage == Some(Sabotage::NoRepair) {
            return;
        }
        if let Some(entry) = self.bridged(node, room) {
            entry.look();
            self.send_read(node, Purpose::Head { room });
        }
    }

    fn look_failed(&mut self, node: usize, room: usize) {
        let now = self.instant();
        if let Some(entry) = self.bridged(node, room) {
            entry.look_failed(now);
        }
    }

    /// The store has answered the bridge.
    pub fn bridge_page(
        &mut self,
        node: usize,
        purpose: Purpose,
        page: Result<Page, StoreError>,
    ) -> Result<(), Violation> {
        let now = self.instant();
        match purpose {
            Purpose::Check { room, stood } => {
                if let (Ok(page), Some(entry)) = (page, self.bridged(node, room)) {
                    entry.expect(head(&page), stood, now);
                    if !entry.in_order() {
                        self.attend(node, room);
                    }
                }
                Ok(())
            }
            Purpose::Head { room } => {
                let Some(entry) = self.bridged(node, room) else { return Ok(()) };
                let Some(page) = page.ok().filter(|_| entry.live) else {
                    self.look_failed(node, room);
                    return Ok(());
                };
                let (records, verdict) = entry.looked(head(&page));
                self.hand_on(node, records);
                self.follow(node, room, verdict)
            }
            Purpose::Above { room, .. } => {
                let Some(entry) = self.bridged(node, room) else { return Ok(()) };
                let Some(page) = page.ok().filter(|_| entry.live) else {
                    self.look_failed(node, room);
                    return Ok(());
                };
                match entry.repaired(page) {
                    Repaired::Lost => {
                        self.send_read(node, Purpose::Reset { room });
                        Ok(())
                    }
                    Repaired::Records(records, verdict) => {
                        self.hand_on(node, records);
                        self.follow(node, room, verdict)
                    }
                }
            }
            Purpose::Reset { room } => {
                let Some(entry) = self.bridged(node, room) else { return Ok(()) };
                let Some(page) = page.ok().filter(|_| entry.live) else {
                    self.look_failed(node, room);
                    return Ok(());
                };
                let records = entry.reset(page.head, page.records.last().and_then(known_id));
                for worker in 0..WORKERS {
                    self.begin_anew(node, worker, room, page.clone());
                }
                self.hand_on(node, records);
                self.opened(node, room)
            }
            _ => Ok(()),
        }
    }

    fn follow(&mut self, node: usize, room: usize, verdict: Verdict) -> Result<(), Violation> {
        match verdict {
            Verdict::Fine => self.opened(node, room),
            Verdict::Read(above) => {
                self.stats.repairs += 1;
                self.send_read(node, Purpose::Above { room, above });
                Ok(())
            }
            Verdict::Rolled(_) | Verdict::Reset => {
                Err(format!("room {room}: {verdict:?}, and the store lost nothing"))
            }
        }
    }

    /// Compares every room with the store, and leaves those that nobody is in.
    pub fn check_all(&mut self, node: usize) {
        let now = self.instant();
        let this = &mut self.nodes[node];
        let Some(bridge) = &mut this.bridge else { return };
        let relay = &this.relay;
        if let Some(before) = now.checked_sub(LINGER) {
            for name in bridge.rooms.take_idle(before, |room| relay.is_occupied(room)) {
                if let Some(room) = number(&name) {
                    bridge.subscribed.remove(&room);
                    bridge.watched.remove(&room);
                }
            }
        }
        if bridge.down {
            return;
        }
        for room in bridge.known() {
            let Some(bridge) = &mut self.nodes[node].bridge else { return };
            let Some(entry) = bridge.room(room).filter(|r| r.live && r.in_order()) else {
                continue;
            };
            let stood = entry.position();
            self.send_read(node, Purpose::Check { room, stood });
        }
    }
}

/// Where a room stands, as a page of its newest record says.
fn head(page: &Page) -> Head {
    let position = Some(page.head);
    Head { position, last: page.records.last().and_then(known_id) }
}

/// The number of a room.
pub fn number(name: &RoomName) -> Option<usize> {
    (0..ROOMS).find(|room| room_name(*room) == *name)
}
