//! The way to the broker: name, TCP, TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::io::mqtt::error::Failure;
use crate::io::mqtt::traffic::{Counted, Traffic};
use crate::io::mqtt::{Endpoint, MqttError, tls};

/// Bytes both ways.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// How to speak TLS, and with whom.
pub(in crate::io::mqtt) struct Tls {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Tls {
    /// What an endpoint asks for, if it does; reads its files.
    pub(in crate::io::mqtt) fn of(endpoint: &Endpoint) -> Result<Option<Self>, MqttError> {
        if !endpoint.address.tls {
            return Ok(None);
        }
        Ok(Some(Self { config: tls::client_config(endpoint)?, server: tls::server_name(endpoint)? }))
    }

    /// Agrees on TLS over a socket.
    pub(in crate::io::mqtt) async fn agree(
        self,
        socket: Counted<Box<dyn Socket>>,
    ) -> Result<Box<dyn Socket>, Failure> {
        let connector = TlsConnector::from(self.config);
        Ok(Box::new(connector.connect(self.server, socket).await.map_err(Failure::Io)?))
    }
}

/// Counts what goes over a socket.
pub(in crate::io::mqtt) fn counted(socket: Box<dyn Socket>, traffic: &Traffic) -> Counted<Box<dyn Socket>> {
    Counted::new(socket, traffic.clone())
}

/// The addresses of a broker.
pub(in crate::io::mqtt) async fn addresses(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let found = lookup_host((endpoint.address.host.as_str(), endpoint.address.port)).await;
    let found: Vec<SocketAddr> = found.map_err(Failure::Io)?.collect();
    if found.is_empty() {
        return Err(Failure::Io(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
    }
    Ok(found)
}

/// Addresses that are tried, if each takes its whole share. The connect timeout is four round trips at least, so that
/// each share is one.
const SHARES_MAX: usize = 4;

/// A TCP connection to the first address that answers. Each gets its share of the time, so that one that swallows
/// everything does not hide the next.
pub(in crate::io::mqtt) async fn tcp(
    addresses: &[SocketAddr],
    time: Duration,
    endpoint: &Endpoint,
) -> Result<Box<dyn Socket>, Failure> {
    let share = time / u32::try_from(addresses.len().clamp(1, SHARES_MAX)).unwrap_or(1);
    let mut last = Failure::Timeout("no answer to TCP");
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                prepare(&stream, endpoint).map_err(Failure::Io)?;
                return Ok(Box::new(stream));
            }
            Ok(Err(fault)) => last = Failure::Io(fault),
            Err(_) => {}
        }
    }
    Err(last)
}

/// Sends small packets at once, and has the kernel give up on a peer that acknowledges nothing when we would.
fn prepare(stream: &TcpStream, endpoint: &Endpoint) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let patience = (endpoint.keep_alive + endpoint.grace()).as_millis();
    let patience = u32::try_from(patience).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(stream, patience)?)
}
