//! What a connection is counted by, from its handshake to its end.

use std::{net::IpAddr, sync::Arc};

use hubbub_protocol::wire::engineio::Transport;

use crate::shared::Shared;

/// Has places for connections, and counts those that are taken.
pub trait Places: Send + Sync {
    /// A place that an address had is free again.
    fn give_back(&self, ip: IpAddr);
}

/// A connection's place; given back when dropped.
pub struct Place {
    /// Where it is.
    pub places: Arc<dyn Places>,
    /// Whose it is.
    pub ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back(self.ip);
    }
}

/// Counts one open connection; whatever limits the number of connections gets its
/// place back when the seat is dropped.
pub struct Seat {
    shared: Arc<Shared>,
    transport: Transport,
    _place: Place,
}

impl Seat {
    /// A connection opened on a transport.
    pub fn take(shared: &Arc<Shared>, transport: Transport, place: Place) -> Self {
        let metrics = &shared.metrics;
        metrics.connections.inc();
        metrics.transport_connections.with_label_values(&[transport.as_str()]).inc();
        Self { shared: shared.clone(), transport, _place: place }
    }

    /// What everybody on the node shares.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The connection goes on, on another transport.
    pub fn change(&mut self, transport: Transport) {
        let gauge = &self.shared.metrics.transport_connections;
        gauge.with_label_values(&[self.transport.as_str()]).dec();
        gauge.with_label_values(&[transport.as_str()]).inc();
        self.transport = transport;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.metrics.connections.dec();
        let gauge = &self.shared.metrics.transport_connections;
        gauge.with_label_values(&[self.transport.as_str()]).dec();
    }
}
