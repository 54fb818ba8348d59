//! A client of the adapter for tests: waits for what it expects, with a limit.

use std::time::Duration;

use tidegate::io::mqtt::{
    Address, Arrival, Connection, Delivery, Endpoint, Inbound, MqttError, Protocol, Publisher, Qos, Token,
    Unsent, Welcome, open,
};

pub(crate) const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// Longest wait for anything: generous, because a test that waits for it fails anyway.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn endpoint(port: u16, client_id: &str, protocol: Protocol) -> Endpoint {
    let address = format!("mqtt://127.0.0.1:{port}").parse::<Address>().unwrap();
    Endpoint { protocol, connect_timeout: Duration::from_secs(20), ..Endpoint::new(address, client_id) }
}

pub(crate) async fn next(connection: &mut Connection) -> Result<Arrival, MqttError> {
    tokio::time::timeout(PATIENCE, connection.next()).await.unwrap()
}

/// Waits for the arrival that `pick` picks; others are passed over.
pub(crate) async fn until<T>(connection: &mut Connection, mut pick: impl FnMut(Arrival) -> Option<T>) -> T {
    loop {
        match next(connection).await {
            Ok(arrival) => {
                if let Some(picked) = pick(arrival) {
                    return picked;
                }
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
    }
}

pub(crate) async fn failure(connection: &mut Connection) -> MqttError {
    loop {
        if let Err(error) = next(connection).await {
            return error;
        }
    }
}

pub(crate) async fn connected(endpoint: &Endpoint) -> (Publisher, Connection, Welcome) {
    let (publisher, mut connection) = open(endpoint).unwrap();
    let welcome =
        until(
            &mut connection,
            |arrival| if let Arrival::Connected(welcome) = arrival { Some(welcome) } else { None },
        )
        .await;
    (publisher, connection, welcome)
}

pub(crate) async fn subscribed(publisher: &Publisher, connection: &mut Connection, filter: &str, qos: Qos) {
    publisher.subscribe(filter, qos).unwrap();
    let refused = until(connection, |arrival| {
        let Arrival::Subscribed { filter: granted, refused } = arrival else { return None };
        assert_eq!(granted, filter);
        Some(refused)
    })
    .await;
    assert_eq!(refused, None);
}

pub(crate) async fn message(connection: &mut Connection) -> Inbound {
    until(connection, |arrival| if let Arrival::Message(message) = arrival { Some(message) } else { None })
        .await
}

pub(crate) async fn acked(connection: &mut Connection) -> Token {
    until(connection, |arrival| if let Arrival::Acked(token) = arrival { Some(token) } else { None }).await
}

/// Publishes at QoS 1 and waits until the broker has taken it all.
pub(crate) async fn publish_all(port: u16, topic: &str, payloads: &[&[u8]], retain: bool) {
    let (publisher, mut connection, _) = connected(&endpoint(port, "feeder", Protocol::V5)).await;
    for (number, payload) in (0..).zip(payloads) {
        publisher.publish(topic, payload.to_vec(), Delivery::AtLeastOnce(Token(number)), retain).unwrap();
        assert_eq!(acked(&mut connection).await, Token(number));
    }
    goodbye(&publisher, &mut connection).await;
}

pub(crate) async fn goodbye(publisher: &Publisher, connection: &mut Connection) {
    publisher.disconnect().unwrap();
    until(connection, |arrival| matches!(arrival, Arrival::Closed).then_some(())).await;
    assert_eq!(publisher.publish("t", "late", Delivery::AtMostOnce, false), Err(Unsent::NotConnected));
}
