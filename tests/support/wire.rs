//! Sockets in memory for tests that own the clock: what is written can be read at once.
//!
//! Over loopback it cannot: a busy kernel delivers when it comes to it, an executor whose clock is paused finds nothing to
//! read meanwhile and lets minutes pass.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;

use super::chaos_proxy::{Ends, Side};

/// Bytes under way each way, as many as a socket takes.
const BYTES_MAX: usize = 256 << 10;

/// Connections that wait to be accepted.
const WAITING_MAX: usize = 16;

/// One end of a connection.
pub(crate) struct Wire {
    stream: DuplexStream,
    is_reset: Arc<AtomicBool>,
}

/// Makes connections to whoever holds the other half.
#[derive(Clone)]
pub(crate) struct Dialer(mpsc::Sender<Wire>);

/// Gets the connections that are made.
pub(crate) struct Listener(mpsc::Receiver<Wire>);

/// What lies before a proxy and behind it.
pub(crate) struct Wires {
    pub(crate) near: Listener,
    pub(crate) far: Dialer,
}

/// A place to connect to.
pub(crate) fn listen() -> (Dialer, Listener) {
    let (dialer, listener) = mpsc::channel(WAITING_MAX);
    (Dialer(dialer), Listener(listener))
}

impl Dialer {
    /// A connection; it has ended already where nobody listens.
    pub(crate) fn dial(&self) -> Wire {
        let (near, far) = duplex(BYTES_MAX);
        let is_reset = Arc::<AtomicBool>::default();
        drop(self.0.try_send(Wire { stream: far, is_reset: Arc::clone(&is_reset) }));
        Wire { stream: near, is_reset }
    }
}

impl Listener {
    pub(crate) async fn accept(&mut self) -> Option<Wire> {
        self.0.recv().await
    }
}

impl Ends for Wires {
    type Side = Wire;

    async fn accept(&mut self) -> Option<Wire> {
        self.near.accept().await
    }

    async fn dial(&self) -> io::Result<Wire> {
        Ok(self.far.dial())
    }
}

impl Side for Wire {
    fn reset(&self) {
        self.is_reset.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    fn intact(&self) -> io::Result<()> {
        if self.is_reset.load(Ordering::Relaxed) {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.intact()?;
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.intact()?;
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.intact()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
