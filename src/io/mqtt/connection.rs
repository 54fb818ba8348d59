//! The receiving side of a connection, and its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::io::mqtt::error::Failure;
use crate::io::mqtt::pairing::{Sent, Shared};
use crate::io::mqtt::publisher::Client;
use crate::io::mqtt::step::{Step, Welcome};
use crate::io::mqtt::{Endpoint, Inbound, MqttError, Protocol, Publisher, Token, v4, v5};

/// One connection. Dropping it breaks the connection off, and the broker publishes the last will.
pub struct Connection {
    link: Link,
    shared: Arc<Shared>,
    sent: Sent,
    broker: String,
    packet_max: u32,
    packet_min: u32,
    stall_max: Duration,
    watch: Option<Pin<Box<tokio::time::Sleep>>>,
    progressed: bool,
    connected: bool,
    /// Why it ended, while what came before the end is still being told.
    ended: Option<Failure>,
}

/// What has happened on a connection.
pub enum Arrival {
    /// The broker has welcomed us; first of all, and once. From now on the publisher takes messages.
    Connected(Welcome),
    /// A message.
    Message(Inbound),
    /// The broker has answered a subscription.
    Subscribed {
        /// The filter that was asked for.
        filter: String,
        /// Nothing if it was granted, else the broker's reason.
        refused: Option<String>,
    },
    /// The broker has taken a QoS 1 message.
    Acked(Token),
    /// The broker has answered that it does not take a QoS 1 message (MQTT 5 only).
    Refused(Token, &'static str),
    /// The broker has answered a ping: nothing else to tell, but the link is alive.
    Alive,
    /// The good-bye has been written: drop the connection.
    Closed,
}

/// The client library's loop.
enum Link {
    V4(Box<v4::EventLoop>),
    V5(Box<v5::EventLoop>),
}

/// Numbers connections, so that an acknowledgement cannot be sent on the wrong one.
static CONNECTIONS: AtomicU32 = AtomicU32::new(1);

/// Prepares a connection; the first [`Connection::next`] makes it. Reads the TLS files.
pub fn open(endpoint: &Endpoint) -> Result<(Publisher, Connection), MqttError> {
    endpoint.validate()?;
    let transport = crate::io::mqtt::tls::transport(endpoint)?;
    let (client, link) = match endpoint.protocol {
        Protocol::V311 => {
            let (client, link) = v4::open(endpoint, transport);
            (Client::V4(client), Link::V4(Box::new(link)))
        }
        Protocol::V5 => {
            let (client, link) = v5::open(endpoint, transport);
            (Client::V5(client), Link::V5(Box::new(link)))
        }
    };
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let shared = Arc::new(Shared::new(number, endpoint.in_flight));
    let connection = Connection {
        link,
        shared: Arc::clone(&shared),
        sent: Sent::default(),
        broker: endpoint.address.to_string(),
        packet_max: endpoint.packet_max,
        packet_min: endpoint.packet_min,
        stall_max: endpoint.stall_max(),
        watch: None,
        progressed: false,
        connected: false,
        ended: None,
    };
    Ok((Publisher::new(client, shared), connection))
}

impl Connection {
    /// Waits for what happens next and writes what the publishers gave meanwhile.
    ///
    /// Poll it without pause: pings go out only while it is polled. After an error or [`Arrival::Closed`], drop it.
    ///
    /// # Cancel safety
    /// Not cancel-safe: dropping the future in the middle of a write may lose the packet being written. Give it a
    /// loop of its own that selects on nothing else, and end that by [`Publisher::disconnect`] or by dropping it all.
    pub async fn next(&mut self) -> Result<Arrival, MqttError> {
        loop {
            let step = match self.step().await.and_then(|step| self.lawful(step)) {
                Ok(step) => step,
                Err(failure) => {
                    self.shared.close();
                    return Err(failure.error(self.broker.clone(), self.connected, self.packet_max));
                }
            };
            if let Some(arrival) = self.arrival(step) {
                return Ok(arrival);
            }
        }
    }

    /// One step: of the living connection, or what it had received before it ended, then the end.
    async fn step(&mut self) -> Result<Step, Failure> {
        if self.ended.is_none() {
            match self.poll().await {
                Ok(step) => return Ok(step),
                // The library reads ten packets at a time and reports the end of the stream before the packets it
                // had read ahead of it. Acknowledgements are among them.
                Err(failure) => self.ended = Some(failure),
            }
        }
        let left = match &mut self.link {
            Link::V4(link) => link.state.events.pop_front().map(v4::digest),
            Link::V5(link) => link.state.events.pop_front().map(|event| v5::digest(link, event)),
        };
        left.unwrap_or_else(|| {
            Err(self.ended.take().unwrap_or_else(|| Failure::Other("it has ended already".into())))
        })
    }

    /// Turns down the welcome of a broker that takes no packets of the size needed, and tells the good-bye we asked for
    /// from the one the library says by itself to a broker that broke the protocol.
    fn lawful(&self, step: Step) -> Result<Step, Failure> {
        if matches!(step, Step::GoodbyeSent) && !self.shared.is_leaving() {
            return Err(Failure::Other("the broker broke the protocol".into()));
        }
        if let Step::Welcome(Welcome { packet_max: Some(max), .. }) = step
            && max < self.packet_min
        {
            return Err(Failure::Refused {
                reason: format!("it takes packets of {max} bytes at most"),
                remedy: "raise the maximum packet size of the broker",
            });
        }
        Ok(step)
    }

    /// The arrival a step stands for, if any.
    fn arrival(&mut self, step: Step) -> Option<Arrival> {
        match step {
            Step::Message(mut message) => {
                message.connection = self.shared.connection;
                Some(Arrival::Message(message))
            }
            Step::Published(id) => {
                self.sent.published(id, &self.shared);
                None
            }
            Step::Answered(id, None) => self.sent.answered(id, &self.shared).map(Arrival::Acked),
            Step::Answered(id, Some(reason)) => {
                self.sent.answered(id, &self.shared).map(|token| Arrival::Refused(token, reason))
            }
            Step::Welcome(welcome) => {
                self.connected = true;
                self.shared.open(welcome.receive_max, welcome.packet_max);
                Some(Arrival::Connected(welcome))
            }
            Step::SubscriptionSent(id) => {
                self.sent.subscribed(id, &self.shared);
                None
            }
            Step::SubscriptionAnswered(id, refused) => {
                self.sent.granted(id).map(|filter| Arrival::Subscribed { filter, refused })
            }
            Step::Pong => Some(Arrival::Alive),
            Step::GoodbyeSent => {
                self.shared.close();
                Some(Arrival::Closed)
            }
            Step::Other => None,
        }
    }

    /// Polls the client library once; fails when it makes no progress.
    ///
    /// MQTT 5 in rumqttc writes without a timeout: on a dead link with full buffers it would wait for the kernel to
    /// give up, a quarter of an hour.
    async fn poll(&mut self) -> Result<Step, Failure> {
        let Self { link, watch, progressed, stall_max, .. } = self;
        let watch = watch.get_or_insert_with(|| Box::pin(tokio::time::sleep(*stall_max)));
        let poll = async {
            match link {
                Link::V4(link) => v4::step(link).await,
                Link::V5(link) => v5::step(link).await,
            }
        };
        let mut poll = std::pin::pin!(poll);
        loop {
            tokio::select! {
                biased;
                step = poll.as_mut() => {
                    *progressed = true;
                    return step;
                }
                () = watch.as_mut() => {
                    if !std::mem::take(progressed) {
                        return Err(Failure::Other("no progress for longer than two keep-alives".into()));
                    }
                    watch.set(tokio::time::sleep(*stall_max));
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.close();
    }
}
