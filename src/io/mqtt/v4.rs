//! MQTT 3.1.1 through rumqttc.

use bytes::Bytes;
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::{
    ConnectReturnCode, ConnectionError, Event, LastWill, MqttOptions, NetworkOptions, Outgoing, Packet,
    Publish, QoS, StateError, SubscribeReasonCode, TlsError, Transport,
};

pub(in crate::io::mqtt) use rumqttc::{AsyncClient as Client, EventLoop};

use crate::io::mqtt::error::Failure;
use crate::io::mqtt::step::Step;
use crate::io::mqtt::{Endpoint, Inbound, Qos, Welcome};

/// Largest packet of the protocol: MQTT 3.1.1 brokers announce no limit.
const PACKET_MAX_OUT: usize = 268_435_455;

pub(in crate::io::mqtt) fn open(endpoint: &Endpoint, transport: Transport) -> (Client, EventLoop) {
    let mut options = MqttOptions::new(endpoint.client_id.as_str(), endpoint.host(), endpoint.address.port);
    options
        .set_transport(transport)
        .set_keep_alive(endpoint.keep_alive)
        .set_clean_session(endpoint.clean_start)
        .set_max_packet_size(usize::try_from(endpoint.packet_max).unwrap_or(usize::MAX), PACKET_MAX_OUT)
        .set_inflight(endpoint.packet_ids())
        .set_manual_acks(true);
    if let Some(username) = &endpoint.username {
        options.set_credentials(username, endpoint.password.as_deref().unwrap_or_default());
    }
    if let Some(will) = &endpoint.last_will {
        let (topic, payload) = (will.topic.as_str(), will.payload.as_slice());
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, will.retain));
    }
    let (client, mut link) = Client::new(options, endpoint.requests());
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(endpoint.connect_timeout.as_secs());
    network.set_tcp_nodelay(true);
    link.set_network_options(network);
    (client, link)
}

pub(in crate::io::mqtt) fn subscribe(client: &Client, filter: &str, qos: Qos) -> bool {
    client.try_subscribe(filter, asked(qos)).is_ok()
}

pub(in crate::io::mqtt) fn publish(
    client: &Client,
    topic: &str,
    payload: Bytes,
    qos: Qos,
    retain: bool,
) -> bool {
    client.try_publish(topic, asked(qos), retain, payload).is_ok()
}

pub(in crate::io::mqtt) fn ack(client: &Client, packet_id: u16) -> bool {
    let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
    publish.pkid = packet_id;
    client.try_ack(&publish).is_ok()
}

pub(in crate::io::mqtt) async fn step(link: &mut EventLoop) -> Result<Step, Failure> {
    link.poll().await.map_err(failure).and_then(digest)
}

/// What an event of the library means.
pub(in crate::io::mqtt) fn digest(event: Event) -> Result<Step, Failure> {
    match event {
        Event::Incoming(packet) => incoming(packet),
        Event::Outgoing(sent) => Ok(outgoing(&sent)),
    }
}

fn asked(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

fn incoming(packet: Packet) -> Result<Step, Failure> {
    Ok(match packet {
        Packet::Publish(publish) => {
            let qos = match publish.qos {
                QoS::AtMostOnce => Qos::AtMostOnce,
                QoS::AtLeastOnce => Qos::AtLeastOnce,
                QoS::ExactlyOnce => return Err(Failure::Other("the broker sent QoS 2, unasked".into())),
            };
            let topic = Bytes::from(publish.topic);
            Step::Message(Inbound::new(topic, publish.payload, publish.pkid, qos, publish.retain))
        }
        Packet::PubAck(ack) => Step::Answered(ack.pkid, None),
        Packet::ConnAck(ack) => {
            Step::Welcome(Welcome { session_present: ack.session_present, ..Welcome::default() })
        }
        Packet::SubAck(ack) => {
            let refused = ack.return_codes.contains(&SubscribeReasonCode::Failure);
            Step::SubscriptionAnswered(ack.pkid, refused.then(|| "not allowed or not supported".to_owned()))
        }
        Packet::PingResp => Step::Pong,
        Packet::Connect(_)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq
        | Packet::Disconnect => Step::Other,
    })
}

/// What the library reports as sent; the same type for both versions.
pub(in crate::io::mqtt) fn outgoing(sent: &Outgoing) -> Step {
    match *sent {
        Outgoing::Publish(id) if id != 0 => Step::Published(id),
        Outgoing::Subscribe(id) => Step::SubscriptionSent(id),
        Outgoing::Disconnect => Step::GoodbyeSent,
        // A publish without a packet id is one of QoS 0.
        Outgoing::Publish(_)
        | Outgoing::Unsubscribe(_)
        | Outgoing::PubAck(_)
        | Outgoing::PubRec(_)
        | Outgoing::PubRel(_)
        | Outgoing::PubComp(_)
        | Outgoing::PingReq
        | Outgoing::PingResp
        | Outgoing::AwaitAck(_) => Step::Other,
    }
}

fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::MqttState(state) => state_failure(state),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Failure::Timeout,
        ConnectionError::Tls(error) => tls_failure(error),
        ConnectionError::Io(source) => Failure::Io(source),
        ConnectionError::ConnectionRefused(code) => refusal(code),
        ConnectionError::NotConnAck(_) => Failure::Other("it does not answer like an MQTT broker".into()),
        ConnectionError::RequestsDone => Failure::Other("all publishers are gone".into()),
    }
}

fn state_failure(error: StateError) -> Failure {
    match error {
        StateError::Io(source) | StateError::Deserialization(CodecError::Io(source)) => Failure::Io(source),
        StateError::Deserialization(CodecError::PayloadSizeLimitExceeded(size)) => {
            Failure::Oversize(u64::try_from(size).unwrap_or(u64::MAX))
        }
        StateError::ConnectionAborted => Failure::Other("the broker closed the connection".into()),
        StateError::AwaitPingResp => Failure::Other("a ping was not answered within keep_alive".into()),
        StateError::InvalidState
        | StateError::Unsolicited(_)
        | StateError::WrongPacket
        | StateError::CollisionTimeout
        | StateError::EmptySubscription
        | StateError::Deserialization(_) => Failure::Other(error.to_string().to_lowercase()),
    }
}

/// A failure of TLS; the same type for both versions.
pub(in crate::io::mqtt) fn tls_failure(error: TlsError) -> Failure {
    match error {
        TlsError::Io(source) => Failure::Io(source),
        TlsError::Addr(_)
        | TlsError::WebPki(_)
        | TlsError::DNSName(_)
        | TlsError::TLS(_)
        | TlsError::NoValidCertInChain
        | TlsError::NoValidClientCertInChain
        | TlsError::NoValidKeyInChain => Failure::Tls(error.into()),
    }
}

fn refusal(code: ConnectReturnCode) -> Failure {
    let (reason, remedy) = match code {
        ConnectReturnCode::BadUserNamePassword => {
            ("bad user name or password", "check username and password_file")
        }
        ConnectReturnCode::NotAuthorized => {
            ("not authorised", "check username, password_file and the broker's ACL")
        }
        ConnectReturnCode::BadClientId => ("client id not allowed", "check site and gateway id"),
        ConnectReturnCode::RefusedProtocolVersion => ("MQTT 3.1.1 not spoken", "set the protocol to 5"),
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            return Failure::Unavailable("service unavailable".into());
        }
    };
    Failure::Refused { reason: reason.into(), remedy }
}
