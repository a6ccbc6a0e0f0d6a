//! Who takes connections in: a single worker by itself; several of them through a thread
//! that hands each of them one in turn. And what becomes of a connection before it is served.

use std::{
    fmt::Debug, future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc, sync::mpsc, time::Duration,
};

use actix_http::Protocol;
use actix_rt::{Arbiter, net::TcpStream, spawn};
use actix_server::ServerHandle;
use actix_service::{Service, ServiceFactory, apply_fn_factory};
use prometheus::IntCounter;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::transport::{limits::Guests, pace::Paced};

/// How long nothing is accepted after the system could not give a connection, as when the
/// process has all the files it may have.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes connections in until it is closed.
pub(super) enum Door {
    /// Of several workers.
    Shared(ServerHandle),
    /// Of a single one, which accepts on its own thread: handing a connection over would cost
    /// about as much as its handshake.
    Own(Arbiter),
}

impl Door {
    /// Starts a worker that accepts by itself. `make` is called on its thread and gives what
    /// serves a connection; at most `concurrent` are served at a time, the others wait.
    ///
    /// # Errors
    /// A sentence, if the worker cannot start.
    pub(super) fn own<F, S>(
        listener: std::net::TcpListener,
        concurrent: usize,
        make: F,
    ) -> Result<Self, String>
    where
        F: FnOnce() -> S + Send + 'static,
        S: ServiceFactory<TcpStream, Config = ()> + 'static,
        S::InitError: Debug,
        S::Service: 'static,
        <S::Service as Service<TcpStream>>::Future: 'static,
    {
        let arbiter = Arbiter::new();
        let (tell, told) = mpsc::sync_channel(1);
        arbiter.spawn_fn(move || {
            spawn(async move {
                let service = make().new_service(()).await;
                let started = service.map_err(|e| format!("{e:?}")).and_then(|service| {
                    let listener = TcpListener::from_std(listener).map_err(|e| e.to_string())?;
                    Ok((service, listener))
                });
                match started {
                    Ok((service, listener)) => {
                        // Whoever started it waits for this.
                        let _ = tell.send(Ok(()));
                        accept(listener, Rc::new(service), concurrent).await;
                    }
                    Err(e) => drop(tell.send(Err(e))),
                }
            });
        });
        told.recv().unwrap_or_else(|_| Err("it ended".into()))?;
        Ok(Self::Own(arbiter))
    }

    /// Accepts no more, and ends the workers.
    pub(super) async fn close(&self) {
        match self {
            Self::Shared(handle) => handle.stop(false).await,
            Self::Own(arbiter) => drop(arbiter.stop()),
        }
    }
}

async fn accept<S>(listener: TcpListener, service: Rc<S>, concurrent: usize)
where
    S: Service<TcpStream> + 'static,
    S::Future: 'static,
{
    let places = Arc::new(Semaphore::new(concurrent.min(Semaphore::MAX_PERMITS)));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = service.clone();
                spawn(async move {
                    if poll_fn(|cx| service.poll_ready(cx)).await.is_ok() {
                        // What went wrong with a connection was its own affair.
                        let _ = service.call(stream).await;
                    }
                    drop(place);
                });
            }
            Err(e) if is_of_the_connection(&e) => {}
            Err(e) => {
                log::error!(reason = e.to_string().as_str(); "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether it was the connection that failed, and the next one may be accepted at once.
fn is_of_the_connection(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Counts connections by their address until they are upgraded or end, and closes those of an
/// address that has too many before anything is read of them.
#[derive(Clone)]
pub(super) struct Counted {
    pub guests: Arc<Guests>,
    /// How many were closed.
    pub refusals: IntCounter,
}

impl Counted {
    /// A service of such connections.
    pub(super) fn serve<S>(
        self,
        service: S,
    ) -> impl ServiceFactory<
        TcpStream,
        Config = (),
        Response = (),
        Error = S::Error,
        InitError = S::InitError,
        Service = impl Service<TcpStream, Response = (), Error = S::Error, Future: 'static> + 'static,
    >
    where
        S: ServiceFactory<TcpStream, Config = (), Response = ()> + 'static,
        <S::Service as Service<TcpStream>>::Future: 'static,
    {
        apply_fn_factory(service, move |io: TcpStream, service: &S::Service| {
            // Who has left already is nobody's guest.
            let place = io.peer_addr().ok().map(|peer| self.guests.take(peer.ip()));
            let work = match &place {
                Some(None) => {
                    self.refusals.inc();
                    None
                }
                _ => Some(service.call(io)),
            };
            async move {
                let _place = place;
                match work {
                    Some(work) => work.await,
                    None => Ok(()),
                }
            }
        })
    }
}

/// A connection as the HTTP service takes it; its client is cut when it takes nothing of an
/// answer for as long as `stall`.
pub(super) fn connected<T>(
    io: T,
    tcp: impl FnOnce(&T) -> &TcpStream,
    stall: Duration,
) -> (Paced<T>, Protocol, Option<SocketAddr>) {
    let tcp = tcp(&io);
    // It is served without it too.
    let _ = tcp.set_nodelay(true);
    let peer = tcp.peer_addr().ok();
    (Paced::new(io, stall), Protocol::Http1, peer)
}
