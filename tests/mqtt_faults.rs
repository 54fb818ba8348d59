//! The MQTT adapter against brokers that die, stay silent, refuse, answer out of order or break the rules.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers fail by panicking"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::client::{BOTH, PATIENCE, acked, connected, endpoint, failure, message, next, subscribed, until};
use common::mosquitto::Mosquitto;
use tidegate::io::mqtt::{
    Address, Arrival, Delivery, Endpoint, Fault, MqttError, Protocol, Publisher, Qos, TlsFiles, Token,
    Unsent, open,
};

/// Messages published over the deaths of the broker.
const MESSAGES: u64 = 20_000;

/// Tenths of a second without a message after which the witness has seen all it will see.
const QUIET_MAX: u32 = 50;

#[tokio::test]
async fn whatever_was_acknowledged_was_received_over_two_deaths_of_the_broker() {
    for protocol in BOTH {
        let mut broker = Mosquitto::start(false);
        let port = broker.port();
        let (ready, readied) = mpsc::channel();
        let (seen, mut received) = (mpsc::channel(), BTreeSet::new());
        let (tell, told) = seen;
        let witness = std::thread::spawn(move || witness(port, protocol, &ready, &tell));
        let (mut acknowledged, mut deaths, mut unanswered) = (BTreeSet::new(), 0, 0);
        while (acknowledged.len() as u64) < MESSAGES {
            // Subscribed before we publish, so that everything acknowledged must reach it.
            readied.recv_timeout(PATIENCE).unwrap();
            let (publisher, mut connection, welcome) = connected(&endpoint(port, "source", protocol)).await;
            assert!(!welcome.session_present);
            let mut todo = (0..MESSAGES)
                .filter(|number| !acknowledged.contains(number))
                .collect::<Vec<_>>()
                .into_iter()
                .peekable();
            let mut under_way = BTreeSet::new();
            let die_at = (deaths + 1) * 7_000;
            loop {
                while let Some(number) = todo.peek().copied() {
                    match publish(&publisher, number) {
                        Ok(()) => under_way.insert(todo.next().unwrap()),
                        Err(Unsent::Full) => break,
                        Err(other) => panic!("{other}"),
                    };
                }
                if under_way.is_empty() {
                    break;
                }
                match next(&mut connection).await {
                    Ok(Arrival::Acked(Token(number))) => {
                        assert!(under_way.remove(&number), "answered twice or never asked");
                        acknowledged.insert(number);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.classify(), Fault::Lost, "{error}");
                        unanswered += under_way.len();
                        break;
                    }
                }
                if deaths < 2 && acknowledged.len() == die_at {
                    deaths += 1;
                    broker.restart();
                }
            }
        }
        assert_eq!(deaths, 2);
        assert!(unanswered > 0, "the deaths hit nothing");
        let mut quiet = 0;
        while (received.len() as u64) < MESSAGES {
            let number = told.recv_timeout(PATIENCE).unwrap();
            quiet = if number.is_some() { 0 } else { quiet + 1 };
            let missing = || acknowledged.difference(&received).collect::<Vec<_>>();
            assert!(quiet < QUIET_MAX, "{protocol:?}: acknowledged but never received: {:?}", missing());
            received.extend(number);
        }
        drop(told);
        witness.join().unwrap();
        assert_eq!(received, acknowledged, "{protocol:?}");
    }
}

fn publish(publisher: &Publisher, number: u64) -> Result<(), Unsent> {
    publisher.publish("flow", number.to_le_bytes().to_vec(), Delivery::AtLeastOnce(Token(number)), false)
}

/// Subscribes, tells what it receives, subscribes again when the broker has died, until nobody listens.
///
/// At QoS 0: Mosquitto writes those to the socket before it acknowledges the publisher, so that they survive its death.
fn witness(port: u16, protocol: Protocol, ready: &mpsc::Sender<()>, tell: &mpsc::Sender<Option<u64>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        loop {
            let (publisher, mut connection) = open(&endpoint(port, "witness", protocol)).unwrap();
            loop {
                match tokio::time::timeout(Duration::from_millis(100), next(&mut connection)).await {
                    Ok(Ok(Arrival::Connected(_))) => publisher.subscribe("flow", Qos::AtMostOnce).unwrap(),
                    Ok(Ok(Arrival::Subscribed { .. })) if ready.send(()).is_err() => return,
                    Ok(Ok(Arrival::Message(message))) => {
                        let number = u64::from_le_bytes(message.payload().try_into().unwrap());
                        if tell.send(Some(number)).is_err() {
                            return;
                        }
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        // Quiet: see whether anybody still listens.
                        if tell.send(None).is_err() {
                            return;
                        }
                    }
                }
            }
        }
    });
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for protocol in BOTH {
        let (_publisher, mut connection) = open(&endpoint(port, "lost", protocol)).unwrap();
        let error = failure(&mut connection).await;
        assert_eq!(error.classify(), Fault::Unreachable);
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("refused"));
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "measures that the timeout is kept")]
async fn a_broker_that_accepts_and_says_nothing_is_unreachable_within_the_connect_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for protocol in BOTH {
        let timeout = Duration::from_secs(1);
        let mut endpoint = endpoint(silent.local_addr().unwrap().port(), "patient", protocol);
        endpoint.connect_timeout = timeout;
        let begun = Instant::now();
        let (_publisher, mut connection) = open(&endpoint).unwrap();
        let error = failure(&mut connection).await;
        assert_eq!(error.classify(), Fault::Unreachable);
        assert!(error.to_string().contains("connect_timeout"), "{error}");
        assert!((timeout..timeout * 20).contains(&begun.elapsed()));
    }
}

/// A broker made of a script: accepts one client, welcomes it, hands over the socket.
fn scripted(protocol: Protocol, script: impl FnOnce(&mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        assert_eq!(packet(&mut socket).0 >> 4, 1, "CONNECT");
        let welcome: &[u8] = match protocol {
            Protocol::V5 => &[0x20, 3, 0, 0, 0],
            Protocol::V311 => &[0x20, 2, 0, 0],
        };
        socket.write_all(welcome).unwrap();
        script(&mut socket);
        // Stays open until the client leaves.
        while socket.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    });
    port
}

/// First byte and body of a packet shorter than 128 bytes.
fn packet(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    socket.read_exact(&mut head).unwrap();
    assert!(head[1] < 128);
    let mut body = vec![0; usize::from(head[1])];
    socket.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// Reads up to the next PUBLISH at QoS 1, to a topic of one letter; its packet id.
fn published(socket: &mut TcpStream) -> [u8; 2] {
    loop {
        let (first, body) = packet(socket);
        assert_eq!(first >> 4, 3, "PUBLISH");
        if first & 0b110 == 0b010 {
            return [body[3], body[4]];
        }
    }
}

#[tokio::test]
async fn acknowledgements_out_of_order_find_their_tokens_and_reused_packet_ids_too() {
    for protocol in BOTH {
        let port = scripted(protocol, |socket| {
            for _ in 0..200 {
                let ids: Vec<_> = (0..4).map(|_| published(socket)).collect();
                for turn in [2, 0, 3, 1] {
                    let [high, low] = ids[turn];
                    socket.write_all(&[0x40, 2, high, low]).unwrap();
                }
            }
        });
        let endpoint = Endpoint { in_flight: 4, ..endpoint(port, "order", protocol) };
        let (publisher, mut connection, _) = connected(&endpoint).await;
        for round in 0..200 {
            for token in 0..4 {
                // A QoS 0 publish in between has no packet id and must not take a token.
                publisher.publish("u", "", Delivery::AtMostOnce, false).unwrap();
                publisher.publish("t", "x", Delivery::AtLeastOnce(Token(round * 4 + token)), false).unwrap();
            }
            for turn in [2, 0, 3, 1] {
                assert_eq!(acked(&mut connection).await, Token(round * 4 + turn), "{protocol:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_publish_the_broker_refuses_is_told_with_its_token_and_the_others_go_on() {
    let port = scripted(Protocol::V5, |socket| {
        let [high, low] = published(socket);
        socket.write_all(&[0x40, 3, high, low, 0x97]).unwrap();
        let [high, low] = published(socket);
        // 0x10: nobody subscribes, which is no failure.
        socket.write_all(&[0x40, 3, high, low, 0x10]).unwrap();
    });
    let (publisher, mut connection, _) = connected(&endpoint(port, "refused", Protocol::V5)).await;
    for token in [1, 2] {
        publisher.publish("t", "x", Delivery::AtLeastOnce(Token(token)), false).unwrap();
    }
    let refused = until(&mut connection, |arrival| {
        if let Arrival::Refused(token, reason) = arrival { Some((token, reason)) } else { None }
    })
    .await;
    assert_eq!(refused, (Token(1), "quota exceeded"));
    assert_eq!(acked(&mut connection).await, Token(2));
}

#[tokio::test]
async fn a_broker_that_breaks_the_rules_loses_us_and_nothing_panics() {
    // An unknown topic alias ended the gateway: the library says good-bye by itself to a broker that breaks the protocol,
    // and that was taken for the good-bye we had asked for. One packet, exit code 70, at every start again.
    let cases: [(&str, &'static [u8]); 9] = [
        ("a topic alias nobody knows", &[0x30, 7, 0, 0, 3, 0x23, 0, 7, b'x']),
        ("a topic alias, unasked", &[0x30, 8, 0, 1, b't', 3, 0x23, 0, 7, b'x']),
        ("QoS 2, unasked", &[0x34, 6, 0, 1, b't', 0, 9, 0]),
        ("an acknowledgement of nothing", &[0x40, 2, 0, 9]),
        ("an acknowledgement beyond all packet ids", &[0x40, 2, 0xff, 0xff]),
        ("a CONNECT", &[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 10, 0, 0, 0]),
        ("a topic longer than the packet", &[0x30, 4, 0xff, 0xff, b't', 0]),
        ("a length that never ends", &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ("a packet type there is not", &[0x00, 0]),
    ];
    for (what, bytes) in cases {
        for protocol in BOTH {
            if protocol == Protocol::V311 && what.starts_with("a topic alias") {
                continue;
            }
            let port = scripted(protocol, move |socket| socket.write_all(bytes).unwrap());
            let (_publisher, mut connection, _) = connected(&endpoint(port, "victim", protocol)).await;
            let error = loop {
                match connection.next().await {
                    Ok(arrival) => {
                        assert!(!matches!(arrival, Arrival::Closed), "{what} passes for a good-bye");
                    }
                    Err(error) => break error,
                }
            };
            assert_eq!(error.classify(), Fault::Lost, "{what}, {protocol:?}: {error}");
        }
    }
}

/// A broker upstream that announced a maximum packet size of 60 bytes emptied the outbox in a second: no event fits, so
/// each one in turn passed for the one that cannot be delivered and was skipped. The rule against a single poisoned
/// record must not be fed by a broker that takes none; it is turned down before anything is sent, and events wait.
#[tokio::test]
async fn a_broker_that_takes_no_packet_of_the_size_needed_is_turned_down() {
    for (announced, suits) in [(60_u32, false), (0, false), (4_095, false), (4_096, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            packet(&mut socket);
            let [a, b, c, d] = announced.to_be_bytes();
            socket.write_all(&[0x20, 8, 0, 0, 5, 0x27, a, b, c, d]).unwrap();
            while socket.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        });
        let endpoint = Endpoint { packet_min: 4_096, ..endpoint(port, "small", Protocol::V5) };
        let (_publisher, mut connection) = open(&endpoint).unwrap();
        match connection.next().await {
            Ok(arrival) => assert!(suits && matches!(arrival, Arrival::Connected(_)), "{announced}"),
            Err(error) => {
                let told =
                    error.to_string().contains(&format!("it takes packets of {announced} bytes at most"));
                assert!(!suits && (told || announced == 0), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_packet_that_claims_to_be_huge_is_not_waited_for() {
    for protocol in BOTH {
        let port = scripted(protocol, |socket| socket.write_all(&[0x30, 0xff, 0xff, 0xff, 0x7f]).unwrap());
        let (_publisher, mut connection, _) = connected(&endpoint(port, "victim", protocol)).await;
        assert_eq!(failure(&mut connection).await.classify(), Fault::Oversize);
    }
}

#[tokio::test]
async fn a_web_server_is_no_broker() {
    for protocol in BOTH {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let (_publisher, mut connection) = open(&endpoint(port, "lost", protocol)).unwrap();
        assert_eq!(failure(&mut connection).await.classify(), Fault::Unreachable);
        server.join().unwrap();
    }
}

#[tokio::test]
async fn tls_is_spoken_with_whom_our_authority_vouches_for_and_with_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["ours", "theirs"] {
        certificate(directory.path(), name);
    }
    let broker = Mosquitto::start_prepared(
        directory,
        false,
        "allow_anonymous true\ncertfile {dir}/ours.pem\nkeyfile {dir}/ours.key\n",
    );
    for protocol in BOTH {
        let mut endpoint = endpoint(broker.port(), "secret", protocol);
        endpoint.address = format!("mqtts://localhost:{}", broker.port()).parse::<Address>().unwrap();
        assert!(
            matches!(open(&endpoint), Err(MqttError::Config { .. })),
            "there are no built-in authorities"
        );

        let files = |name: &str| Some(TlsFiles { ca: broker.directory().join(name), client: None });
        endpoint.tls = files("ours-ca.pem");
        let (publisher, mut connection, _) = connected(&endpoint).await;
        subscribed(&publisher, &mut connection, "t", Qos::AtLeastOnce).await;
        publisher.publish("t", "x", Delivery::AtLeastOnce(Token(1)), false).unwrap();
        assert_eq!(message(&mut connection).await.payload(), b"x");

        endpoint.tls = files("theirs-ca.pem");
        let (_publisher, mut connection) = open(&endpoint).unwrap();
        let error = failure(&mut connection).await;
        assert!(matches!(error, MqttError::Tls { .. }), "{error}");
        assert_eq!(error.classify(), Fault::Refused);

        for (name, expected) in [("absent.pem", "ca_file"), ("ours.key", "ca_file")] {
            endpoint.tls = files(name);
            let Err(error) = open(&endpoint) else { panic!("{name} was taken") };
            let text = error.to_string();
            assert!(text.contains(expected) && text.contains(name), "{text}");
            assert_eq!(error.classify(), Fault::Config);
        }
    }
}

/// Writes `NAME.pem` and `NAME.key` for localhost and `NAME-ca.pem`, the authority that vouches for it.
fn certificate(directory: &std::path::Path, name: &str) {
    std::fs::write(directory.join("extensions"), "subjectAltName=DNS:localhost\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for arguments in [
        format!("req -x509 {key} -days 2 -subj /CN=authority -keyout {name}-ca.key -out {name}-ca.pem"),
        format!("req -new {key} -subj /CN=localhost -keyout {name}.key -out {name}.csr"),
        format!(
            "x509 -req -in {name}.csr -CA {name}-ca.pem -CAkey {name}-ca.key -CAcreateserial -days 2 \
             -extfile extensions -out {name}.pem"
        ),
    ] {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(directory);
        let made = command.output().expect("openssl is not installed: run scripts/setup");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}
