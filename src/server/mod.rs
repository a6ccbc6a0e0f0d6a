//! A node from start to end: listens, serves, drains on SIGTERM, closes its store.

pub(crate) mod archive;
mod cluster;
mod door;
pub(crate) mod fleet;
mod wiring;

use std::{future::ready, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpService;
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactoryExt, fn_factory, fn_service, map_config};
use actix_tls::accept::{
    TlsError,
    rustls_0_23::{Acceptor, TlsStream},
};
use actix_web::dev::AppConfig;
use hubbub_actors::{
    clock::Clock,
    metrics::Metrics,
    relay::{MAX_WORKERS, Relay},
    system::{Hub, Parts},
};
use prometheus::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::door::{Counted, Door, connected};
use crate::{
    auth::Verifier,
    config::{Config, Secret, tls},
    hooks, http, socketio,
    telemetry::{logging, spans::Spans},
    transport::{
        Transport,
        adopt::Doormen,
        application::{Application, Rooms},
        limits::{ConnectionLimits, Guests},
        pace::{self, Paced},
    },
};

/// Connections that may wait to be accepted (bounded by `net.core.somaxconn` too).
const BACKLOG: i32 = 8192;
/// How long the last answers may take to leave after all sessions were closed.
const FLUSH: Duration = Duration::from_millis(500);
/// Longest pause that a client is asked for when its node drains.
const RETRY_SPREAD_MS: u64 = 3000;

/// Runs a node until it is told to end. Fails with a sentence if it cannot start.
pub fn serve(config: Config) -> Result<(), String> {
    serve_with(config, Arc::new(Rooms))
}

/// As [`serve`], with an application in place of the hub's rooms.
///
/// # Errors
/// A sentence, if it cannot start.
pub fn serve_with(config: Config, application: Arc<dyn Application>) -> Result<(), String> {
    actix_web::rt::System::new().block_on(run(Arc::new(config), application))
}

async fn run(config: Arc<Config>, application: Arc<dyn Application>) -> Result<(), String> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry).map_err(|e| format!("metrics: {e}"))?;
    let clock = Clock::system();
    let dev_secret = config.development().then(Secret::random);
    let verifier = Verifier::from_config(&config.auth, dev_secret.as_ref())
        .map_err(|e| format!("auth: {e}"))?;
    let spans = Spans::start(&config)?;
    let fleet = fleet::start(&config, &registry)?;
    let relay = Arc::new(Relay::default());
    let stores = wiring::stores(&config, fleet.as_ref(), &relay, &metrics)?;
    let tokens = wiring::Tokens::new(verifier, clock.clone(), &metrics.token_refusals);
    let policy = wiring::policy(&config, &metrics);
    let presence = fleet
        .as_ref()
        .map(|fleet| cluster::presence(&config, &fleet.link, &clock, &registry))
        .transpose()?;
    let instance = presence.as_ref().map(|presence| &presence.instance);
    let hooks = hooks::start(&config, instance, &clock, &registry)?;
    let hub = Hub::start(Parts {
        node: config.node.id.as_str().into(),
        workers: config.server.worker_count().clamp(1, MAX_WORKERS),
        clock,
        metrics,
        settings: wiring::settings(&config)?,
        cluster: presence,
        hooks,
        authenticator: Arc::new(tokens),
        policy,
        history: stores.history,
        sessions: stores.sessions,
        receipts: stores.receipts,
        bus: stores.bus,
        relay,
        link: fleet.map(|fleet| fleet.link),
        formats: wiring::formats(&config)?,
    });
    let (listener, address) = listen(config.server.listen)
        .map_err(|e| format!("cannot listen on {}: {e}", config.server.listen))?;
    let mut signals = Signals::new().map_err(|e| format!("cannot handle signals: {e}"))?;
    let state = http::HttpState::new(hub.clone(), config.clone(), registry, dev_secret)
        .map_err(|e| format!("metrics: {e}"))?;
    let drain_asked = state.drain_asked();
    let door = bind(&config, &hub, state, listener, application)?;
    announce(&config, address);
    let reporter = actix_web::rt::spawn(async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            logging::report_suppressed(false);
        }
    });
    let refused = tokio::select! {
        () = signals.recv() => None,
        () = drain_asked.notified() => None,
        refusal = cluster::refused(&hub) => Some(refusal),
    };
    actix_web::rt::spawn(async move {
        signals.recv().await;
        log::warn!("ended at once by a second signal");
        std::process::exit(130);
    });
    drain(&config, &hub, &door).await;
    spans.close().await;
    reporter.abort();
    refused.map_or(Ok(()), Err)
}

/// Says where the node is and what a newcomer does next.
fn announce(config: &Config, address: SocketAddr) {
    let scheme = if config.server.tls_cert.is_some() { "https" } else { "http" };
    log::info!(
        address:% = address, url:% = format!("{scheme}://{address}/"),
        workers = config.server.worker_count().min(MAX_WORKERS);
        "listening"
    );
    if config.auth.anonymous {
        log::warn!(
            "auth.anonymous is on: a client without a token is whoever it says it is; for \
             trusted networks and demos only"
        );
    }
    let late = wiring::late_vocabularies(config);
    if !late.is_empty() && !config.auth.anonymous {
        log::info!(
            vocabularies = late.join(", ").as_str();
            "clients of these vocabularies say themselves who they are; auth.anonymous is off, so \
             only those with a token get in"
        );
    }
    if config.development() {
        log::warn!(
            "development mode: anybody gets a token at POST /dev/token, and tokens end with \
             this process; set auth.jwt_secret to leave it"
        );
    }
}

fn listen(address: SocketAddr) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let listener: std::net::TcpListener = socket.into();
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn bind(
    config: &Arc<Config>,
    hub: &Hub,
    state: http::HttpState,
    listener: std::net::TcpListener,
    application: Arc<dyn Application>,
) -> Result<Door, String> {
    let max = config.limits.max_connections;
    let cluster = hub.shared().cluster.clone();
    let limits = ConnectionLimits::new(max, config.limits.max_connections_per_ip, cluster);
    let workers = config.server.worker_count().clamp(1, MAX_WORKERS);
    let handshake = Duration::from_millis(config.limits.handshake_timeout_ms);
    let stall = Duration::from_millis(config.session.stall_timeout_ms);
    let tls = match (&config.server.tls_cert, &config.server.tls_key) {
        (Some(cert), Some(key)) => Some(tls::server_config(cert, key).map_err(|e| e.to_string())?),
        _ => None,
    };
    // Room for plain requests beside the connections that stay.
    let concurrent = if max == 0 { usize::MAX >> 1 } else { max.saturating_add(1024) };
    let (config, hub) = (config.clone(), hub.clone());
    let guests =
        Guests::new(config.limits.max_connections_per_ip, config.server.trusted_proxies.clone());
    let refusals = hub.shared().metrics.refused.with_label_values(&["connections_per_ip"]);
    let counted = Counted { guests, refusals };
    let doormen = Doormen::default();
    // Called once on each worker's own thread.
    let service = move || {
        let worker = hub.add_worker();
        let transport = Rc::new(Transport {
            hub: hub.clone(),
            worker,
            config: config.clone(),
            limits: limits.clone(),
            doormen: doormen.clone(),
            application: application.clone(),
        });
        transport.clone().open_door();
        let polled = transport.clone();
        let app = http::app_with(state.clone(), move |cfg| socketio::configure(cfg, polled));
        let app = map_config(app, |_| AppConfig::default());
        (transport, pace::keeping(app))
    };
    macro_rules! http_service {
        ($transport:expr) => {
            HttpService::build()
                .on_connect_ext(|io: &Paced<_>, data| drop(data.insert(io.pace())))
                .client_request_timeout(handshake)
                .client_disconnect_timeout(Duration::ZERO)
                .h1_allow_half_closed(false)
                .upgrade(fn_factory(move || {
                    let transport = $transport.clone();
                    ready(Ok::<_, ()>(fn_service(move |(request, framed)| {
                        transport.clone().upgrade(request, pace::upgraded(framed))
                    })))
                }))
        };
    }
    let plain = {
        let (service, counted) = (service.clone(), counted.clone());
        move || {
            let (transport, app) = service();
            let http = http_service!(transport).finish(app);
            let tcp = fn_service(move |io: TcpStream| ready(Ok(connected(io, |io| io, stall))));
            counted.clone().serve(tcp.and_then(http))
        }
    };
    let encrypted = tls.map(|tls| {
        move || {
            let (transport, app) = service();
            let http = http_service!(transport).finish(app);
            let mut acceptor = Acceptor::new(tls.clone());
            acceptor.set_handshake_timeout(handshake);
            let tls = acceptor
                .map_init_err(drop)
                .map_err(TlsError::into_service_error)
                .map(move |io: TlsStream<TcpStream>| connected(io, |io| io.get_ref().0, stall));
            counted.clone().serve(tls.and_then(http.map_err(TlsError::Service)))
        }
    });
    if workers == 1 {
        return match encrypted {
            None => Door::own(listener, concurrent, plain),
            Some(encrypted) => Door::own(listener, concurrent, encrypted),
        }
        .map_err(|e| format!("cannot start the worker: {e}"));
    }
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(concurrent)
        .shutdown_timeout(1)
        .disable_signals();
    let server = match encrypted {
        None => server.listen("hubbub", listener, plain),
        Some(encrypted) => server.listen("hubbub", listener, encrypted),
    };
    let server = server.map_err(|e| format!("cannot start the workers: {e}"))?.run();
    let door = Door::Shared(server.handle());
    actix_web::rt::spawn(server);
    Ok(door)
}

/// SIGTERM and SIGINT.
struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Not ready, no new connections; everybody is asked to leave, what is in flight
/// is finished, the store is closed.
async fn drain(config: &Config, hub: &Hub, door: &Door) {
    let began = std::time::Instant::now();
    let within = Duration::from_millis(config.server.drain_timeout_ms);
    hub.begin_drain();
    log::info!(sessions = hub.shared().metrics.sessions.get(); "draining");
    let asked = hub.drain(config.server.drain_rate, within.mul_f32(0.8), RETRY_SPREAD_MS).await;
    let open = || hub.shared().metrics.connections.get() > 0;
    let deadline = began + within;
    while open() && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = hub.shared().metrics.connections.get();
    if tokio::time::timeout(FLUSH.max(within), hub.close()).await.is_err() {
        log::error!("the history did not close in time; what was acknowledged is stored");
    }
    door.close().await;
    let ms = began.elapsed().as_millis() as u64;
    log::info!(sessions = asked, left, duration_ms = ms; "drained");
}
