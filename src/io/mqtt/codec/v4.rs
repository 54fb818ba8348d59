//! MQTT 3.1.1 by the codec of rumqttc.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Login, Packet as Wire, Subscribe, SubscribeReasonCode,
};

use crate::io::mqtt::codec::packet::{Packet, Welcome, malformed};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::{Endpoint, Qos};

pub(in crate::io::mqtt) fn hello(endpoint: &Endpoint, out: &mut BytesMut) {
    let mut connect = Connect::new(endpoint.client_id.as_str());
    connect.keep_alive = endpoint.keep_alive_seconds();
    connect.clean_session = endpoint.clean_start;
    connect.last_will = endpoint.last_will.as_ref().map(|will| LastWill {
        topic: will.topic.clone(),
        message: Bytes::copy_from_slice(&will.payload),
        qos: QoS::AtLeastOnce,
        retain: will.retain,
    });
    connect.login = endpoint.username.as_ref().map(|username| Login {
        username: username.clone(),
        password: endpoint.password.clone().unwrap_or_default(),
    });
    write(&Wire::Connect(connect), out);
}

pub(in crate::io::mqtt) fn subscribe(id: u16, filter: &str, qos: Qos, out: &mut BytesMut) {
    let qos = match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    };
    let mut subscribe = Subscribe::new(filter, qos);
    subscribe.pkid = id;
    write(&Wire::Subscribe(subscribe), out);
}

/// Writes a packet of ours. It fails only beyond 256 MiB, and all that comes this way has texts below 64 KiB.
fn write(packet: &Wire, out: &mut BytesMut) {
    debug_assert!(packet.size() < 1 << 20, "ours are small");
    if packet.write(out, usize::MAX).is_err() {
        out.clear();
    }
}

pub(in crate::io::mqtt) fn read(frame: &mut BytesMut) -> Result<Packet, Failure> {
    match Wire::read(frame, usize::MAX).map_err(|fault| malformed(&fault))? {
        Wire::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
            Ok(Packet::Welcome(Welcome::plain(ack.session_present)))
        }
        Wire::ConnAck(ack) => Err(refusal(ack.code)),
        Wire::PubAck(ack) => Ok(Packet::Answered(ack.pkid, None)),
        Wire::SubAck(ack) => match ack.return_codes.as_slice() {
            [SubscribeReasonCode::Success(_)] => Ok(Packet::Granted(ack.pkid, None)),
            [SubscribeReasonCode::Failure] => {
                Ok(Packet::Granted(ack.pkid, Some("not allowed or not supported".into())))
            }
            many => Err(Failure::Protocol(format!("{} answers to one subscription", many.len()))),
        },
        Wire::PingResp => Ok(Packet::Pong),
        Wire::Connect(_)
        | Wire::Publish(_)
        | Wire::PubRec(_)
        | Wire::PubRel(_)
        | Wire::PubComp(_)
        | Wire::Subscribe(_)
        | Wire::Unsubscribe(_)
        | Wire::UnsubAck(_)
        | Wire::PingReq
        | Wire::Disconnect => Err(Failure::Protocol("a packet no broker sends".into())),
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
        ConnectReturnCode::RefusedProtocolVersion => {
            ("this version of MQTT is not spoken", "set the other protocol")
        }
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            return Failure::Unavailable("service unavailable".into());
        }
    };
    Failure::Refused { reason: reason.into(), remedy }
}
