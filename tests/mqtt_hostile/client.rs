//! What the gateway does with a broker, in small: subscribes, publishes, acknowledges, leaves after a while.

use std::cell::RefCell;
use std::time::Duration;

use tidegate::io::mqtt::{
    Arrival, Connection, Delivery, Endpoint, Fault, Publisher, Qos, Token, Unsent, open_over,
};
use tokio::time::Instant;

use crate::broker::{Broker, Planted, Record};
use crate::case::{Case, PACKET_MAX, PUBLISHES};

/// The client says good-bye when it has been there so long.
const STAY: Duration = Duration::from_mins(10);

/// Whoever is there after so long hangs.
pub(crate) const LIMIT: Duration = Duration::from_hours(2);

/// Bytes a socket holds in each direction.
const SOCKET_BYTES: usize = 64 << 10;

/// Waiting for the broker is given up and taken up again this often: nothing may get lost by it.
const INTERRUPTED_EVERY: Duration = Duration::from_millis(700);

/// What came of a case.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) connected: bool,
    pub(crate) subscribed: u32,
    pub(crate) messages: u64,
    pub(crate) acked: Vec<u64>,
    pub(crate) refused: Vec<u64>,
    /// How it ended, if not by our good-bye.
    pub(crate) error: Option<(Fault, String)>,
    pub(crate) hung: bool,
    pub(crate) took: Duration,
    /// A connection that had ended and still took something or told something.
    pub(crate) undead: bool,
    pub(crate) counted: (u64, u64),
    pub(crate) bytes_max: u64,
    pub(crate) record: Record,
}

/// Runs a case in its own time.
pub(crate) fn run(case: &Case, planted: Planted) -> Outcome {
    let mut outcome = Outcome::default();
    let allocated = allocation_counter::measure(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        outcome = runtime.block_on(play(case, planted));
    });
    outcome.bytes_max = allocated.bytes_max;
    outcome
}

async fn play(case: &Case, planted: Planted) -> Outcome {
    let (near, far) = tokio::io::duplex(SOCKET_BYTES);
    let record = RefCell::new(Record::default());
    let broker = Broker::new(far, &record, planted).play(&case.script);
    let mut endpoint = case.endpoint();
    match planted {
        Planted::NoSizeLimit => endpoint.packet_max = PACKET_MAX << 9,
        Planted::NoPing => endpoint.keep_alive = Duration::from_secs(65_535),
        Planted::Nothing | Planted::AnyAck => {}
    }
    let (publisher, mut connection) = open_over(&endpoint, Box::new(near)).unwrap();
    let begun = Instant::now();
    let client = client(&endpoint, case, &publisher, &mut connection);
    let mut outcome = tokio::select! {
        biased;
        outcome = client => outcome,
        () = broker => unreachable!("it plays on"),
    };
    outcome.took = begun.elapsed();
    let late = publisher.publish("t", "late", Delivery::AtMostOnce, false);
    let next = tokio::time::timeout(LIMIT, connection.next()).await;
    outcome.undead = late != Err(Unsent::NotConnected) || !matches!(next, Ok(Err(_)));
    outcome.counted = (connection.traffic().sent(), connection.traffic().received());
    outcome.record = record.take();
    outcome
}

async fn client(
    endpoint: &Endpoint,
    case: &Case,
    publisher: &Publisher,
    connection: &mut Connection,
) -> Outcome {
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    let mut leaving = false;
    loop {
        if begun.elapsed() > LIMIT {
            outcome.hung = true;
            return outcome;
        }
        if begun.elapsed() > STAY && outcome.connected && !leaving {
            leaving = publisher.disconnect().is_ok();
        }
        let Ok(arrival) = tokio::time::timeout(INTERRUPTED_EVERY, connection.next()).await else { continue };
        match arrival {
            Ok(Arrival::Connected(_)) => {
                outcome.connected = true;
                greet(publisher, endpoint);
                tokio::time::sleep(case.sleeps).await;
            }
            Ok(Arrival::Message(message)) => {
                outcome.messages += 1;
                // Nothing is taken after the good-bye.
                best_effort(publisher.ack(&message));
            }
            Ok(Arrival::Acked(Token(token))) => outcome.acked.push(token),
            Ok(Arrival::Refused(Token(token), _)) => outcome.refused.push(token),
            Ok(Arrival::Subscribed { .. }) => outcome.subscribed += 1,
            Ok(Arrival::Alive) => {}
            Ok(Arrival::Closed) => return outcome,
            Err(error) => {
                outcome.error = Some((error.classify(), error.in_full()));
                return outcome;
            }
        }
    }
}

/// One subscription, packet id 1, and the publishes, packet ids 2 and on; each carries its token.
fn greet(publisher: &Publisher, endpoint: &Endpoint) {
    assert!(endpoint.in_flight >= 8);
    publisher.subscribe("t/#", Qos::AtLeastOnce).unwrap();
    for token in 0..PUBLISHES {
        let payload = token.to_be_bytes().to_vec();
        // A broker may allow fewer.
        best_effort(publisher.publish("up", payload, Delivery::AtLeastOnce(Token(token)), false));
    }
}

/// What may be refused: the case goes on without it.
fn best_effort(_result: Result<(), Unsent>) {}
