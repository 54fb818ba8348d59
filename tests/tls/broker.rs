//! A broker behind TLS, one thread a client: takes any CONNECT and answers it, counts, and shows what it saw.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::io::mqtt::TlsMemory;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{
    HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

use crate::authority::{Authority, Issued};

/// What a broker saw of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How the handshake went, where it went well.
    pub(crate) handshake: Option<HandshakeKind>,
    /// Bytes of the handshake in both directions.
    pub(crate) bytes: usize,
    /// Whether a CONNECT of MQTT came in plain text.
    pub(crate) plain: bool,
}

/// A broker that runs until it is dropped.
pub(crate) struct TlsBroker {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    stopped: Arc<AtomicBool>,
}

/// How a broker answers a client.
pub(crate) enum Manner {
    /// TLS with this configuration, then CONNACK.
    Tls(Arc<ServerConfig>),
    /// These bytes, whatever came.
    Bytes(&'static [u8]),
    /// MQTT without TLS.
    Plain,
}

/// The configuration of a broker: its certificate, versions, whose clients it takes, by what time it judges them.
pub(crate) fn config(
    own: &Issued,
    versions: &[&'static SupportedProtocolVersion],
    clients: Option<&Authority>,
    time: &TlsMemory,
) -> Arc<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(time.clone()))
        .with_protocol_versions(versions)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(own.pem.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key_pem().as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

impl TlsBroker {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, stopped) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let broker = Self { port, seen: Arc::clone(&seen), stopped: Arc::clone(&stopped) };
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let socket = socket.unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                let saw = match &manner {
                    Manner::Tls(config) => serve(socket, config, &seen),
                    Manner::Bytes(bytes) => babble(socket, bytes),
                    Manner::Plain => plain(socket),
                };
                if let Some(saw) = saw {
                    seen.lock().unwrap().push(saw);
                }
            }
        });
        broker
    }

    /// What it saw of its clients until now.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for TlsBroker {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

/// Counts what passes.
struct Counted {
    socket: TcpStream,
    bytes: usize,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.socket.read(buffer)?;
        self.bytes += read;
        Ok(read)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.socket.write_all(bytes)?;
        self.bytes += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

/// One client over TLS. What it saw is noted before the client hears of it.
fn serve(socket: TcpStream, config: &Arc<ServerConfig>, seen: &Mutex<Vec<Seen>>) -> Option<Seen> {
    let mut session = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut counted = Counted { socket, bytes: 0 };
    while session.is_handshaking() {
        if session.complete_io(&mut counted).is_err() {
            // The alert that says why.
            drop(session.complete_io(&mut counted));
            return Some(Seen { bytes: counted.bytes, ..Seen::default() });
        }
    }
    let mut stream = StreamOwned::new(session, counted);
    let mut head = [0; 2];
    if stream.read_exact(&mut head).is_err() {
        return Some(Seen { bytes: stream.sock.bytes, ..Seen::default() });
    }
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).ok()?;
    let (handshake, bytes) = (stream.conn.handshake_kind(), stream.sock.bytes);
    seen.lock().unwrap().push(Seen { handshake, bytes, plain: false });
    stream.write_all(&[0x20, 2, 0, 0]).ok()?;
    stream.flush().ok()?;
    // Until the client leaves, so that tickets arrive.
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    None
}

fn babble(mut socket: TcpStream, bytes: &[u8]) -> Option<Seen> {
    let mut first = [0; 1];
    socket.read_exact(&mut first).ok()?;
    drop(socket.write_all(bytes));
    while socket.read(&mut [0; 512]).is_ok_and(|read| read > 0) {}
    Some(Seen { plain: first == [0x10], ..Seen::default() })
}

/// A broker that speaks MQTT only, and hangs up on all else.
fn plain(mut socket: TcpStream) -> Option<Seen> {
    let mut first = [0; 1];
    socket.read_exact(&mut first).ok()?;
    let plain = first == [0x10];
    if plain {
        drop(socket.write_all(&[0x20, 2, 0, 0]));
    }
    Some(Seen { plain, ..Seen::default() })
}
