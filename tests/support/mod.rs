//! What the black-box tests share: a hub process of their own, a WebSocket client
//! that can also break every rule, an HTTP client, tokens and waiting.
#![allow(dead_code, unused_imports)]

mod client;
mod disk;
mod http;
mod hub;
mod listener;
mod log;
mod metrics;
mod postgres;
mod proxy;
mod receiver;
mod redis;
mod token;
mod wait;
mod ws;
mod wsframe;

pub use client::{Client, Ticket, Wire};
pub use disk::SmallDisk;
pub use http::{Answer, Http, read_answer};
pub use hub::{Hub, UNLIMITED, hubbub, soft_file_limit};
pub use listener::{Listener, open, position};
pub use log::Log;
pub use metrics::Metrics;
pub use postgres::PostgresServer;
pub use proxy::Proxy;
pub use receiver::{HOOK_SECRET, Mode, Receiver};
pub use redis::{RedisServer, free_port};
pub use token::{API_KEY, JWT_SECRET, now, token, token_with};
pub use wait::{SOON, until};
pub use ws::{End, Handshake, Ws, kind};
pub use wsframe::{Frame, close, deflated, masked, raw};
