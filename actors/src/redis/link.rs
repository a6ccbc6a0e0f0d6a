//! The connections to Redis: one for commands, and what hears channels.

use std::{
    fmt,
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use actix_rt::ArbiterHandle;
use parking_lot::RwLock;
use redis::{Cmd, Value, aio::MultiplexedConnection};
use tokio::sync::{Notify, watch};

use super::{
    address::Address,
    connect::Connector,
    error::{LinkError, Trouble},
    subscriber::{Listener, Subscriber},
};

/// How Redis is reached.
#[derive(Clone)]
pub struct LinkConfig {
    /// Where it is.
    pub address: Address,
    /// What every key and channel begins with, `hubbub:` by default; without braces.
    pub prefix: String,
    /// The name of the connections in `CLIENT LIST`: letters, digits, `-`, `_`, `.`.
    pub client_name: String,
    /// How long an answer may take. Default 2 s.
    pub response_timeout: Duration,
    /// How long opening a connection may take. Default 2 s.
    pub connect_timeout: Duration,
    /// Longest pause between two attempts to connect; each is preceded by half as
    /// much to one and a half times as much. Default 2 s.
    pub max_backoff: Duration,
    /// Certificates (PEM) of those who may sign the server's; none: those that
    /// the system trusts.
    pub tls_ca: Option<Vec<u8>>,
}

impl LinkConfig {
    /// The defaults with an address.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: "hubbub:".into(),
            client_name: "hubbub".into(),
            response_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            max_backoff: Duration::from_secs(2),
            tls_ca: None,
        }
    }
}

/// How the link stands.
#[derive(Clone, Debug)]
pub struct LinkState {
    /// Whether commands are answered and channels are heard.
    pub up: bool,
    /// Since when it is so.
    pub since: Instant,
    /// How often the connection for commands was made: a new number means that
    /// Redis may have been restarted or another one taken over meanwhile.
    pub connections: u64,
    /// How often the channels began to be heard: a new number means that messages
    /// may have been missed.
    pub subscriptions: u64,
    /// What is wrong while it is not up.
    pub reason: Option<Arc<str>>,
    commands_up: bool,
    channels_up: bool,
}

impl LinkState {
    /// Whether commands are answered, whatever channels are heard.
    pub fn takes_commands(&self) -> bool {
        self.commands_up
    }
}

/// Is told what happens to a link, so that the caller can count it. Must be quick.
pub trait LinkObserver: Send + Sync + 'static {
    /// It went up or down.
    fn changed(&self, up: bool) {
        let _ = up;
    }

    /// A command failed, or a connection was not made.
    fn failed(&self, trouble: Trouble) {
        let _ = trouble;
    }

    /// A command was answered after so many seconds.
    fn answered(&self, seconds: f64) {
        let _ = seconds;
    }
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLinkObserver;

impl LinkObserver for NoLinkObserver {}

/// A Lua script that is called by its SHA-1 and loaded when Redis does not have it.
pub struct Script {
    code: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// A script; make it a `static`.
    pub const fn new(code: &'static str) -> Self {
        Self { code, sha: OnceLock::new() }
    }

    fn sha(&self) -> &str {
        self.sha.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned())
    }

    /// The command that calls it. Every key must have the same hash tag.
    fn call(&self, keys: &[impl redis::ToRedisArgs], args: &impl ScriptArgs) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.sha()).arg(keys.len());
        for key in keys {
            cmd.arg(key);
        }
        args.write(&mut cmd);
        cmd
    }
}

/// Arguments of a script: a closure that adds them to the command.
pub trait ScriptArgs {
    /// Adds them.
    fn write(&self, cmd: &mut Cmd);
}

impl<F: Fn(&mut Cmd)> ScriptArgs for F {
    fn write(&self, cmd: &mut Cmd) {
        self(cmd);
    }
}

/// A link to Redis that reconnects by itself. Cheap to clone; it ends with
/// [`close`](Self::close).
///
/// Commands may be asked from any thread and runtime. They are pipelined on one
/// connection: those begun one after the other by one task are done in that order.
#[derive(Clone)]
pub struct RedisLink {
    inner: Arc<Inner>,
}

struct Inner {
    config: LinkConfig,
    connector: Arc<Connector>,
    runtime: tokio::runtime::Handle,
    arbiter: ArbiterHandle,
    connection: RwLock<Option<MultiplexedConnection>>,
    state: watch::Sender<LinkState>,
    /// Wakes the supervisor: the connection for commands may be gone.
    suspect: Notify,
    subscriber: Subscriber,
    observer: Arc<dyn LinkObserver>,
    ending: watch::Sender<bool>,
}

impl fmt::Debug for RedisLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLink").field("address", &self.inner.config.address).finish()
    }
}

impl RedisLink {
    /// Starts the thread that connects. Fails with a sentence if it cannot be
    /// started; that Redis is away is not a failure.
    pub fn start(config: LinkConfig, observer: Arc<dyn LinkObserver>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("cannot start the runtime of Redis: {e}"))?;
        let (state, _) = watch::channel(LinkState {
            up: false,
            since: Instant::now(),
            connections: 0,
            subscriptions: 0,
            reason: Some("not connected yet".into()),
            commands_up: false,
            channels_up: false,
        });
        let (ending, mut ended) = watch::channel(false);
        let handle = runtime.handle().clone();
        let (tell, arbiter) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("redis".into())
            .spawn(move || {
                let system = actix_rt::System::with_tokio_rt(move || runtime);
                // The receiver waits for it below.
                let _ = tell.send(actix_rt::System::current().arbiter().clone());
                system
                    .block_on(async { while !*ended.borrow() && ended.changed().await.is_ok() {} });
            })
            .map_err(|e| format!("cannot start the thread of Redis: {e}"))?;
        let arbiter = arbiter.recv().map_err(|_| "the thread of Redis ended".to_owned())?;
        let connector = Arc::new(Connector::new(&config));
        let (subscriber, channels) = Subscriber::new();
        let inner = Arc::new(Inner {
            config,
            connector,
            runtime: handle.clone(),
            arbiter,
            connection: RwLock::default(),
            state,
            suspect: Notify::new(),
            subscriber,
            observer,
            ending,
        });
        handle.spawn(inner.clone().supervise());
        let hearing = inner.clone();
        handle.spawn(async move {
            let notify = |change| hearing.channels_changed(change);
            let pause = || Backoff::new(hearing.config.max_backoff);
            hearing.subscriber.run(channels, &hearing.connector, pause, notify).await;
        });
        Ok(Self { inner })
    }

    /// What every key and channel begins with.
    pub fn prefix(&self) -> &str {
        &self.inner.config.prefix
    }

    /// Whether it is a Redis Cluster.
    pub fn is_cluster(&self) -> bool {
        self.inner.config.address.is_cluster()
    }

    /// How the link stands, now and later.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.inner.state.subscribe()
    }

    /// Whether commands are answered and channels are heard.
    pub fn is_up(&self) -> bool {
        self.inner.state.borrow().up
    }

    /// Runs a future on the thread of Redis; it must not block. It ends with the
    /// link.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.inner.runtime.spawn(future);
    }

    /// Where actors that talk to Redis a lot are started, so that no message has to
    /// wake another thread.
    pub fn arbiter(&self) -> ArbiterHandle {
        self.inner.arbiter.clone()
    }

    /// Runs a command. Fails at once while Redis is away.
    pub async fn query(&self, cmd: &Cmd) -> Result<Value, LinkError> {
        let inner = &self.inner;
        let connection = inner.connection.read().clone();
        let Some(mut connection) = connection else {
            let reason = inner.state.borrow().reason.clone();
            return Err(LinkError::Down(reason.unwrap_or_else(|| "connecting".into())));
        };
        let asked = Instant::now();
        match cmd.query_async::<Value>(&mut connection).await {
            Ok(value) => {
                inner.observer.answered(asked.elapsed().as_secs_f64());
                Ok(value)
            }
            Err(e) => {
                let trouble = Trouble::of(&e);
                inner.observer.failed(trouble);
                if matches!(trouble, Trouble::Unreachable | Trouble::Slow | Trouble::ReadOnly) {
                    inner.suspect.notify_one();
                }
                Err(e.into())
            }
        }
    }

    /// Runs a script; `args` adds its arguments to the command. If Redis does not
    /// have the script it is loaded first.
    pub async fn script(
        &self,
        script: &Script,
        keys: &[impl redis::ToRedisArgs],
        args: impl Fn(&mut Cmd),
    ) -> Result<Value, LinkError> {
        let call = script.call(keys, &args);
        match self.query(&call).await {
            Err(LinkError::Refused { trouble: Trouble::NoScript, .. }) => {
                // With its text, so that the right server of a cluster gets it.
                let mut eval = redis::cmd("EVAL");
                eval.arg(script.code).arg(keys.len());
                for key in keys {
                    eval.arg(key);
                }
                args(&mut eval);
                self.query(&eval).await
            }
            answer => answer,
        }
    }

    /// Hears a channel until [`unsubscribe`](Self::unsubscribe), whatever happens
    /// to the connection. A channel has one listener: a second one replaces the
    /// first. In a Redis Cluster the channel is a sharded one: who publishes to
    /// it uses `SPUBLISH`.
    pub fn subscribe(&self, channel: &str, listener: Arc<dyn Listener>) {
        self.inner.subscriber.subscribe(channel, listener);
    }

    /// Hears a channel no more.
    pub fn unsubscribe(&self, channel: &str) {
        self.inner.subscriber.unsubscribe(channel);
    }

    /// `PUBLISH`, or `SPUBLISH` in a Redis Cluster.
    pub fn publish_command(&self) -> &'static str {
        if self.is_cluster() { "SPUBLISH" } else { "PUBLISH" }
    }

    /// Ends the connections and the thread.
    pub fn close(&self) {
        self.inner.ending.send_replace(true);
    }
}

/// Time between two looks at a connection that says nothing.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// What became of the connection that hears channels.
pub(super) enum ChannelsChange {
    Up,
    Down(LinkError),
}

impl Inner {
    async fn supervise(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.config.max_backoff);
        loop {
            let connected = match self.connector.locate().await {
                Ok(server) => self.connector.commands(&server).await,
                Err(e) => Err(e),
            };
            let failure = match connected {
                Ok(connection) => {
                    backoff.reset();
                    *self.connection.write() = Some(connection.clone());
                    self.update(None, |state| {
                        state.connections += 1;
                        state.commands_up = true;
                    });
                    let failure = self.guard(connection).await;
                    *self.connection.write() = None;
                    failure
                }
                Err(e) => e,
            };
            self.failed(&failure);
            self.update(Some(&failure), |state| state.commands_up = false);
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Watches a connection until it fails.
    async fn guard(&self, mut connection: MultiplexedConnection) -> LinkError {
        loop {
            let suspected = tokio::select! {
                () = self.suspect.notified() => true,
                () = tokio::time::sleep(PULSE) => false,
            };
            let alive = if suspected {
                // A command failed: does it still take writes?
                redis::cmd("INFO").arg("replication").query_async::<String>(&mut connection).await
            } else {
                redis::cmd("PING").query_async::<String>(&mut connection).await
            };
            match alive {
                Ok(about) if about.lines().any(|line| line.trim() == "role:slave") => {
                    return LinkError::Refused {
                        trouble: Trouble::ReadOnly,
                        detail: "the server has become a replica that takes no writes".into(),
                    };
                }
                Err(e) if matches!(Trouble::of(&e), Trouble::Unreachable | Trouble::Slow) => {
                    return e.into();
                }
                _ => {}
            }
        }
    }

    fn channels_changed(&self, change: ChannelsChange) {
        match change {
            ChannelsChange::Up => self.update(None, |state| {
                state.subscriptions += 1;
                state.channels_up = true;
            }),
            ChannelsChange::Down(failure) => {
                self.failed(&failure);
                self.update(Some(&failure), |state| state.channels_up = false);
            }
        }
    }

    fn failed(&self, failure: &LinkError) {
        self.observer.failed(match failure {
            LinkError::Refused { trouble, .. } => *trouble,
            LinkError::Down(_) | LinkError::Unknown(_) => Trouble::Unreachable,
        });
    }

    /// Changes the state, and says so in the log where it matters.
    fn update(&self, failure: Option<&LinkError>, change: impl FnOnce(&mut LinkState)) {
        let reason = failure.map(|failure| Arc::<str>::from(failure.to_string()));
        self.state.send_modify(|state| {
            let (was_up, old) = (state.up, state.reason.clone());
            change(state);
            state.up = state.commands_up && state.channels_up;
            if state.up != was_up {
                let lasted = state.since.elapsed().as_millis() as u64;
                state.since = Instant::now();
                self.observer.changed(state.up);
                if state.up {
                    log::info!(address:% = self.address(), away_ms = lasted; "Redis is there");
                }
            }
            if state.up {
                state.reason = None;
            } else if let Some(reason) = reason {
                if was_up || old.as_ref() != Some(&reason) {
                    log::warn!(address:% = self.address(), error:% = reason; "Redis is away");
                }
                state.reason = Some(reason);
            }
        });
    }

    /// Where Redis is, without user and password.
    fn address(&self) -> String {
        use super::address::Target;
        let list = |hosts: &[(String, u16)]| {
            hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
        };
        match &self.config.address.target {
            Target::Server((host, port)) => format!("{host}:{port}"),
            Target::Unix(path) => path.display().to_string(),
            Target::Cluster(hosts) => list(hosts),
            Target::Sentinel { hosts, master, .. } => format!("{} of {}", master, list(hosts)),
        }
    }
}

/// Pauses between attempts: they double from 50 ms, each varied at random.
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);

    pub(super) fn new(max: Duration) -> Self {
        Self { next: Self::FIRST.min(max), max }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.max);
    }

    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(rand::random_range(0.5..1.5));
        self.next = (self.next * 2).min(self.max);
        pause
    }
}
