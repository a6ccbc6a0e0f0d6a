//! The heartbeat of one worker: looks at each of its connections when it is due,
//! pings the silent, warns those whose token ends, closes the lost.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler};
use hubbub_protocol::{
    close::CloseCode,
    event::{Event, TokenExpiring},
    wire::FormatId,
};

use crate::{
    contain::contain,
    frame::Frame,
    messages::Watch,
    outbound::Class,
    session::{
        Connection, Wire,
        heartbeat::{Verdict, Wheel, judge},
    },
    shared::Shared,
};

/// Ticks of one turn of the wheel.
const TICKS: usize = 512;

/// A connection to look at.
struct Entry {
    connection: Weak<Connection>,
    format: FormatId,
    watch: u32,
}

/// The heart of one worker.
pub struct Heart {
    shared: Arc<Shared>,
    wheel: Wheel<Entry>,
    tick: Duration,
    ping: Frame,
    drained: bool,
    engine_ping: Frame,
}

impl Heart {
    /// A heart that beats often enough for the configured times.
    pub fn new(shared: Arc<Shared>) -> Self {
        let s = &shared.settings;
        let shortest = s.heartbeat.heartbeat_ms.min(s.heartbeat.timeout_ms).min(s.auth_timeout_ms);
        let engine = &s.engine;
        let shortest = shortest
            .min(engine.heartbeat.heartbeat_ms)
            .min(engine.heartbeat.timeout_ms)
            .min(engine.connect_timeout_ms);
        let tick_ms = (shortest / 10).clamp(20, 250);
        let now = shared.clock.now();
        Self {
            wheel: Wheel::new(tick_ms, TICKS, now),
            tick: Duration::from_millis(tick_ms),
            ping: Frame::ping(b""),
            drained: false,
            engine_ping: Frame::text(b"2"),
            shared,
        }
    }

    fn look(&mut self, connection: &Arc<Connection>, format: FormatId, watch: u32, now: u64) {
        if connection.outbound.closing().is_some() || !connection.is_watched_by(watch) {
            return;
        }
        let vitals = connection.vitals();
        if self.shared.is_draining() && vitals.auth_deadline != u64::MAX {
            return connection.close(CloseCode::Draining);
        }
        let times = connection.heartbeat(&self.shared.settings);
        let (verdict, mut next) = judge(&vitals, now, &times);
        match verdict {
            // The ping may not have left yet: while something waits, the stall timer
            // judges. Nothing but the ping judges a client that polls no more.
            Verdict::Close(CloseCode::HeartbeatMissed)
                if matches!(connection.wire, Wire::Json) && !connection.outbound.is_empty() =>
            {
                connection.pinged(now);
                next = now + times.timeout_ms;
            }
            Verdict::Fine => {}
            Verdict::Ping => {
                let ping = match connection.wire {
                    Wire::Engine => &self.engine_ping,
                    Wire::Json | Wire::Namespace { .. } => &self.ping,
                };
                connection.pinged(now);
                connection.outbound.ping(ping);
            }
            Verdict::Warn => {
                connection.warned();
                let event = Event::TokenExpiring(TokenExpiring {
                    at: self.shared.clock.told(vitals.expires_at),
                });
                if let Some(payload) = self.shared.format(format).event(&event) {
                    connection.outbound.push(&Frame::rendered(&payload), Class::Reply);
                }
            }
            Verdict::Close(code) => return connection.close(code),
        }
        let connection = Arc::downgrade(connection);
        self.wheel.add(next, Entry { connection, format, watch });
    }

    fn beat(&mut self) {
        let now = self.shared.clock.now();
        let due = if self.shared.is_draining() && !std::mem::replace(&mut self.drained, true) {
            // Who is not authenticated is in nobody's list of sessions.
            self.wheel.take_all()
        } else {
            self.wheel.advance(now)
        };
        for entry in due {
            if let Some(connection) = entry.connection.upgrade() {
                self.look(&connection, entry.format, entry.watch, now);
            }
        }
    }
}

impl Actor for Heart {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.tick, |act, _| {
            let shared = act.shared.clone();
            contain(&shared, "heart", || act.beat());
        });
    }
}

impl Handler<Watch> for Heart {
    type Result = ();

    fn handle(&mut self, watch: Watch, _: &mut Self::Context) {
        let now = self.shared.clock.now();
        let number = watch.connection.watch();
        self.look(&watch.connection, watch.format, number, now);
    }
}
