//! Finding the server and opening a connection to it.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisResult, TlsCertificates, Value,
    aio::MultiplexedConnection,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr},
    io::tcp::{TcpSettings, socket2},
};

use super::{
    address::{Address, HostPort, Login, Target},
    error::{LinkError, Trouble, one_line},
    link::LinkConfig,
};

/// Called with whatever Redis sends unasked; must be quick.
pub(super) type Push = Arc<dyn Fn(redis::PushInfo) + Send + Sync>;

/// How many replicas must have what a command wrote, and how long it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Replicas {
    /// How many; at least one.
    pub count: u32,
    /// How long; less than an answer may take.
    pub within: Duration,
}

/// A connection for commands.
#[derive(Clone)]
pub(super) enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To the nodes of a Redis Cluster.
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn query(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => cmd.query_async(connection).await,
            Self::Cluster(connection) => cmd.query_async(connection).await,
        }
    }

    /// Runs a command on the master of a slot and waits until so many replicas have
    /// what it wrote: the answer, and how many had it in time.
    pub(super) async fn replicated(
        &mut self,
        cmd: &Cmd,
        slot: u16,
        replicas: &Replicas,
    ) -> RedisResult<(Value, u32)> {
        let mut pipe = redis::pipe();
        pipe.add_command(cmd.clone());
        pipe.cmd("WAIT").arg(replicas.count).arg(replicas.within.as_millis() as u64);
        let mut answers = match self {
            Self::Single(connection) => connection.send_packed_commands(&pipe, 0, 2).await?,
            Self::Cluster(connection) => {
                let route = SingleNodeRoutingInfo::SpecificNode(Route::new(slot, SlotAddr::Master));
                connection.route_pipeline(pipe, 0, 2, route).await?
            }
        }
        .into_iter();
        let answer = answers.next().unwrap_or(Value::Nil).extract_error()?;
        let had = match answers.next() {
            Some(Value::Int(count)) => u32::try_from(count).unwrap_or(0),
            _ => 0,
        };
        Ok((answer, had))
    }

    /// Fails if nobody answers, or the server is a replica that takes no writes.
    pub(super) async fn check(&mut self, thoroughly: bool) -> Result<(), LinkError> {
        let (word, argument) = match self {
            Self::Single(_) if thoroughly => ("INFO", Some("replication")),
            Self::Single(_) => ("PING", None),
            Self::Cluster(_) => ("CLUSTER", Some("INFO")),
        };
        let mut cmd = redis::cmd(word);
        cmd.arg(argument);
        let about = match self.query(&cmd).await {
            Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
            Ok(Value::VerbatimString { text, .. }) => text,
            Ok(_) => String::new(),
            Err(e) => match down(e) {
                // A user that may not ask is believed to be on the right server.
                LinkError::Refused { trouble: Trouble::Forbidden, detail }
                    if detail.contains("NOPERM") =>
                {
                    String::new()
                }
                failure => return Err(failure),
            },
        };
        if about.lines().any(|line| line.trim() == "role:slave") {
            return Err(LinkError::Refused {
                trouble: Trouble::ReadOnly,
                detail: "the server is a replica that takes no writes".into(),
            });
        }
        Ok(())
    }
}

/// Connects once as a link does and makes sure that somebody answers and takes
/// writes.
pub async fn probe(config: &LinkConfig) -> Result<(), LinkError> {
    Connector::new(config).commands().await.map(drop)
}

/// Opens connections by the configuration.
pub(super) struct Connector {
    address: Address,
    client_name: String,
    certificates: Option<TlsCertificates>,
    response_timeout: Duration,
    connect_timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: &LinkConfig) -> Self {
        let root = config.tls_ca.clone();
        Self {
            address: config.address.clone(),
            client_name: config.client_name.clone(),
            certificates: root
                .map(|root| TlsCertificates { client_tls: None, root_cert: Some(root) }),
            response_timeout: config.response_timeout,
            connect_timeout: config.connect_timeout,
        }
    }

    /// The server that takes writes: the one there is, or the one that the
    /// sentinels name.
    pub(super) async fn locate(&self) -> Result<Target, LinkError> {
        match &self.address.target {
            Target::Sentinel { hosts, master, login } => {
                let mut last = None;
                for sentinel in hosts {
                    match self.ask_sentinel(sentinel, master, login).await {
                        Ok(found) => return Ok(Target::Server(found)),
                        Err(e) => last = Some(e),
                    }
                }
                Err(last.unwrap_or_else(|| LinkError::Down("no sentinel is named".into())))
            }
            other => Ok(other.clone()),
        }
    }

    async fn ask_sentinel(
        &self,
        at: &HostPort,
        master: &str,
        login: &Login,
    ) -> Result<HostPort, LinkError> {
        let unknown = |e: redis::RedisError| {
            LinkError::Down(format!("sentinel {}:{}: {}", at.0, at.1, one_line(&e)).into())
        };
        let info = self.info(&Target::Server(at.clone()), login, 0, ProtocolVersion::RESP2);
        let mut connection = self.open(info, None).await.map_err(unknown)?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(master);
        let found: Option<(String, u16)> =
            ask.query_async(&mut connection).await.map_err(unknown)?;
        found.ok_or_else(|| {
            let why = format!("sentinel {}:{} knows no master named {master:?}", at.0, at.1);
            LinkError::Down(why.into())
        })
    }

    /// Opens a connection for commands, and makes sure that somebody answers and
    /// takes writes.
    pub(super) async fn commands(&self) -> Result<Connection, LinkError> {
        let mut connection = match &self.address.target {
            Target::Cluster(hosts) => Connection::Cluster(self.cluster(hosts).await?),
            _ => {
                let server = self.locate().await?;
                let info = self.info(
                    &server,
                    &self.address.login,
                    self.address.db,
                    ProtocolVersion::RESP2,
                );
                Connection::Single(self.open(info, None).await.map_err(down)?)
            }
        };
        connection.check(true).await?;
        Ok(connection)
    }

    async fn cluster(&self, hosts: &[HostPort]) -> Result<ClusterConnection, LinkError> {
        let infos = hosts.iter().map(|host| {
            self.info(&Target::Server(host.clone()), &self.address.login, 0, ProtocolVersion::RESP2)
        });
        let infos: Vec<_> = infos.collect::<RedisResult<_>>().map_err(down)?;
        let mut builder = ClusterClient::builder(infos)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.response_timeout)
            // Whoever asks knows better when to ask again.
            .retries(2)
            .min_retry_wait(20)
            .max_retry_wait(200);
        if let Some(certificates) = self.certificates.as_ref().filter(|_| self.address.tls) {
            builder = builder.certs(certificates.clone());
        }
        let client = builder.build().map_err(down)?;
        let connecting = client.get_async_connection();
        match tokio::time::timeout(self.connect_timeout * 2, connecting).await {
            Ok(connection) => connection.map_err(down),
            Err(_) => Err(LinkError::Down("no node of the cluster answers".into())),
        }
    }

    /// Opens a connection that hears channels; `push` is told what comes.
    pub(super) async fn subscriptions(
        &self,
        server: &Target,
        push: Push,
    ) -> Result<MultiplexedConnection, LinkError> {
        let info = self.info(server, &self.address.login, self.address.db, ProtocolVersion::RESP3);
        let mut connection = self.open(info, Some(push)).await.map_err(down)?;
        redis::cmd("PING").query_async::<()>(&mut connection).await.map_err(down)?;
        Ok(connection)
    }

    async fn open(
        &self,
        info: RedisResult<ConnectionInfo>,
        push: Option<Push>,
    ) -> RedisResult<MultiplexedConnection> {
        let client = match &self.certificates {
            Some(certificates) if self.address.tls => {
                Client::build_with_tls(info?, certificates.clone())?
            }
            _ => Client::open(info?)?,
        };
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(1024);
        if let Some(push) = push {
            config = config.set_push_sender(move |info| {
                push(info);
                Ok::<_, std::convert::Infallible>(())
            });
        }
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(&self.client_name);
        // A convenience for operators that a user's rights may not allow.
        let _ = name.query_async::<()>(&mut connection).await;
        Ok(connection)
    }

    fn info(
        &self,
        server: &Target,
        login: &Login,
        db: i64,
        protocol: ProtocolVersion,
    ) -> RedisResult<ConnectionInfo> {
        let addr = match server {
            Target::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Target::Server((host, port)) if self.address.tls => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            Target::Server((host, port)) => ConnectionAddr::Tcp(host.clone(), *port),
            Target::Cluster(_) | Target::Sentinel { .. } => {
                return Err((redis::ErrorKind::InvalidClientConfig, "no single server").into());
            }
        };
        let mut redis = RedisConnectionInfo::default().set_db(db).set_protocol(protocol);
        if let Some(username) = &login.username {
            redis = redis.set_username(username);
        }
        if let Some(password) = &login.password {
            redis = redis.set_password(password);
        }
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(5))
            .with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        Ok(addr.into_connection_info()?.set_redis_settings(redis).set_tcp_settings(tcp))
    }
}

/// No connection came of it, so nothing was done.
fn down(error: redis::RedisError) -> LinkError {
    match LinkError::from(error) {
        LinkError::Unknown(why) => LinkError::Down(why),
        other => other,
    }
}
