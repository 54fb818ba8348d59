//! The MQTT adapter against the broker that runs inside the process of the demo.
#![cfg(feature = "demo")]
#![expect(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::collections::{BTreeSet, HashMap};
use std::net::{SocketAddr, TcpListener};

use common::client::{BOTH, connected, endpoint, goodbye, next, subscribed};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tidegate::io::mqtt::{Arrival, Delivery, Endpoint, Protocol, Qos, Token, Unsent};

/// Messages there and back.
const MESSAGES: u64 = 2_000;

fn server(name: &str, listen: SocketAddr) -> ServerSettings {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 256 << 10,
        max_inflight_count: 200,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    ServerSettings { name: name.to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections }
}

/// A broker with a port for either version.
fn start() -> [(Protocol, u16); 2] {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (five, four) = (free(), free());
    let router = RouterConfig {
        max_connections: 16,
        max_outgoing_packet_count: 200,
        max_segment_size: 256 << 10,
        max_segment_count: 4,
        ..RouterConfig::default()
    };
    let config = Config {
        router,
        v4: Some(HashMap::from([("four".to_owned(), server("four", four))])),
        v5: Some(HashMap::from([("five".to_owned(), server("five", five))])),
        ..Config::default()
    };
    // It returns only when it fails; the test notices.
    std::thread::spawn(move || drop(Broker::new(config).start()));
    BOTH.map(|protocol| match protocol {
        Protocol::V5 => (protocol, five.port()),
        Protocol::V311 => (protocol, four.port()),
    })
}

#[tokio::test]
async fn everything_published_is_acknowledged_and_comes_back_once_in_both_versions() {
    for (protocol, port) in start() {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
        let endpoint = Endpoint {
            in_flight: 16,
            clean_start: true,
            ..endpoint(port, &format!("{protocol:?}"), protocol)
        };
        let (publisher, mut connection, _) = connected(&endpoint).await;
        let topic = format!("there/{protocol:?}");
        subscribed(&publisher, &mut connection, &topic, Qos::AtLeastOnce).await;
        let (mut sent, mut acked, mut back) = (0, BTreeSet::new(), BTreeSet::new());
        while (acked.len() as u64) < MESSAGES || (back.len() as u64) < MESSAGES {
            while sent < MESSAGES {
                let payload = sent.to_be_bytes().to_vec();
                match publisher.publish(&topic, payload, Delivery::AtLeastOnce(Token(sent)), false) {
                    Ok(()) => sent += 1,
                    Err(Unsent::Full) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            match next(&mut connection).await.unwrap() {
                Arrival::Acked(token) => assert!(acked.insert(token), "acknowledged twice"),
                Arrival::Message(message) => {
                    let number = u64::from_be_bytes(message.payload().try_into().unwrap());
                    assert!(back.insert(number), "came back twice");
                    publisher.ack(&message).unwrap();
                }
                Arrival::Connected(_) | Arrival::Subscribed { .. } | Arrival::Alive => {}
                Arrival::Refused(..) | Arrival::Closed => panic!("refused"),
            }
        }
        goodbye(&publisher, &mut connection).await;
        let traffic = connection.traffic();
        assert!(traffic.sent() > MESSAGES * 20 && traffic.received() > MESSAGES * 20, "{traffic:?}");
    }
}
