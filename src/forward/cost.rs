//! What a packet costs on the socket at worst, both ways, encryption included.

/// Whether the connection is encrypted decides the price of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::forward) struct Tariff {
    tls: bool,
}

/// Bytes around one TLS record: header 5, nonce 8 (TLS 1.2), tag 16; TLS 1.3 takes 22.
const TLS_RECORD_BYTES: u64 = 29;

/// Plain bytes in one TLS record.
const TLS_RECORD_MAX: u64 = 16 << 10;

/// A PUBACK with room for the reason string some brokers of MQTT 5 add; 4 bytes otherwise.
const PUBACK_BYTES: u64 = 64;

/// Reserved for as long as a connection stands: two pings and their answers, the good-bye and the two closing alerts of
/// TLS (6 bytes and 7 records).
const STANDING_BYTES: u64 = 256;

/// A ping and its answer.
const PING_BYTES: u64 = 2 + 2;

/// A first handshake is taken to need so much. Measured: TLS 1.3 with a chain of two certificates and one of our own
/// 3 to 5 KiB; CONNECT with last will and CONNACK under 300 bytes.
const HANDSHAKE_TLS_BYTES: u64 = 8 << 10;
const HANDSHAKE_PLAIN_BYTES: u64 = 512;

impl Tariff {
    pub(in crate::forward) const fn new(tls: bool) -> Self {
        Self { tls }
    }

    /// A publish of QoS 1 with its acknowledgement. It may begin in the middle of a record.
    pub(in crate::forward) fn publish(self, packet: u64) -> u64 {
        let records = if self.tls { packet / TLS_RECORD_MAX + 3 } else { 0 };
        packet + PUBACK_BYTES + records * TLS_RECORD_BYTES
    }

    /// A ping and its answer.
    pub(in crate::forward) fn ping(self) -> u64 {
        PING_BYTES + if self.tls { 2 * TLS_RECORD_BYTES } else { 0 }
    }

    /// What keeping and closing a connection costs until the next look.
    pub(in crate::forward) const fn standing() -> u64 {
        STANDING_BYTES
    }

    /// Getting a connection, if the most it has ever taken is this.
    pub(in crate::forward) fn handshake(self, learned: u64) -> u64 {
        learned.max(if self.tls { HANDSHAKE_TLS_BYTES } else { HANDSHAKE_PLAIN_BYTES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_covers_every_way_to_cut_a_packet_into_records() {
        let (plain, tls) = (Tariff::new(false), Tariff::new(true));
        for packet in [1, 100, 16 << 10, (16 << 10) + 1, 256 << 10] {
            // It may start and end in the middle of one, and the answer has one of its own.
            let records = (packet + 2 * (16 << 10) - 2) / (16 << 10) + 1;
            assert!(tls.publish(packet) >= packet + records * 29 + 4, "{packet}");
            assert_eq!(plain.publish(packet), packet + 64);
        }
        assert_eq!(tls.ping(), 62);
        assert!(Tariff::standing() >= 2 * tls.ping() + 2 + 29 + 2 * 31);
        assert_eq!(tls.handshake(9_000), 9_000);
    }
}
