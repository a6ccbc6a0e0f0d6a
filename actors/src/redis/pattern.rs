//! Hears all channels whose names fit a pattern: what other programs publish.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::{
    address::Target,
    connect::{Connector, Push},
    error::LinkError,
    link::{Backoff, PULSE},
    subscriber::Listener,
};

/// Hears a pattern until the runtime ends, over a connection of its own.
pub(super) async fn hear(
    connector: Arc<Connector>,
    pattern: String,
    listener: Arc<dyn Listener>,
    mut backoff: Backoff,
) {
    for attempt in 0_usize.. {
        if let Err(e) = hear_once(&connector, &pattern, &listener, attempt, &mut backoff).await {
            log::debug!(pattern:% = pattern, error:% = e; "a pattern is not heard");
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn hear_once(
    connector: &Connector,
    pattern: &str,
    listener: &Arc<dyn Listener>,
    attempt: usize,
    backoff: &mut Backoff,
) -> Result<(), LinkError> {
    let broken = Arc::new(Notify::new());
    let push: Push = {
        let (listener, broken) = (listener.clone(), broken.clone());
        Arc::new(move |info| pushed(info, &*listener, &broken))
    };
    let server = match connector.locate().await? {
        // What is published plainly comes to every node of a cluster.
        Target::Cluster(hosts) => {
            let host = hosts.get(attempt % hosts.len().max(1)).cloned();
            host.map(Target::Server).ok_or_else(|| LinkError::Down("no node is named".into()))?
        }
        server => server,
    };
    let mut connection = connector.subscriptions(&server, push).await?;
    connection.psubscribe(pattern).await?;
    backoff.reset();
    listener.live();
    let failure = loop {
        tokio::select! {
            () = broken.notified() => break Ok(()),
            () = tokio::time::sleep(PULSE) => {}
        }
        if let Err(e) = redis::cmd("PING").query_async::<()>(&mut connection).await {
            break Err(e.into());
        }
    };
    listener.lost();
    failure
}

fn pushed(info: PushInfo, listener: &dyn Listener, broken: &Notify) {
    match info.kind {
        PushKind::PMessage => {
            if let Some(Value::BulkString(payload)) = info.data.into_iter().nth(2) {
                listener.message(payload.into());
            }
        }
        PushKind::Disconnection => broken.notify_one(),
        _ => {}
    }
}
