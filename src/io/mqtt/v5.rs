//! MQTT 5 through rumqttc.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::Transport;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, LastWill, Packet, PubAckReason,
    Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::mqttbytes::{Error as CodecError, QoS};
use rumqttc::v5::{ConnectionError, Event, MqttOptions, StateError};

pub(in crate::io::mqtt) use rumqttc::v5::{AsyncClient as Client, EventLoop};

use crate::io::mqtt::error::Failure;
use crate::io::mqtt::step::Step;
use crate::io::mqtt::{Endpoint, Inbound, Qos, Welcome, v4};

/// Keep-alive where the broker asks for none: rumqttc would ping without pause.
const KEEP_ALIVE_IF_NONE: Duration = Duration::from_hours(1);

pub(in crate::io::mqtt) fn open(endpoint: &Endpoint, transport: Transport) -> (Client, EventLoop) {
    let mut options = MqttOptions::new(endpoint.client_id.as_str(), endpoint.host(), endpoint.address.port);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval =
        Some(u32::try_from(endpoint.session_expiry.as_secs()).unwrap_or(u32::MAX));
    properties.receive_maximum = Some(endpoint.receive_max);
    properties.max_packet_size = Some(endpoint.packet_max);
    options
        .set_connect_properties(properties)
        .set_transport(transport)
        .set_keep_alive(endpoint.keep_alive)
        .set_clean_start(endpoint.clean_start)
        .set_connection_timeout(endpoint.connect_timeout.as_secs())
        .set_manual_acks(true);
    // rumqttc reserves room for 65,535 publishes (14 MB) unless told otherwise.
    options.set_outgoing_inflight_upper_limit(endpoint.packet_ids());
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    if let Some(username) = &endpoint.username {
        options.set_credentials(username, endpoint.password.as_deref().unwrap_or_default());
    }
    if let Some(will) = &endpoint.last_will {
        let (topic, payload) = (will.topic.as_str(), will.payload.as_slice());
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, will.retain, None));
    }
    Client::new(options, endpoint.requests())
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
    let mut publish = Publish::new("", QoS::AtLeastOnce, Bytes::new(), None);
    publish.pkid = packet_id;
    client.try_ack(&publish).is_ok()
}

pub(in crate::io::mqtt) async fn step(link: &mut EventLoop) -> Result<Step, Failure> {
    let event = link.poll().await.map_err(failure)?;
    digest(link, event)
}

/// What an event of the library means.
pub(in crate::io::mqtt) fn digest(link: &mut EventLoop, event: Event) -> Result<Step, Failure> {
    match event {
        Event::Incoming(Packet::Publish(publish)) => message(publish),
        Event::Incoming(Packet::PubAck(ack)) => {
            let refused = publish_refusal(ack.reason);
            // rumqttc leaves a publish that waits for this packet id waiting for ever.
            if refused.is_some() && link.state.collision.is_some() {
                return Err(Failure::Other("a refused publish blocks the others".into()));
            }
            Ok(Step::Answered(ack.pkid, refused))
        }
        Event::Incoming(Packet::ConnAck(ack)) => {
            if link.options.keep_alive().is_zero() {
                link.options.set_keep_alive(KEEP_ALIVE_IF_NONE);
            }
            Ok(Step::Welcome(welcome(&ack)))
        }
        Event::Incoming(packet) => Ok(incoming(&packet)),
        Event::Outgoing(sent) => Ok(v4::outgoing(&sent)),
    }
}

fn asked(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

fn message(publish: Publish) -> Result<Step, Failure> {
    // We allow no topic aliases; rumqttc keeps every one it is sent, each with the packet it came in.
    if publish.properties.as_ref().is_some_and(|properties| properties.topic_alias.is_some()) {
        return Err(Failure::Other("the broker sent a topic alias, unasked".into()));
    }
    let qos = match publish.qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => return Err(Failure::Other("the broker sent QoS 2, unasked".into())),
    };
    Ok(Step::Message(Inbound::new(publish.topic, publish.payload, publish.pkid, qos, publish.retain)))
}

fn welcome(ack: &ConnAck) -> Welcome {
    let properties = ack.properties.as_ref();
    Welcome {
        session_present: ack.session_present,
        receive_max: properties.and_then(|properties| properties.receive_max),
        packet_max: properties.and_then(|properties| properties.max_packet_size),
    }
}

fn incoming(packet: &Packet) -> Step {
    match packet {
        Packet::SubAck(ack) => Step::SubscriptionAnswered(ack.pkid, subscription_refusal(ack)),
        Packet::PingResp(_) => Step::Pong,
        Packet::Publish(_)
        | Packet::PubAck(_)
        | Packet::ConnAck(_)
        | Packet::Connect(..)
        | Packet::PubRec(_)
        | Packet::PubRel(_)
        | Packet::PubComp(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::UnsubAck(_)
        | Packet::PingReq(_)
        | Packet::Disconnect(_)
        | Packet::Auth(_) => Step::Other,
    }
}

fn subscription_refusal(ack: &SubAck) -> Option<String> {
    let refused = ack.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)))?;
    Some(words(&format!("{refused:?}")))
}

fn publish_refusal(reason: PubAckReason) -> Option<&'static str> {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
        PubAckReason::UnspecifiedError => Some("unspecified error"),
        PubAckReason::ImplementationSpecificError => Some("implementation specific error"),
        PubAckReason::NotAuthorized => Some("not authorised"),
        PubAckReason::TopicNameInvalid => Some("topic name invalid"),
        PubAckReason::PacketIdentifierInUse => Some("packet identifier in use"),
        PubAckReason::QuotaExceeded => Some("quota exceeded"),
        PubAckReason::PayloadFormatInvalid => Some("payload format invalid"),
    }
}

fn failure(error: ConnectionError) -> Failure {
    match error {
        ConnectionError::MqttState(state) => state_failure(state),
        ConnectionError::Timeout(_) => Failure::Timeout,
        ConnectionError::Tls(error) => v4::tls_failure(error),
        ConnectionError::Io(source) => Failure::Io(source),
        ConnectionError::ConnectionRefused(code) => refusal(code),
        ConnectionError::NotConnAck(_) => Failure::Other("it does not answer like an MQTT broker".into()),
        ConnectionError::RequestsDone => Failure::Other("all publishers are gone".into()),
    }
}

fn state_failure(error: StateError) -> Failure {
    match error {
        StateError::Io(source) | StateError::Deserialization(CodecError::Io(source)) => Failure::Io(source),
        StateError::Deserialization(CodecError::PayloadSizeLimitExceeded { pkt_size, .. })
        | StateError::IncomingPacketTooLarge { pkt_size, .. } => {
            Failure::Oversize(u64::try_from(pkt_size).unwrap_or(u64::MAX))
        }
        StateError::ConnectionAborted => Failure::Other("the broker closed the connection".into()),
        StateError::AwaitPingResp => Failure::Other("a ping was not answered within keep_alive".into()),
        StateError::ConnFail { reason } => refusal(reason),
        StateError::ServerDisconnect { reason_code: DisconnectReasonCode::SessionTakenOver, .. } => {
            Failure::Other("another client has logged in with the same client id".into())
        }
        StateError::ServerDisconnect { reason_code, .. } => {
            Failure::Other(format!("the broker said good-bye: {}", words(&format!("{reason_code:?}"))))
        }
        StateError::Coversion(_)
        | StateError::InvalidState
        | StateError::Unsolicited(_)
        | StateError::WrongPacket
        | StateError::CollisionTimeout
        | StateError::EmptySubscription
        | StateError::Deserialization(_)
        | StateError::InvalidAlias { .. }
        | StateError::OutgoingPacketTooLarge { .. } => Failure::Other(error.to_string().to_lowercase()),
    }
}

fn refusal(code: ConnectReturnCode) -> Failure {
    let reason = words(&format!("{code:?}"));
    let remedy = match code {
        ConnectReturnCode::BadUserNamePassword => "check username and password_file",
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::Banned => {
            "check username, password_file and the broker's ACL"
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            "check site and gateway id"
        }
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion => {
            "set the protocol to 3.1.1"
        }
        ConnectReturnCode::BadAuthenticationMethod => "the broker wants another way to log in",
        ConnectReturnCode::TopicNameInvalid
        | ConnectReturnCode::PayloadFormatInvalid
        | ConnectReturnCode::RetainNotSupported
        | ConnectReturnCode::QoSNotSupported => "the broker does not take the last will",
        ConnectReturnCode::UseAnotherServer | ConnectReturnCode::ServerMoved => {
            "the broker has moved: check the url"
        }
        ConnectReturnCode::Success
        | ConnectReturnCode::ServiceUnavailable
        | ConnectReturnCode::UnspecifiedError
        | ConnectReturnCode::MalformedPacket
        | ConnectReturnCode::ProtocolError
        | ConnectReturnCode::ImplementationSpecificError
        | ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServerBusy
        | ConnectReturnCode::PacketTooLarge
        | ConnectReturnCode::QuotaExceeded
        | ConnectReturnCode::ConnectionRateExceeded => return Failure::Unavailable(reason),
    };
    Failure::Refused { reason, remedy }
}

/// `NotAuthorized` as "not authorized".
fn words(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() {
            text.push(' ');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
