//! PUBLISH of both versions, read and written without a copy of topic or payload.

use bytes::{Buf, Bytes};

use crate::io::mqtt::codec::frame::{Frame, remaining, write_remaining};
use crate::io::mqtt::error::Failure;
use crate::io::mqtt::{Inbound, Protocol, Qos};

/// Bytes of a PUBLISH, and how many of them come after the fixed header.
fn sizes(protocol: Protocol, topic: &str, payload: &[u8], qos: Qos) -> (usize, usize) {
    let id = if qos == Qos::AtLeastOnce { 2 } else { 0 };
    let properties = usize::from(protocol == Protocol::V5);
    let length = 2 + topic.len() + id + properties + payload.len();
    let head = match length {
        0..0x80 => 2,
        0x80..0x4000 => 3,
        0x4000..0x20_0000 => 4,
        0x20_0000.. => 5,
    };
    (head + length, length)
}

/// Bytes of a PUBLISH on the connection, without TLS.
pub(in crate::io::mqtt) fn publish_size(protocol: Protocol, topic: &str, payload: &[u8], qos: Qos) -> usize {
    sizes(protocol, topic, payload, qos).0
}

/// Writes a PUBLISH: of QoS 1 if there is a packet id. The topic has at most 65,535 bytes.
pub(in crate::io::mqtt) fn publish(
    protocol: Protocol,
    topic: &str,
    payload: &[u8],
    packet_id: Option<u16>,
    retain: bool,
    out: &mut Vec<u8>,
) {
    let qos = if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    let (size, length) = sizes(protocol, topic, payload, qos);
    out.reserve(size);
    out.push(0x30 | u8::from(packet_id.is_some()) << 1 | u8::from(retain));
    write_remaining(length, out);
    out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    if let Some(id) = packet_id {
        out.extend_from_slice(&id.to_be_bytes());
    }
    if protocol == Protocol::V5 {
        out.push(0);
    }
    out.extend_from_slice(payload);
}

/// Reads a PUBLISH of QoS 0 or 1.
pub(in crate::io::mqtt) fn read(
    protocol: Protocol,
    frame: Frame,
    mut bytes: Bytes,
) -> Result<Inbound, Failure> {
    bytes.advance(frame.head.min(bytes.len()));
    let length = usize::from(two(&mut bytes)?);
    let topic = part(&mut bytes, length)?;
    let (qos, packet_id) =
        if frame.first & 0b10 == 0 { (Qos::AtMostOnce, 0) } else { (Qos::AtLeastOnce, two(&mut bytes)?) };
    if qos == Qos::AtLeastOnce && packet_id == 0 {
        return Err(Failure::Protocol("a message with packet id 0".into()));
    }
    if protocol == Protocol::V5 {
        let (taken, length) = remaining(&bytes)?.ok_or_else(short)?;
        bytes.advance(taken);
        pass_over(part(&mut bytes, length)?)?;
    }
    Ok(Inbound::new(topic, bytes, packet_id, qos, frame.first & 1 == 1))
}

/// Passes over the properties of a PUBLISH: nothing of them is used. We allow no topic aliases.
fn pass_over(mut properties: Bytes) -> Result<(), Failure> {
    while !properties.is_empty() {
        let length = match properties.get_u8() {
            0x01 => 1,
            0x02 => 4,
            0x03 | 0x08 | 0x09 => usize::from(two(&mut properties)?),
            0x0b => remaining(&properties)?.ok_or_else(short)?.0,
            0x23 => return Err(Failure::Protocol("a topic alias, unasked".into())),
            0x26 => {
                let name = usize::from(two(&mut properties)?);
                part(&mut properties, name)?;
                usize::from(two(&mut properties)?)
            }
            other => {
                return Err(Failure::Protocol(format!(
                    "a message with property {other}, which there is not"
                )));
            }
        };
        part(&mut properties, length)?;
    }
    Ok(())
}

fn two(bytes: &mut Bytes) -> Result<u16, Failure> {
    bytes.try_get_u16().map_err(|_| short())
}

fn part(bytes: &mut Bytes, length: usize) -> Result<Bytes, Failure> {
    if length > bytes.len() { Err(short()) } else { Ok(bytes.split_to(length)) }
}

fn short() -> Failure {
    Failure::Protocol("a message shorter than it says".into())
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5 as peer;

    use super::*;
    use crate::io::mqtt::codec::frame::frame;

    fn written(protocol: Protocol, topic: &str, payload: &[u8], id: Option<u16>) -> Vec<u8> {
        let mut out = Vec::new();
        publish(protocol, topic, payload, id, true, &mut out);
        let qos = if id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        assert_eq!(publish_size(protocol, topic, payload, qos), out.len());
        out
    }

    fn taken(protocol: Protocol, bytes: &[u8]) -> Result<Inbound, Failure> {
        let frame = frame(bytes, protocol, u32::MAX)?.unwrap();
        assert_eq!(frame.size, bytes.len());
        read(protocol, frame, Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn what_is_written_is_what_the_library_reads_and_what_we_read() {
        for (topic, length, id) in
            [("t", 0, None), ("a/b", 5, Some(1)), ("a/b", 200, Some(65_535)), ("x", 20_000, None)]
        {
            let payload = vec![9; length];
            let bytes = written(Protocol::V5, topic, &payload, id);
            let mut buffer = bytes::BytesMut::from(&bytes[..]);
            let peer::Packet::Publish(read) = peer::Packet::read(&mut buffer, None).unwrap() else {
                panic!()
            };
            assert_eq!((&read.topic[..], &read.payload[..]), (topic.as_bytes(), &payload[..]));
            assert_eq!((read.pkid, read.retain), (id.unwrap_or(0), true));
            for protocol in [Protocol::V5, Protocol::V311] {
                let message =
                    taken(protocol, &written(protocol, topic, &payload, id)).unwrap_or_else(|_| panic!());
                assert_eq!((message.topic(), message.payload()), (topic.as_bytes(), &payload[..]));
                assert_eq!((message.packet_id, message.retained()), (id.unwrap_or(0), true));
            }
        }
    }

    #[test]
    fn properties_are_passed_over_and_lies_about_lengths_are_found() {
        let all = [
            &[0x01, 1][..],
            &[0x02, 0, 0, 0, 9],
            &[0x03, 0, 1, b'c'],
            &[0x08, 0, 0],
            &[0x09, 0, 2, 1, 2],
            &[0x0b, 0x80, 0x01],
            &[0x26, 0, 1, b'k', 0, 1, b'v'],
        ]
        .concat();
        let message = |properties: &[u8]| {
            let length = u8::try_from(properties.len()).unwrap();
            let mut bytes = vec![0x30, 3 + 1 + length + 1, 0, 1, b't', length];
            bytes.extend_from_slice(properties);
            bytes.push(b'p');
            taken(Protocol::V5, &bytes)
        };
        assert!(message(&all).is_ok_and(|message| message.payload() == b"p"));
        for cut in [1, 3, 6, 9, 12, 15, 18, 20, 24, 28] {
            assert!(message(&all[..cut]).is_err(), "cut at {cut}");
        }
        assert!(message(&[0x23, 0, 1]).is_err(), "a topic alias");
        assert!(message(&[0x11, 0, 0, 0, 1]).is_err(), "a property of another packet");
    }
}
