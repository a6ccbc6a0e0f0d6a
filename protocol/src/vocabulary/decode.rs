//! Frames and events to requests.

use super::{
    Vocabulary,
    args::{Args, Members, Text},
    build,
    inbound::{self, Inbound, Rule, Verb},
};
use crate::{
    error::{ErrorCode, HubError},
    event::{Command, Direct, EventTarget, ReplyId, Request},
    id::{RoomName, UserId},
    limits::{MAX_BATCH, MAX_REQUEST_ID},
};

fn failed(message: &'static str) -> Request {
    Request { reply: ReplyId::None, command: Err(HubError::bad_request(message)) }
}

impl Vocabulary {
    /// Reads one text frame of the JSON wire.
    ///
    /// Never fails as a whole: a frame that cannot be understood gives a request
    /// whose command is the error to answer it with.
    pub fn decode_json(&self, text: &str) -> Request {
        match Members::parse(text) {
            Ok(members) => self.object(text, members, true),
            Err(e) if e.is_data() => failed("the frame is not a JSON object with each field once"),
            Err(_) => failed("the frame is not JSON"),
        }
    }

    /// Reads a Socket.IO event: its name, its arguments (each one JSON value
    /// without binary) and the id under which its ack is expected.
    ///
    /// Never fails as a whole, as [`Vocabulary::decode_json`].
    pub fn decode_event<A: AsRef<str>>(&self, name: &str, args: &[A], ack: Option<u64>) -> Request {
        let reply = ack.map_or(ReplyId::None, ReplyId::SocketIo);
        let args = Args::new(args.iter().map(AsRef::as_ref).collect());
        self.event(name, &args, reply, true)
    }

    fn object(&self, json: &str, members: Members<'_>, batch_allowed: bool) -> Request {
        let head = self.reply_id(&members).and_then(|reply| {
            let name = self.kind(&members)?;
            Ok((reply, name))
        });
        match head {
            Ok((reply, Ok(name))) => {
                let name = name.into_owned();
                self.event(&name, &Args::object(json, members), reply, batch_allowed)
            }
            Ok((reply, Err(error))) => Request { reply, command: Err(error) },
            Err(error) => Request { reply: ReplyId::None, command: Err(error) },
        }
    }

    /// The event's name. The outer error is one of the frame.
    #[allow(clippy::type_complexity)]
    fn kind<'a>(
        &self,
        members: &Members<'a>,
    ) -> Result<Result<std::borrow::Cow<'a, str>, HubError>, HubError> {
        let field = &self.json.kind;
        Ok(match members.get(field)? {
            None => Err(HubError::bad_request(format!("`{field}` is missing"))),
            Some(json) => serde_json::from_str::<Text<'a>>(json)
                .map(|text| text.0)
                .map_err(|_| HubError::bad_request(format!("`{field}` must be a string"))),
        })
    }

    fn reply_id(&self, members: &Members<'_>) -> Result<ReplyId, HubError> {
        let Some(field) = &self.json.id else { return Ok(ReplyId::None) };
        let Some(json) = members.get(field)? else { return Ok(ReplyId::None) };
        let simple = json.starts_with(|c: char| matches!(c, '"' | '-') || c.is_ascii_digit());
        if !simple || json.len() > MAX_REQUEST_ID {
            return Err(HubError::bad_request(format!(
                "`{field}` must be a string or a number of at most {MAX_REQUEST_ID} bytes"
            )));
        }
        Ok(ReplyId::Json(json.into()))
    }

    fn event(&self, name: &str, args: &Args<'_>, reply: ReplyId, batch_allowed: bool) -> Request {
        let word = if matches!(reply, ReplyId::SocketIo(_)) { "event" } else { &*self.json.kind };
        let found = self.inbound.get(name).filter(|_| name != inbound::ANY);
        let command = match found.or_else(|| self.inbound.get(inbound::ANY)) {
            Some(Inbound::Commands(rules)) => match &rules[..] {
                [rule] => self.command(rule, args, batch_allowed),
                rules => return self.several(rules, args, reply, batch_allowed),
            },
            Some(Inbound::Custom(custom)) => {
                build::custom(name, custom, args).map(|command| self.addressed(command))
            }
            None if self.ignore_unknown => Ok(Command::Batch(Vec::new())),
            None => Err(HubError::bad_request(inbound::unknown(word, name))),
        };
        Request { reply, command }
    }

    /// Several commands of one event: in order, and the last one answers.
    fn several(
        &self,
        rules: &[Rule],
        args: &Args<'_>,
        reply: ReplyId,
        batch_allowed: bool,
    ) -> Request {
        let mut requests: Vec<Request> = rules
            .iter()
            .map(|rule| Request {
                reply: ReplyId::None,
                command: self.command(rule, args, batch_allowed),
            })
            .collect();
        if let Some(last) = requests.last_mut() {
            last.reply = reply;
        }
        Request { reply: ReplyId::None, command: Ok(Command::Batch(requests)) }
    }

    fn command(
        &self,
        rule: &Rule,
        args: &Args<'_>,
        batch_allowed: bool,
    ) -> Result<Command, HubError> {
        match build::command(rule, args)? {
            Some(command) => Ok(self.addressed(command)),
            None if !batch_allowed => Err(HubError::bad_request("a batch cannot hold a batch")),
            None => self.batch(rule, args),
        }
    }

    /// With `user_rooms`, what goes to `user:ID` goes to that user.
    fn addressed(&self, command: Command) -> Command {
        let user = |room: &Option<RoomName>| {
            room.as_ref()
                .filter(|_| self.user_rooms)
                .and_then(|room| UserId::new(room.personal_user()?).ok())
        };
        match command {
            Command::Publish(publish) => match user(&publish.room) {
                Some(user) => Command::Direct(Direct {
                    user,
                    content: publish.content,
                    data: publish.data,
                    key: publish.key,
                }),
                None => Command::Publish(publish),
            },
            Command::Event(mut event) => {
                if let EventTarget::Room(room) = &event.to
                    && let Some(user) = user(room)
                {
                    event.to = EventTarget::User(user);
                }
                Command::Event(event)
            }
            other => other,
        }
    }

    /// The commands of a batch: each item is an object with the event's name in
    /// it, or `{"event": <name>, "data": {...}}` as batching clients write it.
    fn batch(&self, rule: &Rule, args: &Args<'_>) -> Result<Command, HubError> {
        debug_assert!(rule.verb == Verb::Batch);
        let items = build::batch_items(rule, args)?;
        if items.len() > MAX_BATCH {
            return Err(HubError::new(
                ErrorCode::TooLarge,
                format!("a batch holds at most {MAX_BATCH} commands"),
            ));
        }
        Ok(Command::Batch(items.into_iter().map(|item| self.batch_item(item)).collect()))
    }

    fn batch_item(&self, json: &str) -> Request {
        let Ok(item) = Members::parse(json) else {
            return failed("a command in the batch is not an object with each field once");
        };
        let (Ok(None), Ok(Some(event))) = (item.get(&self.json.kind), item.get("event")) else {
            return self.object(json, item, false);
        };
        let Ok(data) = item.get("data") else {
            return failed("a command in the batch is not an object with each field once");
        };
        let data = data.unwrap_or("{}");
        let Ok(fields) = Members::parse(data) else {
            return failed("`data` of a command in the batch is not an object");
        };
        let reply = match self.reply_id(&item) {
            Ok(ReplyId::None) => self.reply_id(&fields),
            other => other,
        };
        match (reply, serde_json::from_str::<Text<'_>>(event)) {
            (Err(error), _) => Request { reply: ReplyId::None, command: Err(error) },
            (Ok(reply), Err(_)) => {
                let field = &self.json.kind;
                let error = HubError::bad_request(format!("`{field}` must be a string"));
                Request { reply, command: Err(error) }
            }
            (Ok(reply), Ok(name)) => self.event(&name.0, &Args::object(data, fields), reply, false),
        }
    }
}
