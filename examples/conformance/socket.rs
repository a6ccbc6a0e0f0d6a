//! Profile `socket`: what the suite of the Socket.IO protocol expects.

use std::time::Duration;

use actix_http::RequestHead;
use hubbub::transport::application::Application;
use hubbub_actors::session::engine::app::{
    Accepted, App, ConnectRefused, MakeApp, NamespaceApp, SocketApp, SocketEvent, SocketLink,
};
use hubbub_protocol::wire::socketio::RawJson;

/// The namespaces that there are.
pub const NAMESPACES: [&str; 2] = ["/", "/custom"];

/// The suite waits for one message and then for the next one. Of two that come in one
/// segment, as the hub sends them, its WebSocket library shows it the first only.
const APART: Duration = Duration::from_millis(5);

/// The profile.
pub struct Socket;

impl Application for Socket {
    fn open(&self, _: &RequestHead) -> Option<MakeApp> {
        Some(Box::new(|_| App::Namespaces(Box::new(Protocol))))
    }
}

struct Protocol;

impl NamespaceApp for Protocol {
    fn connect(
        &mut self,
        namespace: &SocketLink,
        auth: Option<&RawJson>,
    ) -> Result<Accepted, ConnectRefused> {
        let auth = auth.map_or_else(|| "{}".to_owned(), |auth| auth.get().to_owned());
        let echoes = namespace.namespace() == "/";
        let socket = Box::new(Answers { link: namespace.clone(), auth, echoes });
        Ok(Accepted { sid: uuid::Uuid::new_v4().simple().to_string(), pid: None, socket })
    }
}

struct Answers {
    link: SocketLink,
    auth: String,
    echoes: bool,
}

impl SocketApp for Answers {
    fn joined(&mut self) {
        let (link, auth) = (self.link.clone(), self.auth.clone());
        actix_web::rt::spawn(async move {
            tokio::time::sleep(APART).await;
            link.emit("auth", &[auth], None, &[]);
        });
    }

    fn event(&mut self, event: SocketEvent) {
        let SocketEvent { name, args, id, attachments } = event;
        match (name.as_str(), id) {
            ("message", _) if self.echoes => {
                self.link.emit("message-back", &args, None, &attachments);
            }
            ("message-with-ack", Some(id)) if self.echoes => {
                self.link.ack(id, &args, &attachments);
            }
            _ => {}
        }
    }
}
