//! What travels and what happens.

use std::sync::Arc;

use hubbub_actors::{
    ports::{Appended, Page, StoreError},
    room_server::steps::Start,
    session_store::{KeptIdentity, KeptRoom, KeptSession, Owner},
};
use hubbub_protocol::{
    id::{RoomName, SessionId, UserId},
    position::Position,
    record::Stored,
};

use super::schedule::Op;

/// What a client tells its node.
#[derive(Clone, Debug)]
pub enum Up {
    /// Opens a session, or asks an earlier one back with the offset of the last event.
    Open(Option<(SessionId, Option<String>)>),
    /// Takes the rooms of an earlier session, from these positions on.
    Resume(SessionId, Vec<(usize, Position)>),
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
    /// It has a session, which is the one that it asked back if `recovered`.
    Opened { session: SessionId, recovered: bool },
    /// The rooms of its earlier session.
    Resumed(Vec<Resumed>),
    /// It is in a room; request 0 where it was in and starts over.
    Joined {
        room: usize,
        request: u64,
        position: Position,
        recovered: bool,
        messages: Vec<Arc<Stored>>,
        offset: Option<String>,
    },
    /// It cannot be let in now; try again.
    Refused(usize, u64),
    /// It has left; the text is the offset that the event carries.
    Left(Option<String>),
    /// A message, with the offset that it carries.
    Message(usize, Arc<Stored>, Option<String>),
    /// A publish is stored there.
    Ack(usize, String, Position),
    /// A publish was refused; try again.
    Nack,
    /// A heartbeat.
    Ping,
    /// The hub has closed the connection.
    Closed,
}

/// A room in the answer to `Resume`; without a position it is not in it.
#[derive(Clone, Debug)]
pub struct Resumed {
    pub room: usize,
    pub position: Option<Position>,
    pub recovered: bool,
    pub messages: Vec<Arc<Stored>>,
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
    /// To see whether a client that comes back misses nothing of a room.
    Cover { conn: u64, room: usize, after: u64 },
    /// To let one that does start over.
    Over { conn: u64, room: usize },
    /// The bridge looks where a room stands.
    Head { room: usize },
    /// It reads what a room misses.
    Above { room: usize, above: u64 },
    /// It lets a room start over.
    Reset { room: usize },
    /// It compares a room that is in order.
    Check { room: usize, stood: Option<Position> },
}

/// What the session store is asked.
#[derive(Clone, Debug)]
pub enum Call {
    Open(KeptIdentity),
    Join(KeptRoom),
    Leave(RoomName),
    Owns,
    Lost,
    Ended,
    Find,
    Claim,
}

/// What its answer is for.
pub enum After {
    Nothing,
    /// The session is kept.
    Opened(SessionId),
    /// A member is told that it is in.
    Joined {
        seat: Seat,
        start: Start,
        fresh: bool,
    },
    /// A session is told that it left a room.
    Left(SessionId, u64),
    /// A session that came back is still the newest one.
    Owner(SessionId, u64),
    /// A connection looks for its earlier session.
    Found(u64),
    /// It takes it over.
    Claimed(u64),
}

impl std::fmt::Debug for After {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("After")
    }
}

/// What the session store answers.
#[derive(Debug)]
pub enum Answered {
    Owned(bool),
    Session(Option<KeptSession>),
    Failed,
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
    pub ticket: u32,
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
    Gone {
        node: usize,
        life: u32,
        conn: u64,
    },
    /// A client learns it.
    Cut(usize, u64),
    /// A client that was frozen wakes up.
    Thaw(usize),
    /// A client tries to connect.
    Reconnect(usize),
    /// A client looks at what is not answered.
    Resend(usize),
    /// A member's start is known.
    Here {
        node: usize,
        life: u32,
        seat: Seat,
    },
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
    Appended {
        node: usize,
        life: u32,
        conn: u64,
        room: usize,
        text: String,
        answer: Answer,
        own: Vec<Arc<Stored>>,
    },
    /// A call reaches the session store.
    Call {
        node: usize,
        life: u32,
        session: SessionId,
        owner: Owner,
        call: Call,
        after: After,
    },
    /// Its answer reaches the node.
    Answered {
        node: usize,
        life: u32,
        after: After,
        answered: Answered,
    },
    /// A connection asks the session store again.
    Again {
        node: usize,
        life: u32,
        conn: u64,
    },
    /// A node learns that a session went on elsewhere.
    Replaced {
        node: usize,
        life: u32,
        session: SessionId,
        owner: Owner,
    },
    /// A room's channel is asked for, and is heard.
    Subscribe {
        node: usize,
        life: u32,
        link: u32,
        room: usize,
    },
    Heard {
        node: usize,
        life: u32,
        link: u32,
        room: usize,
    },
    /// A node sees that the store's channels are gone.
    Unheard {
        node: usize,
        life: u32,
        link: u32,
    },
    /// The bridge looks around.
    Look {
        node: usize,
        life: u32,
    },
    /// Who waits for a room to be heard has waited long enough.
    Impatient {
        node: usize,
        life: u32,
        seat: Seat,
    },
    /// A read reaches the store.
    Read {
        node: usize,
        life: u32,
        purpose: Purpose,
    },
    /// Its answer reaches the node.
    Page {
        node: usize,
        life: u32,
        purpose: Purpose,
        page: Result<Page, StoreError>,
    },
    /// A stored message reaches a node.
    Deliver {
        node: usize,
        life: u32,
        link: u32,
        stored: Arc<Stored>,
    },
    /// A room starts over.
    StartedOver {
        node: usize,
        life: u32,
        worker: usize,
        room: usize,
        page: Page,
    },
    /// A node reaches the store again.
    Healed {
        node: usize,
        life: u32,
    },
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
    /// The session store lets anybody change a session.
    NoFence,
    /// Offsets do not name the other rooms.
    NoTail,
    /// Who comes back is taken to be one message further.
    SkipOne,
}
