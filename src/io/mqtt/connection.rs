//! The receiving side of a connection, and its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::io::mqtt::codec::{Packet, Welcome};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::handshake::{Plan, connect};
use crate::io::mqtt::link::{Link, Told};
use crate::io::mqtt::outgoing::Outgoing;
use crate::io::mqtt::socket::{Socket, Tls};
use crate::io::mqtt::window::Window;
use crate::io::mqtt::{Endpoint, Inbound, MqttError, Publisher, Token, Traffic};

/// One connection. Dropping it breaks the connection off, and the broker publishes the last will.
pub struct Connection {
    phase: Phase,
    outgoing: Arc<Outgoing>,
    traffic: Traffic,
    broker: String,
    packet_max: u32,
    welcomed: bool,
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

/// How far a connection is.
enum Phase {
    Opening(Opening),
    Up(Box<Link>),
    Ended,
}

/// A handshake under way.
type Opening = Pin<Box<dyn Future<Output = Result<(Link, Welcome), Failure>> + Send>>;

/// Numbers connections, so that an acknowledgement cannot be sent on the wrong one.
static CONNECTIONS: AtomicU32 = AtomicU32::new(1);

/// Prepares a connection; the first [`Connection::next`] makes it. Reads the TLS files.
pub fn open(endpoint: &Endpoint) -> Result<(Publisher, Connection), MqttError> {
    prepare(endpoint, None)
}

/// The same over a socket that is there already, in place of TCP: for tests that own the clock, and for tunnels.
pub fn open_over(endpoint: &Endpoint, socket: Box<dyn Socket>) -> Result<(Publisher, Connection), MqttError> {
    prepare(endpoint, Some(socket))
}

fn prepare(
    endpoint: &Endpoint,
    socket: Option<Box<dyn Socket>>,
) -> Result<(Publisher, Connection), MqttError> {
    endpoint.validate()?;
    let tls = Tls::of(endpoint)?;
    let number = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    let outgoing = Arc::new(Outgoing::new(number, endpoint.protocol, endpoint.in_flight));
    let traffic = Traffic::default();
    let plan = Plan { endpoint: endpoint.clone(), tls, traffic: traffic.clone(), socket };
    let connection = Connection {
        phase: Phase::Opening(Box::pin(connect(plan))),
        outgoing: Arc::clone(&outgoing),
        traffic,
        broker: endpoint.address.to_string(),
        packet_max: endpoint.packet_max,
        welcomed: false,
    };
    Ok((Publisher::new(outgoing), connection))
}

impl Connection {
    /// Waits for what happens next and writes what the publishers gave meanwhile.
    ///
    /// Poll it without pause: pings go out only while it is polled. After an error or [`Arrival::Closed`], drop it.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is lost when the future is dropped, and the next one goes on where it was.
    pub async fn next(&mut self) -> Result<Arrival, MqttError> {
        match self.step().await {
            Ok(arrival) => {
                if matches!(arrival, Arrival::Closed) {
                    self.end();
                }
                Ok(arrival)
            }
            Err(failure) => {
                self.end();
                Err(failure.error(self.broker.clone(), self.welcomed, self.packet_max))
            }
        }
    }

    /// Counts every byte of this connection on its socket, the handshake and TLS included. Outlives the connection.
    pub fn traffic(&self) -> Traffic {
        self.traffic.clone()
    }

    async fn step(&mut self) -> Result<Arrival, Failure> {
        match &mut self.phase {
            Phase::Ended => Err(Failure::Ended),
            Phase::Opening(opening) => {
                let (link, welcome) = opening.as_mut().await?;
                self.phase = Phase::Up(Box::new(link));
                self.welcomed = true;
                self.outgoing.open(&welcome);
                Ok(Arrival::Connected(welcome))
            }
            Phase::Up(link) => match link.next(&self.outgoing).await? {
                Told::Left => Ok(Arrival::Closed),
                Told::Packet(packet) => self.arrival(packet),
            },
        }
    }

    /// What a packet stands for. An answer to what was never asked is a fault; an acknowledgement that comes again is
    /// only a sign of life: packet ids go round, so it meets no other publish.
    fn arrival(&self, packet: Packet) -> Result<Arrival, Failure> {
        match packet {
            Packet::Message(mut message) => {
                message.connection = self.outgoing.connection;
                Ok(Arrival::Message(message))
            }
            Packet::Answered(id, refused) => {
                let answered = |window: &mut Window| window.answered(id).ok_or_else(|| window.repeats(id));
                let token = match self.outgoing.with_window(answered) {
                    Ok(token) => token,
                    // To break off would make a broker that tells everything twice unusable.
                    Err(true) => return Ok(Arrival::Alive),
                    Err(false) => return Err(unasked("an acknowledgement", id)),
                };
                Ok(refused.map_or(Arrival::Acked(token), |reason| Arrival::Refused(token, reason)))
            }
            Packet::Granted(id, refused) => {
                let filter = self.outgoing.with_window(|window| window.granted(id));
                let filter = filter.ok_or_else(|| unasked("the answer to a subscription", id))?;
                Ok(Arrival::Subscribed { filter, refused })
            }
            Packet::Pong => Ok(Arrival::Alive),
            Packet::Goodbye(reason) => Err(Failure::Goodbye(reason)),
            Packet::Welcome(_) => Err(Failure::Protocol("a second welcome".into())),
        }
    }

    fn end(&mut self) {
        self.outgoing.close();
        self.phase = Phase::Ended;
    }
}

fn unasked(what: &str, id: u16) -> Failure {
    Failure::Protocol(format!("{what} for packet id {id}, which is not under way"))
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.outgoing.close();
    }
}
