//! Where a packet begins and ends: the fixed header.

use crate::io::mqtt::Protocol;
use crate::io::mqtt::error::Failure;

/// Largest packet of MQTT, bytes: a remaining length of four bytes of seven bits, and the fixed header.
pub(in crate::io::mqtt) const SIZE_MAX: u32 = 268_435_455 + 5;

/// Largest packet other than PUBLISH, bytes. A broker has nothing to say that is longer; properties without number
/// would otherwise become ten times their size in memory.
const CONTROL_MAX: usize = 64 << 10;

/// A packet in the receive buffer, complete or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io::mqtt) struct Frame {
    /// The first byte: kind and flags.
    pub(in crate::io::mqtt) first: u8,
    /// Bytes of the fixed header.
    pub(in crate::io::mqtt) head: usize,
    /// Bytes of the whole packet.
    pub(in crate::io::mqtt) size: usize,
}

/// The packet at the beginning of the buffer; nothing as long as its fixed header is not complete. Fails for a packet
/// that must not come or is larger than allowed, before the rest of it has arrived.
pub(in crate::io::mqtt) fn frame(
    bytes: &[u8],
    protocol: Protocol,
    publish_max: u32,
) -> Result<Option<Frame>, Failure> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    lawful(first, protocol)?;
    let Some((head, length)) = remaining(rest)? else { return Ok(None) };
    let head = head + 1;
    let size = head + length;
    if first >> 4 != PUBLISH && size > CONTROL_MAX {
        return Err(Failure::Protocol(format!("a packet of type {} with {size} bytes", first >> 4)));
    }
    if size > usize::try_from(publish_max).unwrap_or(usize::MAX) && first >> 4 == PUBLISH {
        return Err(Failure::Oversize(u64::try_from(size).unwrap_or(u64::MAX)));
    }
    Ok(Some(Frame { first, head, size }))
}

/// The kind of PUBLISH.
pub(in crate::io::mqtt) const PUBLISH: u8 = 3;

/// Reads the remaining length: how many bytes it took and what it says. Nothing if it is not complete.
pub(in crate::io::mqtt) fn remaining(bytes: &[u8]) -> Result<Option<(usize, usize)>, Failure> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, value)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Failure::Protocol("a length that does not end".into())) }
}

/// Writes a remaining length; at most [`SIZE_MAX`].
pub(in crate::io::mqtt) fn write_remaining(mut length: usize, out: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        if length == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Turns down what a broker must not send, or not to us: we never ask for QoS 2, an unsubscription or authentication.
fn lawful(first: u8, protocol: Protocol) -> Result<(), Failure> {
    let name = match (first >> 4, first & 0x0f) {
        (PUBLISH, flags) if flags & 0b110 >= 0b100 => "QoS 2",
        (PUBLISH, _) | (2 | 4 | 9 | 13, 0) => return Ok(()),
        (14, 0) if protocol == Protocol::V5 => return Ok(()),
        (2 | 4 | 9 | 13, _) => "reserved flags",
        (1, _) => "CONNECT",
        (5, _) => "PUBREC, which belongs to QoS 2",
        (6, _) => "PUBREL, which belongs to QoS 2",
        (7, _) => "PUBCOMP, which belongs to QoS 2",
        (8, _) => "SUBSCRIBE",
        (10, _) => "UNSUBSCRIBE",
        (11, _) => "UNSUBACK",
        (12, _) => "PINGREQ",
        (14, _) => "DISCONNECT",
        (15, _) => "AUTH",
        _ => "a packet of no type",
    };
    Err(Failure::Protocol(format!("{name}, unasked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back_as_they_were_written_and_end_after_four_bytes() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut bytes = Vec::new();
            write_remaining(length, &mut bytes);
            for cut in 0..bytes.len() {
                assert!(remaining(&bytes[..cut]).is_ok_and(|found| found.is_none()), "{length}, {cut}");
            }
            assert!(remaining(&bytes).is_ok_and(|found| found == Some((bytes.len(), length))), "{length}");
        }
        assert!(remaining(&[0xff; 4]).is_err());
    }

    #[test]
    fn a_packet_too_large_is_turned_down_by_its_header_alone() {
        let size =
            |bytes: &[u8], max| frame(bytes, Protocol::V5, max).map(|found| found.map(|frame| frame.size));
        assert!(matches!(size(&[0x30, 0x80, 0x08], 1_027), Ok(Some(1_027))));
        assert!(matches!(size(&[0x30, 0x80, 0x08], 1_026), Err(Failure::Oversize(1_027))));
        assert!(matches!(size(&[0x30, 0xff, 0xff, 0xff, 0x7f], 1 << 20), Err(Failure::Oversize(_))));
        assert!(matches!(size(&[0x40, 0xff, 0xff, 0x7f], 1 << 20), Err(Failure::Protocol(_))));
        assert!(matches!(size(&[0x30], 1_024), Ok(None)));
    }

    #[test]
    fn only_what_a_broker_may_send_us_is_read_on() {
        let allowed: Vec<u8> =
            (0..=255).filter(|first| frame(&[*first], Protocol::V5, 1_024).is_ok()).collect();
        let publishes = (0x30..=0x3f_u8).filter(|first| first & 0b100 == 0);
        let expected: Vec<u8> = [0x20].into_iter().chain(publishes).chain([0x40, 0x90, 0xd0, 0xe0]).collect();
        assert_eq!(allowed, expected);
        assert!(frame(&[0xe0], Protocol::V311, 1_024).is_err(), "there a broker just closes");
    }
}
