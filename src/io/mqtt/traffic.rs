//! Counts every byte on a socket, below TLS.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of one connection so far: all that TCP was given and has delivered, with TLS if it is spoken, without the
/// headers of TCP and IP. Clones look at the same connection and outlive it.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes given to the socket.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes taken from the socket.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    fn count_sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.0.sent.fetch_add(u64::try_from(*bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }
}

/// A socket whose bytes are counted.
pub(in crate::io::mqtt) struct Counted<S> {
    socket: S,
    traffic: Traffic,
}

impl<S> Counted<S> {
    pub(in crate::io::mqtt) fn new(socket: S, traffic: Traffic) -> Self {
        Self { socket, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        let bytes = buffer.filled().len().saturating_sub(before);
        self.traffic.0.received.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.traffic.count_sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.traffic.count_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn every_byte_is_counted_in_both_directions_and_the_count_outlives_the_socket() {
        let (near, mut far) = tokio::io::duplex(16);
        let traffic = Traffic::default();
        let mut near = Counted::new(near, traffic.clone());
        let answer = tokio::spawn(async move {
            let mut heard = vec![0; 1_000];
            far.read_exact(&mut heard).await.unwrap();
            far.write_all(&heard[..321]).await.unwrap();
        });
        near.write_all(&[7; 1_000]).await.unwrap();
        let mut heard = Vec::new();
        near.read_to_end(&mut heard).await.unwrap();
        answer.await.unwrap();
        drop(near);
        assert_eq!((traffic.sent(), traffic.received(), heard.len()), (1_000, 321, 321));
    }
}
