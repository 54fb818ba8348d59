//! A loopback TCP relay between gateway and broker, which can be cut and restored: the broker cannot be stopped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections at one time; the gateway has one.
const CONNECTIONS_MAX: usize = 8;

/// Bytes moved at once.
const PIECE_BYTES: usize = 16 << 10;

/// What the relay lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Passage {
    /// Everything.
    Open,
    /// Bytes to the broker only; what the broker answers is held back.
    OneWay,
    /// Nothing: connections are broken, new ones are refused.
    Closed,
}

/// A running relay. Ends with its runtime.
pub(in crate::demo) struct Relay {
    port: u16,
    passage: watch::Sender<Passage>,
}

impl Relay {
    /// Listens on a free port and passes connections on to `broker`.
    ///
    /// # Errors
    /// When no port is to be had.
    pub(in crate::demo) async fn start(broker: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (passage, seen) = watch::channel(Passage::Open);
        tokio::spawn(serve(listener, broker, seen));
        Ok(Self { port, passage })
    }

    /// Where it listens.
    pub(in crate::demo) fn port(&self) -> u16 {
        self.port
    }

    /// Lets through this much from now on.
    pub(in crate::demo) fn set(&self, passage: Passage) {
        self.passage.send_if_modified(|now| std::mem::replace(now, passage) != passage);
    }
}

async fn serve(listener: TcpListener, broker: SocketAddr, passage: watch::Receiver<Passage>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                // Dropping it breaks it off, which is what a cut link looks like from here.
                if *passage.borrow() != Passage::Closed && connections.len() < CONNECTIONS_MAX {
                    connections.spawn(carry(client, broker, passage.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Moves bytes both ways until either side ends or the link is cut.
async fn carry(client: TcpStream, broker: SocketAddr, passage: watch::Receiver<Passage>) {
    let Ok(server) = TcpStream::connect(broker).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = passage.clone();
    tokio::select! {
        _ = forth(from_client, to_server) => {}
        _ = back(from_server, to_client, passage) => {}
        _ = cut.wait_for(|passage| *passage == Passage::Closed) => {}
    }
}

async fn forth(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

async fn back(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passage: watch::Receiver<Passage>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).await?;
        let Some(bytes) = piece.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        if passage.wait_for(|passage| *passage != Passage::OneWay).await.is_err() {
            return Ok(());
        }
        to.write_all(bytes).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Longest wait for something that happens at once on any machine.
    const SOON: Duration = Duration::from_secs(5);
    /// Long enough to see that something does not happen.
    const WHILE: Duration = Duration::from_millis(100);

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(SOON, what).await.expect("happens soon")
    }

    async fn broker() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    async fn connect(relay: &Relay) -> TcpStream {
        soon(TcpStream::connect((Ipv4Addr::LOCALHOST, relay.port()))).await.unwrap()
    }

    /// Sends a byte and expects it at the other end.
    async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"x").await.unwrap();
        assert_eq!(soon(to.read_u8()).await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn an_open_relay_passes_both_ways_and_a_closed_one_breaks_and_refuses() {
        let (listener, address) = broker().await;
        let relay = Relay::start(address).await.unwrap();
        let mut client = connect(&relay).await;
        let mut server = soon(listener.accept()).await.unwrap().0;
        passes(&mut client, &mut server).await;
        passes(&mut server, &mut client).await;
        relay.set(Passage::Closed);
        assert!(soon(client.read_u8()).await.is_err(), "broken at the gateway");
        assert!(soon(server.read_u8()).await.is_err(), "broken at the broker");
        let mut refused = connect(&relay).await;
        assert!(soon(refused.read_u8()).await.is_err());
        assert!(
            tokio::time::timeout(WHILE, listener.accept()).await.is_err(),
            "the broker sees nothing of it"
        );
        relay.set(Passage::Open);
        let mut client = connect(&relay).await;
        let mut server = soon(listener.accept()).await.unwrap().0;
        passes(&mut client, &mut server).await;
    }

    #[tokio::test]
    async fn a_one_way_relay_holds_answers_back() {
        let (listener, address) = broker().await;
        let relay = Relay::start(address).await.unwrap();
        let mut client = connect(&relay).await;
        let mut server = soon(listener.accept()).await.unwrap().0;
        relay.set(Passage::OneWay);
        passes(&mut client, &mut server).await;
        server.write_all(b"y").await.unwrap();
        assert!(tokio::time::timeout(WHILE, client.read_u8()).await.is_err());
        relay.set(Passage::Open);
        assert_eq!(soon(client.read_u8()).await.unwrap(), b'y');
    }
}
