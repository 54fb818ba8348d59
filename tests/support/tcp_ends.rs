//! A proxy between sockets of this machine.

use std::io;

use tokio::net::{TcpListener, TcpStream};

use super::chaos_proxy::{Ends, Side};

/// A port to connect to, and the one behind the proxy.
pub(crate) struct TcpEnds {
    listener: TcpListener,
    target: u16,
}

impl TcpEnds {
    /// In front of a port on this machine; with the port to connect to.
    pub(crate) async fn before(target: u16) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (Self { listener, target }, port)
    }
}

impl Ends for TcpEnds {
    type Side = TcpStream;

    async fn accept(&mut self) -> Option<TcpStream> {
        let (near, _) = self.listener.accept().await.ok()?;
        near.set_nodelay(true).unwrap();
        Some(near)
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let far = TcpStream::connect(("127.0.0.1", self.target)).await?;
        far.set_nodelay(true)?;
        Ok(far)
    }
}

impl Side for TcpStream {
    fn reset(&self) {
        self.set_zero_linger().unwrap();
    }
}
