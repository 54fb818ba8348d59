//! An MQTT 3.1.1 client of a hundred lines: what it receives owes nothing to the client the product uses.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a packet: generous, because a test that waits for it fails anyway.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection.
pub(crate) struct Plain {
    stream: TcpStream,
    packet_id: u16,
}

impl Plain {
    /// Connects to a broker on this machine; with `keep` it holds the session for the next connection.
    pub(crate) fn connect(port: u16, client_id: &str, keep: bool) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut plain = Self { stream, packet_id: 0 };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, if keep { 0 } else { 2 }, 0, 0];
        put_text(&mut body, client_id);
        plain.send(0x10, &body);
        let (kind, answer) = plain.packet().unwrap();
        assert_eq!((kind, answer[1]), (0x20, 0), "the broker refuses us");
        plain
    }

    /// Asks for messages of QoS 1 and waits until that is granted.
    pub(crate) fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1];
        put_text(&mut body, filter);
        body.push(1);
        self.send(0x82, &body);
        let (kind, answer) = self.packet().unwrap();
        assert_eq!((kind, answer[2]), (0x90, 1), "the broker grants no subscription");
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.packet_id += 1;
        let mut body = Vec::new();
        put_text(&mut body, topic);
        body.extend_from_slice(&self.packet_id.to_be_bytes());
        body.extend_from_slice(payload);
        self.send(0x32, &body);
        let (kind, answer) = self.packet().unwrap();
        assert_eq!((kind, answer), (0x40, self.packet_id.to_be_bytes().to_vec()));
    }

    /// The payload of the next message, acknowledged; nothing when the broker ends the connection.
    pub(crate) fn message(&mut self) -> Option<String> {
        loop {
            let (kind, body) = self.packet()?;
            if kind & 0xf0 != 0x30 {
                continue;
            }
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let mut at = 2 + topic;
            if kind & 0x06 != 0 {
                let ack = [body[at], body[at + 1]];
                at += 2;
                // The broker may have ended the connection: then it sends the message again.
                drop(self.stream.write_all(&[0x40, 2, ack[0], ack[1]]));
            }
            return Some(String::from_utf8(body[at..].to_vec()).unwrap());
        }
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let mut packet = vec![kind];
        let mut length = body.len();
        loop {
            let digit = u8::try_from(length % 128).unwrap();
            length /= 128;
            packet.push(if length > 0 { digit | 0x80 } else { digit });
            if length == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet).unwrap();
    }

    /// Type with flags and body of the next packet; nothing at the end of the connection.
    fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let kind = self.byte()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = self.byte()?;
            length |= usize::from(digit & 0x7f) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.read(&mut body).then_some((kind, body))
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.read(&mut byte).then_some(byte[0])
    }

    /// Fills the buffer; false at the end of the connection.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        use std::io::ErrorKind;
        match self.stream.read_exact(buffer) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                false
            }
            Err(error) => panic!("nothing came for {PATIENCE:?}: {error}"),
        }
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}
