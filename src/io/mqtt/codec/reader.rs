//! The receive buffer: bytes in, whole packets out.

use std::pin::pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::io::mqtt::Protocol;
use crate::io::mqtt::codec::frame::{PUBLISH, frame};
use crate::io::mqtt::codec::packet::{self, Packet};
use crate::io::mqtt::codec::publish;
use crate::io::mqtt::error::Failure;

/// Bytes asked of the socket at a time. A message handed on keeps the piece it lies in alive.
const READ_BYTES: usize = 16 << 10;

/// What has been received and not been read. It grows with what arrives, never with what was announced.
pub(in crate::io::mqtt) struct Reader {
    buffer: BytesMut,
    protocol: Protocol,
    packet_max: u32,
}

impl Reader {
    pub(in crate::io::mqtt) fn new(protocol: Protocol, packet_max: u32) -> Self {
        Self { buffer: BytesMut::new(), protocol, packet_max }
    }

    /// The next packet, if it is complete.
    pub(in crate::io::mqtt) fn packet(&mut self) -> Result<Option<Packet>, Failure> {
        let Some(found) = frame(&self.buffer, self.protocol, self.packet_max)? else { return Ok(None) };
        if self.buffer.len() < found.size {
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(found.size);
        if found.size > READ_BYTES {
            // What was allocated for a large packet goes with it.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        if found.first >> 4 == PUBLISH {
            return publish::read(self.protocol, found, bytes.freeze())
                .map(|message| Some(Packet::Message(message)));
        }
        packet::read(self.protocol, &mut bytes).map(Some)
    }

    /// Bytes of the packet that has begun and is not complete; its beginning at least.
    pub(in crate::io::mqtt) fn awaited(&self) -> Option<usize> {
        if self.buffer.is_empty() {
            return None;
        }
        let found = frame(&self.buffer, self.protocol, self.packet_max).ok().flatten();
        Some(found.map_or(self.buffer.len(), |found| found.size))
    }

    /// Reads what there is, at most a piece; how many bytes it was, none at the end of the stream.
    pub(in crate::io::mqtt) fn poll_fill<S: AsyncRead + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<std::io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
            self.buffer.reserve(READ_BYTES);
        }
        pin!(socket.read_buf(&mut self.buffer)).poll(cx)
    }
}
