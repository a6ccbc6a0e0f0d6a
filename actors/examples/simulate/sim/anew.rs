//! How a room gets what it misses, and how it starts over: the other half of
//! `room_server/catchup.rs`.

use std::sync::Arc;

use hubbub_actors::{
    ports::{Page, StoreError},
    room_server::steps::repaired,
};
use hubbub_protocol::{id::SessionId, record::Stored};

use super::{
    event::{Down, Event, Purpose},
    schedule::{ROOMS, WORKERS},
    world::{World, room_name},
};

impl World {
    pub(super) fn repaired(
        &mut self,
        node: usize,
        worker: usize,
        room: usize,
        after: u64,
        page: Result<Page, StoreError>,
    ) {
        let Ok(page) = page else {
            return self.send_read(node, Purpose::Repair { worker, room, after });
        };
        let table = &mut self.nodes[node].tables[worker];
        let Some((fresh, above)) = repaired(table, &room_name(room), page) else {
            // What is missing is not kept any more.
            return self.send_read(node, Purpose::Anew { worker, room });
        };
        for stored in fresh {
            self.hand_out(node, worker, room, &stored);
        }
        if let Some(after) = above {
            self.send_read(node, Purpose::Repair { worker, room, after });
        }
    }

    /// Messages of a room are gone that its members were not given: they are told so.
    pub(super) fn begin_anew(&mut self, node: usize, worker: usize, room: usize, page: Page) {
        let this = &mut self.nodes[node];
        if this.tables[worker].hold(&room_name(room)) {
            // Meanwhile the presence tracker is asked for the members.
            let (life, pause) = (this.life, self.random.below(20));
            self.after(pause, Event::StartedOver { node, life, worker, room, page });
        }
    }

    /// The same, with the members known.
    pub fn started_over(&mut self, node: usize, worker: usize, room: usize, page: &Page) {
        let table = &mut self.nodes[node].tables[worker];
        let (told, more): (Vec<SessionId>, bool) = table.start_over(&room_name(room), page.head);
        for session in told {
            if let Some(state) = self.nodes[node].sessions.get(&session)
                && let Some(marks) = state.keeping.marks()
            {
                marks.lock().set(&room_name(room), page.head);
            }
            let messages: Vec<Arc<Stored>> = page.records.clone();
            let (position, recovered, offset) = (page.head, false, self.tail(node, session));
            let joined = Down::Joined { room, request: 0, position, recovered, messages, offset };
            self.tell(node, session, joined);
        }
        if more {
            self.send_read(node, Purpose::Repair { worker, room, after: page.head.offset });
        }
    }

    /// The store is reached again: every room looks for what it has missed.
    pub fn heal(&mut self, node: usize) {
        if self.nodes[node].bridge.is_some() {
            return self.bridge_heal(node);
        }
        for worker in 0..WORKERS {
            let mut rooms = self.nodes[node].tables[worker].suspect();
            // In an order that does not hang on a hash.
            rooms.sort();
            for (name, after) in rooms {
                if let Some(room) = (0..ROOMS).find(|room| room_name(*room) == name) {
                    self.send_read(node, Purpose::Repair { worker, room, after });
                }
            }
        }
    }
}
