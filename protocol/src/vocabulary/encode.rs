//! Events and answers to names and JSON.

use super::{
    Vocabulary,
    bag::{Bag, Item},
    outbound,
    shape::{Name, Object, Rule, SenderCopy, Shape, To},
};
use crate::{
    error::HubError,
    event::{Event, EventKind, Fields as _, Fieldset, Reply, ReplyId},
    wire::socketio::is_reserved_event,
};

/// For whom an event is rendered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Copy {
    /// Everybody but the session that sent it.
    Others,
    /// The session that sent it.
    Sender,
    /// A session of the user whom it is about: who joined, types or came online, and
    /// for a receipt who wrote the message.
    Own,
}

/// An event with its name and its arguments, each one JSON value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rendered {
    /// The event's name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// The answer to a Socket.IO event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The arguments of its ack.
    Ack(Vec<String>),
    /// An event of its own, because no ack was asked for.
    Event(Rendered),
}

impl Vocabulary {
    /// Renders an event for Socket.IO; none if the vocabulary does not have it.
    pub fn encode(&self, event: &Event, copy: Copy) -> Option<Rendered> {
        let bag = Bag::of(self, event);
        let (name, shape) = self.choose(event, &bag, copy)?;
        Some(Rendered { name: name.to_owned(), args: shape.args(&bag, self.epoch_ms) })
    }

    /// Renders an event as one text frame of the JSON wire; none if the vocabulary
    /// does not have it.
    pub fn encode_json(&self, event: &Event, copy: Copy) -> Option<Vec<u8>> {
        let bag = Bag::of(self, event);
        let (name, shape) = self.choose(event, &bag, copy)?;
        let mut out = String::with_capacity(256);
        self.typed(name, shape, &bag, &mut out);
        Some(out.into_bytes())
    }

    fn typed(&self, name: &str, shape: &Shape, bag: &Bag<'_>, out: &mut String) {
        let mut object = self.open(name, out);
        shape.members(bag, self.epoch_ms, &mut object);
        object.close();
    }

    /// Opens an object with its type.
    fn open<'a>(&'a self, name: &str, out: &'a mut String) -> Object<'a> {
        let mut object = Object::open(out);
        object.reserved = &self.json.kind;
        object.name(&self.json.kind);
        super::json_text(object.text, name);
        object
    }

    /// Name and shape of an event.
    fn choose<'a>(
        &'a self,
        event: &dyn Fieldset,
        bag: &'a Bag<'_>,
        copy: Copy,
    ) -> Option<(&'a str, &'a Shape)> {
        let rule = self.rule(event, bag)?;
        match (rule.to, copy) {
            (To::Others, Copy::Own) | (To::Author, Copy::Others | Copy::Sender) => return None,
            _ => {}
        }
        let (name, shape) = match (&rule.sender, copy) {
            (SenderCopy::None, Copy::Sender) => return None,
            (SenderCopy::Own(name, shape), Copy::Sender) => (name, shape),
            _ => (&rule.name, &rule.shape),
        };
        let text = name.of(bag)?;
        if matches!(name, Name::Field(_)) && !self.may_pass(text, bag) {
            return None;
        }
        Some((text, shape))
    }

    /// Which rendering a copy is: one that is no other than that of the others needs
    /// none of its own.
    pub fn copy(&self, event: &Event, copy: Copy) -> Copy {
        match copy {
            Copy::Sender if !self.distinguishes => Copy::Others,
            Copy::Own => {
                let rules = outbound::slot(event.kind()).map(|slot| &self.outbound.kinds[slot]);
                let same = rules.is_none_or(|r| r.iter().all(|rule| rule.to == To::Everyone));
                if same { Copy::Others } else { Copy::Own }
            }
            copy => copy,
        }
    }

    fn rule(&self, event: &dyn Fieldset, bag: &Bag<'_>) -> Option<&Rule> {
        let kind = event.kind();
        if kind == Some(EventKind::Event)
            && let Some(Item::Text(name)) = bag.get("name")
            && let Some(rules) = self.custom.get(&**name)
        {
            return rules.iter().find(|rule| rule.applies(bag));
        }
        self.outbound.kinds[outbound::slot(kind)?].iter().find(|rule| rule.applies(bag))
    }

    /// A custom event may keep its own name unless the libraries forbid it or a
    /// user could pass it off as something that the hub says.
    fn may_pass(&self, name: &str, bag: &Bag<'_>) -> bool {
        let by_user = bag.get("userId").is_some();
        !(is_reserved_event(name) || by_user && self.own_names.contains(name))
    }

    /// Writes a part of a list; false if the vocabulary does not have it.
    pub(super) fn item(&self, item: &dyn Fieldset, out: &mut String) -> bool {
        let bag = Bag::of(self, item);
        if item.kind().is_none() {
            let mut object = Object::open(out);
            let shape = self.rule(item, &bag).map_or(&Shape::All, |rule| &rule.shape);
            shape.members(&bag, self.epoch_ms, &mut object);
            object.close();
            return true;
        }
        let Some((name, shape)) = self.choose(item, &bag, Copy::Others) else { return false };
        match shape {
            Shape::Args(_) => match &shape.args(&bag, self.epoch_ms)[..] {
                [one] => out.push_str(one),
                _ => return false,
            },
            _ => self.typed(name, shape, &bag, out),
        }
        true
    }

    /// Renders the answer to a Socket.IO event; none if there is nothing to say.
    pub fn reply(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Answer> {
        let acked = matches!(id, ReplyId::SocketIo(_));
        match reply {
            Ok(reply) => {
                let bag = Bag::of(self, reply);
                let rule = &self.outbound.replies[outbound::reply_slot(reply_name(reply))?];
                if acked {
                    return Some(Answer::Ack(self.ok_shape(reply).args(&bag, self.epoch_ms)));
                }
                let name = rule.event.as_deref()?.to_owned();
                let shape = rule.shape.as_ref().unwrap_or(&Shape::All);
                Some(Answer::Event(Rendered { name, args: shape.args(&bag, self.epoch_ms) }))
            }
            Err(error) => {
                let bag = self.error_bag(error);
                if acked {
                    let slot = outbound::reply_slot("error")?;
                    let shape = self.outbound.replies[slot].shape.as_ref();
                    return Some(Answer::Ack(match shape {
                        Some(shape) => shape.args(&bag, self.epoch_ms),
                        None => vec![failure(&bag)],
                    }));
                }
                let (name, shape) = self.outbound.error.as_ref()?;
                let args = shape.args(&bag, self.epoch_ms);
                Some(Answer::Event(Rendered { name: name.to_string(), args }))
            }
        }
    }

    /// Renders the answer to a request of the JSON wire as one text frame; none if
    /// there is nothing to say.
    pub fn reply_json(&self, id: &ReplyId, reply: &Result<Reply, HubError>) -> Option<Vec<u8>> {
        let id = match id {
            ReplyId::Json(id) => self.json.id.as_ref().map(|field| (field, id)),
            ReplyId::None | ReplyId::SocketIo(_) => None,
        };
        let all = Shape::All;
        let (name, shape, bag): (&str, &Shape, Bag<'_>) = match reply {
            Err(error) => {
                let (name, shape) = self.outbound.error.as_ref()?;
                (name, shape, self.error_bag(error))
            }
            Ok(reply) if id.is_some() => {
                (&self.json.ack, self.ok_shape(reply), Bag::of(self, reply))
            }
            Ok(reply) => {
                let rule = &self.outbound.replies[outbound::reply_slot(reply_name(reply))?];
                let shape = rule.shape.as_ref().unwrap_or(&all);
                (rule.event.as_deref()?, shape, Bag::of(self, reply))
            }
        };
        let mut out = String::with_capacity(128);
        let mut object = self.open(name, &mut out);
        if let Some((field, id)) = id {
            object.name(field);
            object.text.push_str(id);
        }
        shape.members(&bag, self.epoch_ms, &mut object);
        object.close();
        Some(out.into_bytes())
    }

    /// The shape of the ack of a success.
    fn ok_shape(&self, reply: &Reply) -> &Shape {
        let named = |name| {
            let slot = outbound::reply_slot(name)?;
            self.outbound.replies[slot].shape.as_ref()
        };
        named(reply_name(reply)).or_else(|| named("ok")).unwrap_or(&Shape::All)
    }

    fn error_bag(&self, error: &HubError) -> Bag<'_> {
        let code = error.code.as_str();
        let own = self.outbound.messages.iter().find(|(known, _)| *known == code);
        let mut bag = Bag::empty(self);
        bag.text("code", code);
        bag.text("message", own.map_or(&*error.message, |(_, text)| text));
        bag
    }
}

/// The ack of a refusal where the vocabulary says nothing: it must not look like
/// a success.
fn failure(bag: &Bag<'_>) -> String {
    let mut json = String::new();
    let mut object = Object::open(&mut json);
    object.name("ok");
    object.text.push_str("false");
    Shape::All.members(bag, false, &mut object);
    object.close();
    json
}

fn reply_name(reply: &Reply) -> &'static str {
    match reply {
        Reply::Done => "done",
        Reply::Published { .. } => "published",
        Reply::Sent { .. } => "sent",
        Reply::Joined { .. } => "joined",
        Reply::Resumed { .. } => "resumed",
        Reply::History { .. } => "history",
        Reply::Receipts { .. } => "receipts",
        Reply::Members { .. } => "members",
    }
}
