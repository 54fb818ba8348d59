//! MQTT brokers inside this process. They cannot be stopped and live as long as the process does.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

use crate::demo::error::DemoError;

/// Bytes of a segment of the broker's log. Segments stay in memory until [`SEGMENTS_MAX`] of them are full.
const SEGMENT_BYTES: usize = 256 << 10;
const SEGMENTS_MAX: usize = 4;

/// Clients of one broker: gateway, simulator, our own ears, and a few that somebody may add to look.
const CONNECTIONS_MAX: usize = 16;

/// Messages under way to one client.
const IN_FLIGHT_MAX: usize = 200;

/// Largest message: as much as the gateway takes.
const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// Longest time from the start of a broker's thread to its first answer.
const READY_MAX: Duration = Duration::from_secs(10);

/// Time between two attempts to reach it.
const ATTEMPT_EVERY: Duration = Duration::from_millis(20);

/// Starts a broker on a free port of the loopback and waits until it answers.
pub(in crate::demo) async fn start_broker(name: &'static str) -> Result<SocketAddr, DemoError> {
    // Free now; between this and the broker's own bind nobody else is likely to be given the same port.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let address = free.map_err(DemoError::Start)?;
    let config = settings(name, address);
    std::thread::Builder::new()
        .name(format!("demo-{name}"))
        .spawn(move || {
            // It returns only when it fails; the clients notice.
            drop(Broker::new(config).start());
        })
        .map_err(DemoError::Start)?;
    let answers = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(ATTEMPT_EVERY).await;
        }
    };
    tokio::time::timeout(READY_MAX, answers).await.map_err(|_| DemoError::Broker(name))?;
    Ok(address)
}

fn settings(name: &str, listen: SocketAddr) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: PAYLOAD_BYTES_MAX,
        max_inflight_count: IN_FLIGHT_MAX,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: name.to_owned(), listen, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: CONNECTIONS_MAX,
        max_outgoing_packet_count: IN_FLIGHT_MAX as u64,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: SEGMENTS_MAX,
        ..RouterConfig::default()
    };
    Config { router, v4: Some(HashMap::from([(name.to_owned(), server)])), ..Config::default() }
}
