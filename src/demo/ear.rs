//! MQTT clients of our own: what they hear goes to the stage.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::demo::error::DemoError;
use crate::io::mqtt::{Address, Arrival, Connection, Endpoint, Inbound, Protocol, Publisher, Qos, open};

/// Messages on their way to the stage; the poller waits when it is full.
pub(in crate::demo) const NOTICES_MAX: usize = 256;

/// Messages of the simulator without acknowledgement: a second of two rigs.
const IN_FLIGHT: u16 = 256;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Ear {
    /// Sends the plant's messages.
    Simulator,
    /// Hears what the gateway says on the plant's broker.
    Plant,
    /// Hears what arrives upstream, and knows nothing else.
    Upstream,
}

/// What a client tells the stage.
pub(in crate::demo) enum Notice {
    /// Connected, and subscribed if it listens.
    Ready,
    /// A message.
    Message(Ear, Inbound),
    /// The connection is gone.
    Ended(Ear, String),
}

impl Ear {
    /// Its broker.
    pub(in crate::demo) fn broker(self) -> &'static str {
        match self {
            Self::Simulator | Self::Plant => "plant",
            Self::Upstream => "upstream",
        }
    }

    fn client_id(self) -> &'static str {
        match self {
            Self::Simulator => "demo-simulator",
            Self::Plant => "demo-plant-ear",
            Self::Upstream => "demo-consumer",
        }
    }
}

/// Connects a client and listens to a filter, if there is one.
pub(in crate::demo) fn connect(
    ear: Ear,
    broker: SocketAddr,
    filter: Option<&'static str>,
    notices: mpsc::Sender<Notice>,
) -> Result<Publisher, DemoError> {
    let address = Address { host: broker.ip().to_string(), port: broker.port(), tls: false };
    let endpoint = Endpoint {
        protocol: Protocol::V311,
        clean_start: true,
        in_flight: IN_FLIGHT,
        connect_timeout: Duration::from_secs(10),
        ..Endpoint::new(address, ear.client_id())
    };
    let (publisher, connection) =
        open(&endpoint).map_err(|source| DemoError::Connect { broker: ear.broker(), source })?;
    tokio::spawn(listen(ear, connection, publisher.clone(), filter, notices));
    Ok(publisher)
}

async fn listen(
    ear: Ear,
    mut connection: Connection,
    publisher: Publisher,
    filter: Option<&'static str>,
    notices: mpsc::Sender<Notice>,
) {
    loop {
        let notice = match connection.next().await {
            Ok(Arrival::Connected(_)) => {
                match filter.map(|filter| publisher.subscribe(filter, Qos::AtLeastOnce)) {
                    None => Notice::Ready,
                    Some(Ok(())) => continue,
                    Some(Err(unsent)) => Notice::Ended(ear, unsent.to_string()),
                }
            }
            Ok(Arrival::Subscribed { refused: None, .. }) => Notice::Ready,
            Ok(Arrival::Subscribed { refused: Some(reason), .. }) => Notice::Ended(ear, reason),
            Ok(Arrival::Message(message)) => {
                if let Err(unsent) = publisher.ack(&message) {
                    Notice::Ended(ear, unsent.to_string())
                } else {
                    Notice::Message(ear, message)
                }
            }
            Ok(Arrival::Acked(_) | Arrival::Refused(..) | Arrival::Alive) => continue,
            Ok(Arrival::Closed) => Notice::Ended(ear, "closed".to_owned()),
            Err(error) => Notice::Ended(ear, error.to_string()),
        };
        let last = matches!(notice, Notice::Ended(..));
        // The stage is gone when nobody takes notices any more.
        if notices.send(notice).await.is_err() || last {
            return;
        }
    }
}
