//! MQTT 5 by the codec of rumqttc.

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, Login,
    Packet as Wire, PubAckReason, Subscribe, SubscribeReasonCode,
};

use crate::io::mqtt::codec::packet::{Packet, Welcome, malformed};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::{Endpoint, Qos};

pub(in crate::io::mqtt) fn hello(endpoint: &Endpoint, out: &mut BytesMut) {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval =
        Some(u32::try_from(endpoint.session_expiry.as_secs()).unwrap_or(u32::MAX));
    properties.receive_maximum = Some(endpoint.receive_max);
    properties.max_packet_size = Some(endpoint.packet_max);
    let connect = Connect {
        keep_alive: endpoint.keep_alive_seconds(),
        client_id: endpoint.client_id.clone(),
        clean_start: endpoint.clean_start,
        properties: Some(properties),
    };
    let will = endpoint.last_will.as_ref().map(|will| LastWill {
        topic: Bytes::copy_from_slice(will.topic.as_bytes()),
        message: Bytes::copy_from_slice(&will.payload),
        qos: QoS::AtLeastOnce,
        retain: will.retain,
        properties: None,
    });
    let login = endpoint.username.as_ref().map(|username| Login {
        username: username.clone(),
        password: endpoint.password.clone().unwrap_or_default(),
    });
    write(&Wire::Connect(connect, will, login), out);
}

pub(in crate::io::mqtt) fn subscribe(id: u16, filter: &str, qos: Qos, out: &mut BytesMut) {
    let qos = match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    };
    let mut subscribe = Subscribe::new(Filter::new(filter, qos), None);
    subscribe.pkid = id;
    write(&Wire::Subscribe(subscribe), out);
}

/// Writes a packet of ours. It fails only beyond 256 MiB, and all that comes this way has texts below 64 KiB.
fn write(packet: &Wire, out: &mut BytesMut) {
    debug_assert!(packet.size() < 1 << 20, "ours are small");
    if packet.write(out, None).is_err() {
        out.clear();
    }
}

pub(in crate::io::mqtt) fn read(frame: &mut BytesMut) -> Result<Packet, Failure> {
    match Wire::read(frame, None).map_err(|fault| malformed(&fault))? {
        Wire::ConnAck(ack) => welcome(&ack),
        Wire::PubAck(ack) => Ok(Packet::Answered(ack.pkid, publish_refusal(ack.reason))),
        Wire::SubAck(ack) => match ack.return_codes.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(Packet::Granted(ack.pkid, None)),
            [refused] => Ok(Packet::Granted(ack.pkid, Some(words(&format!("{refused:?}"))))),
            many => Err(Failure::Protocol(format!("{} answers to one subscription", many.len()))),
        },
        Wire::PingResp(_) => Ok(Packet::Pong),
        Wire::Disconnect(goodbye) => Ok(Packet::Goodbye(farewell(goodbye.reason_code))),
        Wire::Auth(_)
        | Wire::Connect(..)
        | Wire::Publish(_)
        | Wire::PubRec(_)
        | Wire::PubRel(_)
        | Wire::PubComp(_)
        | Wire::Subscribe(_)
        | Wire::Unsubscribe(_)
        | Wire::UnsubAck(_)
        | Wire::PingReq(_) => Err(Failure::Protocol("a packet no broker sends".into())),
    }
}

fn welcome(ack: &ConnAck) -> Result<Packet, Failure> {
    if ack.code != ConnectReturnCode::Success {
        return Err(refusal(ack.code));
    }
    let mut welcome = Welcome::plain(ack.session_present);
    if let Some(properties) = &ack.properties {
        welcome.receive_max = properties.receive_max;
        welcome.packet_max = properties.max_packet_size;
        welcome.keep_alive = properties.server_keep_alive;
        welcome.retains = properties.retain_available != Some(0);
        welcome.at_least_once = properties.max_qos != Some(0);
    }
    Ok(Packet::Welcome(welcome))
}

fn farewell(code: DisconnectReasonCode) -> String {
    if code == DisconnectReasonCode::SessionTakenOver {
        return "another client has logged in with the same client id".into();
    }
    words(&format!("{code:?}"))
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
        ConnectReturnCode::BadAuthenticationMethod => "allow user name and password on the broker",
        ConnectReturnCode::TopicNameInvalid
        | ConnectReturnCode::PayloadFormatInvalid
        | ConnectReturnCode::RetainNotSupported
        | ConnectReturnCode::QoSNotSupported => {
            "allow retained messages of QoS 1, the last will, on the broker"
        }
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
    text.replace("qo s", "QoS")
}
