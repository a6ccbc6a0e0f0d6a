//! What travels and what happens.

use std::sync::Arc;

use hubbub_actors::ports::{Appended, Page, StoreError};
use hubbub_protocol::{
    id::{SessionId, UserId},
    position::Position,
    record::Stored,
};

use super::schedule::Op;

/// What a client tells its node.
#[derive(Clone, Debug)]
pub enum Up {
    /// Opens a session.
    Open,
    /// Joins a room, with a number that the answer repeats.
    Join(usize, Option<Position>, u64),
    /// Leaves it.
    Leave(usize),
    /// Publishes; the text is the key too.
    Publish(usize, String),
    /// Types or stops.
    Type(usize, bool),
    /// Is away or back.
    Away(bool),
    /// Answers a heartbeat.
    Pong,
    /// Closes.
    Close,
}

/// What a node tells a client.
#[derive(Clone, Debug)]
pub enum Down {
    /// It is in a room; request 0 where it was in and starts over.
    Joined {
        room: usize,
        request: u64,
        position: Position,
        recovered: bool,
        messages: Vec<Arc<Stored>>,
    },
    /// A message.
    Message(usize, Arc<Stored>),
    /// A publish is stored there.
    Ack(usize, String, Position),
    /// A publish was refused; try again.
    Nack,
    /// A heartbeat.
    Ping,
    /// The hub has closed the connection.
    Closed,
}

/// Why a node reads the history.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To find where a member begins.
    Start { seat: Seat, since: Option<Position> },
    /// The same, when what it has is not kept any more.
    Newest { seat: Seat },
    /// To bring a member on.
    CatchUp { seat: Seat, have: Position, round: usize },
    /// To fill a gap of a room.
    Repair { worker: usize, room: usize, after: u64 },
    /// To let a room start over whose gap cannot be filled.
    Anew { worker: usize, room: usize },
}

/// A membership on its way.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Which worker.
    pub worker: usize,
    /// Whose.
    pub session: SessionId,
    /// Where.
    pub room: usize,
    /// Which joining.
    pub ticket: u64,
    /// The number of the client's request.
    pub request: u64,
}

/// What the store answered to an append.
pub type Answer = Result<Appended, StoreError>;

/// Something that happens at a time.
#[derive(Debug)]
pub enum Event {
    /// The schedule.
    Op(Op),
    /// From a client to its node.
    Up(usize, u64, Up),
    /// From a node to a client.
    Down(usize, u64, Down),
    /// A node learns that a connection is gone.
    Gone { node: usize, life: u32, conn: u64 },
    /// A client learns it.
    Cut(usize, u64),
    /// A client that was frozen wakes up.
    Thaw(usize),
    /// A client tries to connect.
    Reconnect(usize),
    /// A client looks at what is not answered.
    Resend(usize),
    /// A member's start is known.
    Here { node: usize, life: u32, seat: Seat },
    /// An append reaches the store.
    Append {
        node: usize,
        life: u32,
        conn: u64,
        room: usize,
        text: String,
        user: UserId,
        answered: bool,
    },
    /// Its answer reaches the node.
    Appended { node: usize, life: u32, conn: u64, room: usize, text: String, answer: Answer },
    /// A read reaches the store.
    Read { node: usize, life: u32, purpose: Purpose },
    /// Its answer reaches the node.
    Page { node: usize, life: u32, purpose: Purpose, page: Result<Page, StoreError> },
    /// A stored message reaches a node.
    Deliver { node: usize, life: u32, stored: Arc<Stored> },
    /// A room starts over.
    StartedOver { node: usize, life: u32, worker: usize, room: usize, page: Page },
    /// A node reaches the store again.
    Healed { node: usize, life: u32 },
    /// A node is started again.
    Start(usize),
    /// A node's timers.
    Tick(usize),
    /// The end of the trouble.
    Calm,
    /// Everything must have settled: one last message to each room.
    Last,
    /// Everybody leaves.
    Leave,
}

/// A fault of the simulation itself, to see that its checks find something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// One message to one client is lost, and the connection stays.
    LoseMessage,
    /// One message is given to one client twice.
    RepeatMessage,
    /// Publishes are acknowledged before they are stored.
    EarlyAck,
    /// Gaps are not filled.
    NoRepair,
    /// Presence is not told that a session has closed.
    ForgetClose,
    /// Keys are not passed on to the store.
    NoKeys,
}
