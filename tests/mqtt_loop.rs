//! The loop over the socket: what it counts, how often it writes, and that waiting for it may be cancelled.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

mod common;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::client::{BOTH, PATIENCE, acked, connected, endpoint, goodbye, message, next, subscribed};
use common::mosquitto::Mosquitto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidegate::io::mqtt::{
    Address, Arrival, Delivery, Endpoint, Protocol, Qos, TlsFiles, Token, open, open_over,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that have passed: to the broker, and back.
#[derive(Default)]
struct Passed {
    there: AtomicU64,
    back: AtomicU64,
}

/// A relay in front of a broker that counts for itself.
async fn relay(broker: u16) -> (u16, Arc<Passed>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::new(Passed::default());
    let counts = Arc::clone(&passed);
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(("127.0.0.1", broker)).await.unwrap();
        let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
        tokio::join!(
            carry(&mut near_in, &mut far_out, &counts.there),
            carry(&mut far_in, &mut near_out, &counts.back)
        );
    });
    (port, passed)
}

async fn carry(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), count: &AtomicU64) {
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
    drop(to.shutdown().await);
}

/// A broker that speaks TLS, and the file of its authority.
fn tls_broker() -> (Mosquitto, TlsFiles) {
    let directory = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, text) in
        [("ca.pem", authority.pem()), ("own.pem", own.pem()), ("own.key", key.serialize_pem())]
    {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let ca = directory.path().join("ca.pem");
    let lines = "allow_anonymous true\ncertfile {dir}/own.pem\nkeyfile {dir}/own.key\n";
    (Mosquitto::start_prepared(directory, false, lines), TlsFiles { ca, client: None })
}

#[tokio::test]
async fn every_byte_on_the_socket_is_counted_with_tls_and_without() {
    let plain = Mosquitto::start(false);
    let (secret, files) = tls_broker();
    for protocol in BOTH {
        for (broker, scheme, tls) in [(&plain, "mqtt", None), (&secret, "mqtts", Some(files.clone()))] {
            let (port, passed) = relay(broker.port()).await;
            let address: Address = format!("{scheme}://localhost:{port}").parse().unwrap();
            let endpoint = Endpoint { address, tls, ..endpoint(port, "counted", protocol) };
            let (publisher, mut connection, _) = connected(&endpoint).await;
            let traffic = connection.traffic();
            subscribed(&publisher, &mut connection, "t", Qos::AtLeastOnce).await;
            for token in 0..50 {
                publisher.publish("t", vec![7; 1_000], Delivery::AtLeastOnce(Token(token)), false).unwrap();
                let message = message(&mut connection).await;
                publisher.ack(&message).unwrap();
            }
            // Nothing is under way when both counts agree and stay.
            let mut quiet = 0;
            while quiet < 5 {
                drop(tokio::time::timeout(Duration::from_millis(20), connection.next()).await);
                let agree = traffic.sent() == passed.there.load(Ordering::Relaxed)
                    && traffic.received() == passed.back.load(Ordering::Relaxed);
                quiet = if agree { quiet + 1 } else { 0 };
            }
            goodbye(&publisher, &mut connection).await;
            drop(connection);
            tokio::time::timeout(PATIENCE, async {
                while traffic.sent() != passed.there.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
            })
            .await
            .unwrap();
            println!(
                "TRAFFIC {protocol:?} {scheme}: {} bytes sent, {} received",
                traffic.sent(),
                traffic.received()
            );
            assert!(traffic.sent() > 50_000 && traffic.received() > 50_000);
        }
    }
}

#[tokio::test]
async fn a_name_with_two_addresses_of_which_one_answers_is_reached() {
    let broker = Mosquitto::start(false);
    let address: Address = format!("mqtt://localhost:{}", broker.port()).parse().unwrap();
    let (_publisher, mut connection) = open(&Endpoint::new(address, "named")).unwrap();
    assert!(matches!(next(&mut connection).await, Ok(Arrival::Connected(_))));
}

/// Counts how often the socket is written to.
struct Writes<S>(S, Arc<AtomicU64>);

impl<S: AsyncRead + Unpin> AsyncRead for Writes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Writes<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A message of QoS 1 in the form of MQTT 3.1.1.
fn qos_1(id: u16, payload: u8) -> [u8; 8] {
    let [high, low] = id.to_be_bytes();
    [0x32, 6, 0, 1, b't', high, low, payload]
}

async fn welcome(broker: &mut DuplexStream) {
    let mut head = [0; 2];
    broker.read_exact(&mut head).await.unwrap();
    let mut body = vec![0; usize::from(head[1])];
    broker.read_exact(&mut body).await.unwrap();
    broker.write_all(&[0x20, 2, 0, 0]).await.unwrap();
}

#[tokio::test]
async fn the_acknowledgements_of_a_burst_leave_in_a_few_writes() {
    const BURST: u16 = 4_000;
    let (near, mut far) = tokio::io::duplex(256 << 10);
    let writes = Arc::new(AtomicU64::new(0));
    let endpoint = endpoint(1, "burst", Protocol::V311);
    let (publisher, mut connection) =
        open_over(&endpoint, Box::new(Writes(near, Arc::clone(&writes)))).unwrap();
    let broker = async {
        welcome(&mut far).await;
        let burst: Vec<u8> = (1..=BURST).flat_map(|id| qos_1(id, 1)).collect();
        far.write_all(&burst).await.unwrap();
        let mut acks = vec![0; usize::from(BURST) * 4];
        far.read_exact(&mut acks).await.unwrap();
        acks
    };
    let client = async {
        loop {
            if let Arrival::Message(message) = connection.next().await.unwrap() {
                publisher.ack(&message).unwrap();
            }
        }
    };
    let acks = tokio::select! {
        acks = broker => acks,
        () = client => unreachable!("it goes on"),
    };
    let expected: Vec<u8> =
        (1..=BURST).flat_map(|id| [0x40, 2, id.to_be_bytes()[0], id.to_be_bytes()[1]]).collect();
    assert_eq!(acks, expected);
    let writes = writes.load(Ordering::Relaxed);
    println!("ACKS: {BURST} acknowledgements in {writes} writes");
    assert!(writes <= 1 + u64::from(BURST) / 200, "{writes}");
}

#[tokio::test]
async fn waiting_may_be_cancelled_at_every_poll_and_nothing_is_lost() {
    const MESSAGES: u16 = 300;
    // So small that hardly a packet passes whole.
    let (near, mut far) = tokio::io::duplex(7);
    let (publisher, mut connection) =
        open_over(&endpoint(1, "fickle", Protocol::V311), Box::new(near)).unwrap();
    let broker = async {
        welcome(&mut far).await;
        for id in 1..=MESSAGES {
            far.write_all(&qos_1(id, 1)).await.unwrap();
            let mut heard = [0; 4 + 9];
            far.read_exact(&mut heard).await.unwrap();
            let [published, ack] = [&heard[..9], &heard[9..]];
            assert_eq!((published[0], ack[0]), (0x32, 0x40), "{heard:?}");
            assert_eq!(ack[2..], id.to_be_bytes());
            far.write_all(&[0x40, 2, published[5], published[6]]).await.unwrap();
        }
    };
    let client = async {
        let (mut messages, mut tokens) = (0, 0);
        while tokens < u64::from(MESSAGES) {
            // One poll, then the future is dropped.
            let arrival = poll_fn(|cx| {
                let arrival = pin!(connection.next()).poll(cx);
                Poll::Ready(if let Poll::Ready(arrival) = arrival { Some(arrival) } else { None })
            })
            .await;
            match arrival {
                None => tokio::task::yield_now().await,
                Some(Ok(Arrival::Message(message))) => {
                    let payload = vec![1, 2];
                    let delivery = Delivery::AtLeastOnce(Token(messages));
                    publisher.publish("t", payload, delivery, false).unwrap();
                    publisher.ack(&message).unwrap();
                    messages += 1;
                }
                Some(Ok(Arrival::Acked(Token(token)))) => {
                    assert_eq!(token, tokens);
                    tokens += 1;
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{error}"),
            }
        }
        messages
    };
    let ((), messages) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(broker, client) }).await.unwrap();
    assert_eq!(messages, u64::from(MESSAGES));
}

#[tokio::test]
async fn what_was_published_before_a_goodbye_is_written_before_it() {
    let broker = Mosquitto::start(false);
    for protocol in BOTH {
        let (ear, mut hearing, _) = connected(&endpoint(broker.port(), "ear", protocol)).await;
        subscribed(&ear, &mut hearing, "last/#", Qos::AtLeastOnce).await;
        let (publisher, mut connection, _) = connected(&endpoint(broker.port(), "mouth", protocol)).await;
        for number in 0..50_u8 {
            publisher.publish("last/words", vec![number; 10_000], Delivery::AtMostOnce, false).unwrap();
        }
        goodbye(&publisher, &mut connection).await;
        drop(connection);
        for number in 0..50 {
            assert_eq!(message(&mut hearing).await.payload()[0], number);
        }
        publisher.publish("t", "x", Delivery::AtMostOnce, false).unwrap_err();
        ear.publish("t", "x", Delivery::AtLeastOnce(Token(1)), false).unwrap();
        assert_eq!(acked(&mut hearing).await, Token(1));
    }
}
