//! hubbub's own layers (its transport, codecs, polling actor, upgrade, frame guard) with
//! small applications on top, so that outside test suites can be pointed at them:
//!
//! ```text
//! cargo run --release --example conformance -- --listen 127.0.0.1:9001 websocket
//! ```
//!
//! docs/socketio.md says which suite wants which profile.

mod client;
mod engine;
mod recovery;
mod socket;

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use clap::{Parser, ValueEnum};
use hubbub::{
    config::{Config, HistoryStore},
    server::serve_with,
    transport::application::Application,
};
use hubbub_protocol::wire::socketio;

/// Serves one profile until it is ended.
#[derive(Parser)]
struct Args {
    /// Address and port.
    #[arg(long)]
    listen: SocketAddr,
    /// What is served.
    profile: Profile,
    /// Pings as seldom as by default (profile `socket`).
    #[arg(long)]
    slow_ping: bool,
    /// Packets of Socket.IO as msgpack.
    #[arg(long)]
    msgpack: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Profile {
    /// Raw echo at `/echo`, messages of at most 32 MiB.
    Websocket,
    /// Engine.IO at `/engine.io/`: echo.
    Engine,
    /// Engine.IO for the client's own suite.
    EngineClient,
    /// Socket.IO at `/socket.io/` for the protocol's suite.
    Socket,
    /// Socket.IO for the client's own suite.
    SocketClient,
}

const MIB: usize = 1024 * 1024;

fn main() -> ExitCode {
    let args = Args::parse();
    let mut config = Config::default();
    config.node.id = "conformance".to_owned();
    config.server.listen = args.listen;
    config.server.workers = 2;
    config.server.allowed_origins = vec!["*".to_owned()];
    config.server.drain_timeout_ms = 100;
    config.history.store = HistoryStore::Memory;
    config.limits.messages_per_second = 0;
    config.limits.max_connections_per_ip = 0;
    config.session.outbound_max_bytes = 8 * MIB;
    let wire = &mut config.socketio;
    if args.msgpack {
        wire.parser = socketio::Parser::Msgpack;
    }
    let application: Arc<dyn Application> = match args.profile {
        Profile::Websocket => {
            config.limits.max_frame_bytes = 32 * MIB;
            config.session.outbound_max_bytes = 128 * MIB;
            Arc::new(engine::WebSocket)
        }
        Profile::Engine => {
            (wire.ping_interval_ms, wire.ping_timeout_ms) = (300, 200);
            Arc::new(engine::Engine)
        }
        Profile::EngineClient => {
            (wire.ping_interval_ms, wire.max_http_buffer_bytes) = (500, 100);
            Arc::new(engine::EngineClient)
        }
        Profile::Socket => {
            if !args.slow_ping {
                (wire.ping_interval_ms, wire.ping_timeout_ms) = (300, 200);
            }
            wire.connect_timeout_ms = 1000;
            wire.namespaces = socket::NAMESPACES.map(str::to_owned).to_vec();
            Arc::new(socket::Socket)
        }
        Profile::SocketClient => {
            wire.ping_interval_ms = 2000;
            wire.namespaces = client::NAMESPACES.map(str::to_owned).to_vec();
            Arc::new(client::SocketClient::default())
        }
    };
    match serve_with(config, application) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("conformance: {why}");
            ExitCode::FAILURE
        }
    }
}
