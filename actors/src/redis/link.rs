//! The connections to Redis: one for commands, and what hears channels.

use std::{
    fmt,
    future::Future,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use actix_rt::ArbiterHandle;
use parking_lot::RwLock;
use redis::{Cmd, RedisResult, ToRedisArgs, Value};
use tokio::sync::{Notify, watch};

use super::{
    address::Address,
    connect::{Connection, Connector, Replicas},
    error::{LinkError, Trouble},
    pattern,
    router::{Router, Tell, slot},
    subscriber::Listener,
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
    fn call(&self, keys: &[impl ToRedisArgs], args: &impl Fn(&mut Cmd)) -> Cmd {
        command("EVALSHA", self.sha(), keys, args)
    }

    /// The command that calls it with its text.
    fn send(&self, keys: &[impl ToRedisArgs], args: &impl Fn(&mut Cmd)) -> Cmd {
        command("EVAL", self.code, keys, args)
    }
}

fn command(name: &str, script: &str, keys: &[impl ToRedisArgs], args: &impl Fn(&mut Cmd)) -> Cmd {
    let mut cmd = redis::cmd(name);
    cmd.arg(script).arg(keys.len());
    for key in keys {
        cmd.arg(key);
    }
    args(&mut cmd);
    cmd
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
    connection: RwLock<Option<Connection>>,
    state: watch::Sender<LinkState>,
    /// Wakes the supervisor: the connection for commands may be gone.
    suspect: Notify,
    router: Arc<Router>,
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
        let router = Router::new(config.address.is_cluster());
        let inner = Arc::new(Inner {
            config,
            connector,
            runtime: handle.clone(),
            arbiter,
            connection: RwLock::default(),
            state,
            suspect: Notify::new(),
            router,
            observer,
            ending,
        });
        handle.spawn(inner.clone().supervise());
        let hearing = inner.clone();
        handle.spawn(async move { hearing.hear().await });
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
        let mut connection = self.inner.connected()?;
        let asked = Instant::now();
        self.inner.judge(asked, connection.query(cmd).await)
    }

    /// Runs a script; `args` adds its arguments to the command. If Redis does not
    /// have the script it is sent whole.
    pub async fn script(
        &self,
        script: &Script,
        keys: &[impl ToRedisArgs],
        args: impl Fn(&mut Cmd),
    ) -> Result<Value, LinkError> {
        match self.query(&script.call(keys, &args)).await {
            Err(LinkError::Refused { trouble: Trouble::NoScript, .. }) => {
                self.query(&script.send(keys, &args)).await
            }
            answer => answer,
        }
    }

    /// The same, then waits until so many replicas have what it wrote; says how many
    /// had it in time. Its first key says where it is done.
    pub async fn script_on_replicas(
        &self,
        script: &Script,
        keys: &[String],
        args: impl Fn(&mut Cmd),
        replicas: Replicas,
    ) -> Result<(Value, u32), LinkError> {
        let slot = keys.first().map_or(0, |key| slot(key));
        let mut cmd = script.call(keys, &args);
        loop {
            let mut connection = self.inner.connected()?;
            let asked = Instant::now();
            let answer = connection.replicated(&cmd, slot, &replicas).await;
            match self.inner.judge(asked, answer) {
                Err(LinkError::Refused { trouble: Trouble::NoScript, .. }) => {
                    cmd = script.send(keys, &args);
                }
                answer => return answer,
            }
        }
    }

    /// Hears a channel until [`unsubscribe`](Self::unsubscribe), whatever happens
    /// to the connection. A channel has one listener: a second one replaces the
    /// first. In a Redis Cluster the channel is a sharded one: who publishes to
    /// it uses `SPUBLISH`.
    pub fn subscribe(&self, channel: &str, listener: Arc<dyn Listener>) {
        self.inner.router.subscribe(channel, listener);
    }

    /// Hears a channel no more.
    pub fn unsubscribe(&self, channel: &str) {
        self.inner.router.unsubscribe(channel);
    }

    /// Hears every plain channel whose name fits a pattern, as long as the link is.
    pub fn subscribe_pattern(&self, pattern: String, listener: Arc<dyn Listener>) {
        let backoff = Backoff::new(self.inner.config.max_backoff);
        self.spawn(pattern::hear(self.inner.connector.clone(), pattern, listener, backoff));
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
    fn connected(&self) -> Result<Connection, LinkError> {
        self.connection.read().clone().ok_or_else(|| {
            let reason = self.state.borrow().reason.clone();
            LinkError::Down(reason.unwrap_or_else(|| "connecting".into()))
        })
    }

    /// Counts an answer, and has the connection looked at if it is none.
    fn judge<T>(&self, asked: Instant, answer: RedisResult<T>) -> Result<T, LinkError> {
        match answer {
            Ok(value) => {
                self.observer.answered(asked.elapsed().as_secs_f64());
                Ok(value)
            }
            Err(e) => {
                let trouble = Trouble::of(&e);
                self.observer.failed(trouble);
                if matches!(trouble, Trouble::Unreachable | Trouble::Slow | Trouble::ReadOnly) {
                    self.suspect.notify_one();
                }
                Err(e.into())
            }
        }
    }

    async fn supervise(self: Arc<Self>) {
        let mut backoff = Backoff::new(self.config.max_backoff);
        loop {
            let failure = match self.connector.commands().await {
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
    async fn guard(&self, mut connection: Connection) -> LinkError {
        loop {
            let suspected = tokio::select! {
                () = self.suspect.notified() => true,
                () = tokio::time::sleep(PULSE) => false,
            };
            if let Err(failure) = connection.check(suspected).await {
                return failure;
            }
        }
    }

    async fn hear(self: Arc<Self>) {
        let told = self.clone();
        let tell: Tell = Arc::new(move |change| told.channels_changed(change));
        let backoff = || Backoff::new(self.config.max_backoff);
        if !self.config.address.is_cluster() {
            return self.router.run_single(self.connector.clone(), backoff(), tell);
        }
        let ask = || {
            let connection = self.connection.read().clone();
            async move {
                let mut slots = redis::cmd("CLUSTER");
                slots.arg("SLOTS");
                match connection {
                    Some(mut connection) => Ok(connection.query(&slots).await?),
                    None => Err(LinkError::Down("connecting".into())),
                }
            }
        };
        self.router.clone().run_cluster(self.connector.clone(), backoff, tell, ask).await;
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
#[derive(Clone)]
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
