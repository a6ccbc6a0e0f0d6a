//! CONNECT: who may join which namespace.

use std::sync::Arc;

use bytestring::ByteString;
use hubbub_protocol::{
    close::CloseCode,
    error::{ErrorCode, HubError},
    event::{Auth, Command, ReplyId},
    pattern,
    vocabulary::Vocabulary,
    wire::{
        Format, json,
        socketio::{self, MAIN_NAMESPACE, RawJson, engine_frame},
    },
};

use super::{
    Engine, Joined, MAX_NAMESPACES, Member,
    app::{Accepted, App, ConnectRefused, Link, SocketLink},
    recover::{Recovering, Ticket},
    vocabulary,
};
use crate::session::{
    Connection, Wire,
    core::SessionCore,
    dispatch::{Outcome, Wait, identify},
};

/// What the reference says of a namespace that there is not.
const INVALID_NAMESPACE: &str = "Invalid namespace";

impl Engine {
    /// Joins a namespace, or answers why not; the connection stays in both cases.
    /// What it gives is to be waited for first.
    pub(super) fn connect(
        &mut self,
        namespace: ByteString,
        data: Option<&RawJson>,
    ) -> Option<Wait> {
        if self.worker.shared.is_draining() {
            self.connection.close(CloseCode::Draining);
            return None;
        }
        // A name that is kept must not keep the packet, with its token, alive.
        let namespace = match &*namespace {
            MAIN_NAMESPACE => ByteString::from_static(MAIN_NAMESPACE),
            other => ByteString::from(other),
        };
        let known = &self.worker.shared.settings.engine.namespaces;
        if !pattern::any_matches(known, &namespace) {
            let refusal = engine_frame(|out| {
                socketio::write_connect_error(out, &namespace, INVALID_NAMESPACE, None);
            });
            self.push_packet(refusal);
            return None;
        }
        if let Some(App::Namespaces(_)) = self.app.as_deref() {
            self.join_app(namespace, data);
            return None;
        }
        let settings = &self.worker.shared.settings.engine;
        let asked = vocabulary::wanted(data);
        let hello = self.hello.as_deref();
        let wanted = asked.as_deref().or_else(|| hello?.vocabulary.as_deref());
        let vocabulary = settings.choose(&namespace, wanted);
        let own = vocabulary.as_ref().ok().cloned().flatten();
        let no_token = hello.is_none_or(|h| h.token.is_none())
            && matches!(auth(data), Ok(auth) if auth.token.as_deref().is_none_or(str::is_empty));
        match vocabulary.and_then(|v| self.join(namespace.clone(), data, v)) {
            Ok(wait) => wait,
            Err(e) => {
                let own = own.as_ref().map(|v| v.connect_error(&e, no_token));
                self.refuse(&namespace, &e, own);
                None
            }
        }
    }

    fn join(
        &mut self,
        namespace: ByteString,
        data: Option<&RawJson>,
        vocabulary: Option<Arc<Vocabulary>>,
    ) -> Outcome {
        if self.joined.len() >= MAX_NAMESPACES {
            let why = format!("a connection may join {MAX_NAMESPACES} namespaces");
            return Err(HubError::new(ErrorCode::RateLimited, why));
        }
        let shared = self.worker.shared.clone();
        let mut auth = auth(data)?;
        if auth.token.is_none() {
            auth.token = self.hello.as_ref().and_then(|hello| hello.token.clone());
        }
        let anonymous = auth.token.is_none() && auth.user.is_none();
        // Where an event may say it later, nobody has to say it now.
        let later = anonymous && vocabulary.as_ref().is_some_and(|v| v.authenticates());
        let identity = if later { None } else { Some(identify(&shared, auth)?) };
        // A namespace has no comma.
        let name = vocabulary.as_ref().map_or("", |vocabulary| vocabulary.name());
        let name = format!("{namespace},{name}");
        let make = || {
            let format = Format::socketio(namespace.clone(), vocabulary.clone())
                .with_parser(shared.settings.engine.parser);
            if shared.sessions.is_some() { format.with_offsets() } else { format }
        };
        let lease = shared
            .formats
            .lease(&name, make)
            .ok_or_else(|| HubError::unavailable("too many namespaces are in use"))?;
        let format = lease.id;
        let now = shared.clock.now();
        let connection = Arc::new(Connection::new(
            Wire::Namespace { lease },
            self.connection.outbound.clone(),
            self.connection.peer,
            now,
            if later { now + shared.settings.auth_timeout_ms } else { u64::MAX },
        ));
        let mut core = SessionCore::new(self.worker.clone(), connection, format);
        if let Some(rate) = self.left_rate() {
            core.rate = rate;
        }
        let Some(identity) = identity else {
            self.push_packet(engine_frame(|out| {
                let pid = core.pid();
                socketio::write_connected(out, &namespace, &core.id.to_string(), pid.as_deref());
            }));
            core.watch();
            self.seat(&namespace, core);
            return Ok(None);
        };
        match Ticket::read(data).filter(|_| shared.sessions.is_some()) {
            Some(ticket) => {
                let found = Arc::default();
                let recovering = Recovering { namespace, core, identity, vocabulary, found };
                Ok(Some(self.recover(ticket, recovering)))
            }
            None => self.admit(namespace, core, identity, None),
        }
    }

    /// Asks the application.
    fn join_app(&mut self, namespace: ByteString, data: Option<&RawJson>) {
        let parser = self.worker.shared.settings.engine.parser;
        let link = Link::engine(self.connection.clone());
        let link = SocketLink::new(link, namespace.clone(), parser);
        let Some(App::Namespaces(app)) = self.app.as_deref_mut() else { return };
        let full = self.joined.len() >= MAX_NAMESPACES;
        let decided = if full { Err(ConnectRefused::full()) } else { app.connect(&link, data) };
        match decided {
            Ok(Accepted { sid, pid, mut socket }) => {
                self.push_packet(engine_frame(|out| {
                    socketio::write_connected(out, &namespace, &sid, pid.as_deref());
                }));
                self.connection.authenticated(None);
                socket.joined();
                self.joined.reserve_exact(1);
                self.joined.push(Joined::new(&namespace, Member::App(socket)));
            }
            Err(ConnectRefused { message, data }) => self.push_packet(engine_frame(|out| {
                let data = data.as_ref().map(RawJson::get);
                socketio::write_connect_error(out, &namespace, &message, data);
            })),
        }
    }
}

/// What the payload of a CONNECT says: `token`, or `userId` and `username`; whatever
/// else it has is not ours.
fn auth(data: Option<&RawJson>) -> Result<Auth, HubError> {
    let request = json::decode_named("auth", data.map(RawJson::get), ReplyId::None);
    match request.command? {
        Command::Auth(auth) => Ok(auth),
        _ => Err(HubError::bad_request("the auth payload is not understood")),
    }
}
