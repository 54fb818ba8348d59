//! A connection with a poller of its own, for commands that speak with a broker.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::io::mqtt::{Arrival, Endpoint, MqttError, Publisher, open};

/// Arrivals waiting for the command: more than the messages a broker may send unacknowledged, so that the poller
/// goes on answering pings while the command is busy.
const ARRIVALS_MAX: usize = 512;

/// One connection. Dropping it breaks it off.
pub(in crate::runtime) struct Client {
    pub(in crate::runtime) publisher: Publisher,
    arrivals: mpsc::Receiver<Result<Arrival, MqttError>>,
    poller: JoinHandle<()>,
}

impl Client {
    /// Prepares a connection and starts its poller.
    pub(in crate::runtime) fn open(endpoint: &Endpoint) -> Result<Self, MqttError> {
        let (publisher, mut connection) = open(endpoint)?;
        let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let poller = tokio::spawn(async move {
            loop {
                let arrival = connection.next().await;
                let last = matches!(arrival, Err(_) | Ok(Arrival::Closed));
                if sender.send(arrival).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Self { publisher, arrivals, poller })
    }

    /// Waits for what happens next. Cancel-safe.
    pub(in crate::runtime) async fn next(&mut self) -> Result<Arrival, MqttError> {
        self.arrivals.recv().await.unwrap_or(Ok(Arrival::Closed))
    }

    /// What has happened already, if anything.
    pub(in crate::runtime) fn try_next(&mut self) -> Option<Result<Arrival, MqttError>> {
        self.arrivals.try_recv().ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.poller.abort();
    }
}
