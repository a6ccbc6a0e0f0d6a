//! From the arguments of an event to a command. The sentences of its errors are
//! those of the JSON wire, with the client's own names in them.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{
    args::{Args, Text},
    inbound::{Custom, Rule, Senders, Source, Target, Verb},
};
use crate::{
    error::{ErrorCode, HubError},
    event::{
        Auth, Command, Delivered, Direct, EventTarget, GetMembers, History, Join, Leave, Publish,
        PublishEvent, Read, SetPresence, SetTyping, Status,
    },
    id::{RoomName, UserId},
    limits::{
        DEFAULT_PAGE, MAX_DEPTH, MAX_EVENT_NAME, MAX_KEY, MAX_MEMBERS_PAGE, MAX_PAGE, MAX_USER_NAME,
    },
    position::Position,
    wire::json::depth,
};

/// One argument: its source in the arguments that came.
struct Arg<'s, 'a> {
    source: Option<&'s Source>,
    args: &'s Args<'a>,
    hub_name: &'static str,
}

impl<'s, 'a: 's> Arg<'s, 'a> {
    /// As errors name it: where the client puts it.
    fn shown(&self) -> &str {
        let place = self.source.and_then(|s| s.places.first());
        place.map_or(self.hub_name, |p| &p.shown)
    }

    fn missing(&self) -> HubError {
        HubError::bad_request(format!("`{}` is missing", self.shown()))
    }

    fn wrong(&self, expected: &str) -> HubError {
        HubError::bad_request(format!("`{}` must be {expected}", self.shown()))
    }

    /// Its JSON.
    fn json(&self) -> Result<Option<&'s str>, HubError> {
        let Some(source) = self.source else { return Ok(None) };
        for place in &source.places {
            let Some(json) = self.args.get(place)? else { continue };
            if !source.map.is_empty()
                && let Ok(Text(text)) = serde_json::from_str::<Text<'_>>(json)
                && let Some((_, mapped)) = source.map.iter().find(|(from, _)| **from == *text)
            {
                return Ok(Some(mapped));
            }
            return Ok(Some(json));
        }
        Ok(source.default.as_deref())
    }

    fn typed<T: DeserializeOwned>(&self, expected: &str) -> Result<Option<T>, HubError> {
        let Some(json) = self.json()? else { return Ok(None) };
        serde_json::from_str(json).map(Some).map_err(|_| self.wrong(expected))
    }

    fn text(&self) -> Result<Option<Cow<'s, str>>, HubError> {
        let Some(json) = self.json()? else { return Ok(None) };
        let numbers = self.source.is_some_and(|s| s.numbers);
        let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let text = match serde_json::from_str::<Text<'_>>(json) {
            Ok(Text(text)) => text,
            Err(_) if numbers && is_number => Cow::Borrowed(json),
            Err(_) => return Err(self.wrong("a string")),
        };
        let Some(source) = self.source else { return Ok(Some(text)) };
        if source.strip.is_empty() && source.prefix.is_empty() {
            return Ok(Some(text));
        }
        let bare = text.strip_prefix(&*source.strip).unwrap_or(&text);
        Ok(Some(Cow::Owned(format!("{}{bare}", source.prefix))))
    }

    fn need_text(&self) -> Result<Cow<'s, str>, HubError> {
        self.text()?.ok_or_else(|| self.missing())
    }

    fn flag(&self) -> Result<Option<bool>, HubError> {
        self.typed("true or false")
    }

    fn number(&self) -> Result<Option<u64>, HubError> {
        self.typed("a whole number, 0 or more")
    }

    fn limit(&self, default: usize, max: usize) -> Result<usize, HubError> {
        match self.typed::<usize>("a whole number")? {
            None => Ok(default),
            Some(n) if (1..=max).contains(&n) => Ok(n),
            Some(_) => Err(self.wrong(&format!("1 to {max}"))),
        }
    }

    fn room(&self) -> Result<Option<RoomName>, HubError> {
        self.text()?.map(RoomName::new).transpose()
    }

    fn need_room(&self) -> Result<RoomName, HubError> {
        RoomName::new(self.need_text()?)
    }

    fn user(&self) -> Result<Option<UserId>, HubError> {
        self.text()?.map(UserId::new).transpose()
    }

    fn need_user(&self) -> Result<UserId, HubError> {
        UserId::new(self.need_text()?)
    }

    fn key(&self) -> Result<Option<Box<str>>, HubError> {
        match self.text()? {
            Some(k) if k.is_empty() || k.len() > MAX_KEY => Err(HubError::bad_request(format!(
                "`{}` must have 1 to {MAX_KEY} bytes",
                self.shown()
            ))),
            key => Ok(key.map(Into::into)),
        }
    }

    fn data(&self) -> Result<Option<Box<RawValue>>, HubError> {
        let Some(json) = self.json()? else { return Ok(None) };
        if depth(json) > MAX_DEPTH {
            return Err(HubError::bad_request(format!(
                "`{}` is nested deeper than {MAX_DEPTH}",
                self.shown()
            )));
        }
        RawValue::from_string(json.to_owned()).map(Some).map_err(|_| self.wrong("JSON"))
    }
}

/// The command of a rule; none for `batch`, which the caller reads.
pub(super) fn command(rule: &Rule, args: &Args<'_>) -> Result<Option<Command>, HubError> {
    let arg = |hub_name: &'static str| Arg {
        source: rule.args.iter().find(|(name, _)| *name == hub_name).map(|(_, s)| s),
        args,
        hub_name,
    };
    if let Some(place) = &rule.echo
        && args.get(place)?.is_some()
    {
        return Ok(Some(Command::Batch(Vec::new())));
    }
    Ok(Some(match rule.verb {
        Verb::Auth => Command::Auth(auth(&arg("token"), &arg("userId"), &arg("username"))?),
        Verb::Join => Command::Join(Join {
            room: arg("roomId").need_room()?,
            since: arg("since").typed::<Position>("{\"epoch\",\"offset\"}")?,
        }),
        Verb::Leave => Command::Leave(Leave { room: arg("roomId").need_room()? }),
        Verb::Message => Command::Publish(Publish {
            room: arg("roomId").room()?,
            content: arg("content").need_text()?.into(),
            data: arg("data").data()?,
            key: arg("key").key()?,
            join: rule.join,
        }),
        Verb::Direct => Command::Direct(Direct {
            user: arg("userId").need_user()?,
            content: arg("content").need_text()?.into(),
            data: arg("data").data()?,
            key: arg("key").key()?,
        }),
        Verb::Typing => Command::Typing(SetTyping {
            room: arg("roomId").room()?,
            is_typing: arg("isTyping").flag()?.ok_or_else(|| arg("isTyping").missing())?,
        }),
        Verb::Presence => {
            let status = arg("status");
            let parsed = Status::parse(&status.need_text()?);
            let status = parsed.ok_or_else(|| status.wrong("online, away or offline"))?;
            Command::Presence(SetPresence { status })
        }
        Verb::Read => Command::Read(Read {
            room: arg("roomId").need_room()?,
            offset: arg("offset").number()?.ok_or_else(|| arg("offset").missing())?,
        }),
        Verb::Delivered => Command::Delivered(Delivered {
            room: arg("roomId").need_room()?,
            offset: arg("offset").number()?.ok_or_else(|| arg("offset").missing())?,
        }),
        Verb::Event => Command::Event(PublishEvent {
            to: EventTarget::Room(arg("roomId").room()?),
            name: event_name(&arg("name"))?,
            data: arg("data").data()?,
            volatile: arg("volatile").flag()?.unwrap_or(false),
            key: arg("key").key()?,
            echo: true,
            roles: None,
        }),
        Verb::History => Command::History(History {
            room: arg("roomId").need_room()?,
            after: arg("after").number()?,
            before: arg("before").number()?,
            limit: arg("limit").limit(DEFAULT_PAGE, MAX_PAGE)?,
        }),
        Verb::Members => Command::Members(GetMembers {
            room: arg("roomId").need_room()?,
            after: arg("after").user()?,
            limit: arg("limit").limit(MAX_MEMBERS_PAGE, MAX_MEMBERS_PAGE)?,
        }),
        Verb::Ping => Command::Ping,
        // Nothing to do is done, and so answered.
        Verb::Ignore => Command::Batch(Vec::new()),
        Verb::Batch => return Ok(None),
    }))
}

/// The items of a `batch`, each as its JSON.
pub(super) fn batch_items<'s, 'a: 's>(
    rule: &'s Rule,
    args: &'s Args<'a>,
) -> Result<Vec<&'s str>, HubError> {
    let source = rule.args.iter().find(|(name, _)| *name == "messages").map(|(_, s)| s);
    let arg = Arg { source, args, hub_name: "messages" };
    let json = arg.json()?.ok_or_else(|| arg.missing())?;
    let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| arg.wrong("a list"))?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

fn auth(token: &Arg<'_, '_>, user: &Arg<'_, '_>, username: &Arg<'_, '_>) -> Result<Auth, HubError> {
    let name = username.text()?;
    if name.as_ref().is_some_and(|n| n.len() > MAX_USER_NAME) {
        return Err(HubError::bad_request(format!(
            "`{}` must have at most {MAX_USER_NAME} bytes",
            username.shown()
        )));
    }
    Ok(Auth {
        token: token.text()?.map(Into::into),
        user: user.user()?,
        username: name.map(|n| n.as_ref().into()),
    })
}

fn event_name(arg: &Arg<'_, '_>) -> Result<Box<str>, HubError> {
    let name = arg.need_text()?;
    if name.is_empty() || name.len() > MAX_EVENT_NAME {
        return Err(HubError::bad_request(format!(
            "`{}` must have 1 to {MAX_EVENT_NAME} bytes",
            arg.shown()
        )));
    }
    Ok(name.into())
}

/// The command of a custom event that came under `name`.
pub(super) fn custom(name: &str, custom: &Custom, args: &Args<'_>) -> Result<Command, HubError> {
    let roles = match &custom.senders {
        Senders::Members => None,
        Senders::Roles(roles) => Some(roles.clone()),
        Senders::Backend => {
            return Err(HubError::new(ErrorCode::Forbidden, "only a backend may send this event"));
        }
    };
    let arg = |source, hub_name| Arg { source: Some(source), args, hub_name };
    let data = arg(&custom.data, "data").data()?;
    if data.as_ref().is_some_and(|data| data.get().len() > custom.max_bytes) {
        return Err(HubError::new(
            ErrorCode::TooLarge,
            format!("the event carries at most {} bytes", custom.max_bytes),
        ));
    }
    let name = custom.name.as_deref().unwrap_or(name);
    if super::reader::name_fault(name).is_some() {
        return Err(HubError::bad_request(format!(
            "the event's name must have 1 to {MAX_EVENT_NAME} bytes and no control characters"
        )));
    }
    Ok(Command::Event(PublishEvent {
        to: match custom.to {
            Target::Room => EventTarget::Room(arg(&custom.room, "roomId").room()?),
            Target::User => EventTarget::User(arg(&custom.user, "userId").need_user()?),
            Target::Everyone => EventTarget::Everyone,
        },
        name: name.into(),
        data,
        volatile: custom.volatile,
        key: match &custom.key {
            Some(source) => arg(source, "key").key()?,
            None => None,
        },
        echo: custom.echo,
        roles,
    }))
}
