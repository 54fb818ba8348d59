//! A listener on a broker that comes back by itself, and a feeder.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tidegate::io::mqtt::{Arrival, Delivery, Endpoint, Protocol, Qos, Token, Unsent, open};
use tokio::sync::oneshot;

use crate::common::client::{connected, endpoint, next};

/// Longest wait for anything. A test that waits as long fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two attempts to reach a broker.
const RETRY: Duration = Duration::from_millis(20);

/// One message as it came.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retained: bool,
}

impl Seen {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }
}

/// Listens to `tidegate/#` and keeps everything.
pub(crate) struct Tap {
    heard: Arc<(Mutex<Heard>, Condvar)>,
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Heard {
    messages: Vec<Seen>,
    /// Times the subscription was granted.
    subscriptions: usize,
}

impl Tap {
    /// Listens, and returns when the broker has granted the subscription.
    pub(crate) fn new(port: u16, client_id: &str) -> Self {
        let heard: Arc<(Mutex<Heard>, Condvar)> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let endpoint = Endpoint { clean_start: true, ..endpoint(port, client_id, Protocol::V5) };
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            executor().block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = listen(&endpoint, &kept) => {}
                }
            });
        });
        let tap = Self { heard, _stop: stop };
        tap.subscribed(1);
        tap
    }

    /// Waits until it has subscribed for the `times`-th time.
    pub(crate) fn subscribed(&self, times: usize) {
        self.wait_heard("the subscription", |heard| (heard.subscriptions >= times).then_some(()));
    }

    /// How much it has heard so far.
    pub(crate) fn mark(&self) -> usize {
        self.heard.0.lock().unwrap().messages.len()
    }

    /// Everything heard so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.heard.0.lock().unwrap().messages.clone()
    }

    /// Waits until `pick` finds what it looks for in everything heard after a mark.
    pub(crate) fn wait<T>(&self, mark: usize, what: &str, mut pick: impl FnMut(&[Seen]) -> Option<T>) -> T {
        self.wait_heard(what, |heard| pick(&heard.messages[mark..]))
    }

    fn wait_heard<T>(&self, what: &str, mut pick: impl FnMut(&Heard) -> Option<T>) -> T {
        let end = now() + PATIENCE;
        let (lock, changed) = &*self.heard;
        let mut heard = lock.lock().unwrap();
        loop {
            if let Some(found) = pick(&heard) {
                return found;
            }
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                let metrics = heard.messages.iter().rfind(|seen| seen.topic.ends_with("/metrics")).cloned();
                let topics: Vec<String> =
                    heard.messages.iter().rev().take(20).map(|seen| seen.topic.clone()).collect();
                drop(heard);
                let metrics = metrics.map(|seen| seen.json()["stages"].to_string());
                panic!("waited in vain for {what}; heard last: {topics:?}, counted {metrics:?}");
            }
            heard = changed.wait_timeout(heard, left).unwrap().0;
        }
    }
}

async fn listen(endpoint: &Endpoint, heard: &(Mutex<Heard>, Condvar)) {
    loop {
        let (publisher, mut connection) = open(endpoint).unwrap();
        while let Ok(arrival) = connection.next().await {
            match arrival {
                // QoS 0, so that nothing of ours lies unread in a broker that is killed: the kernel would then
                // throw away what the broker has sent us.
                Arrival::Connected(_) => publisher.subscribe("tidegate/#", Qos::AtMostOnce).unwrap(),
                Arrival::Subscribed { refused, .. } => {
                    assert_eq!(refused, None);
                    heard.0.lock().unwrap().subscriptions += 1;
                }
                Arrival::Message(message) => heard.0.lock().unwrap().messages.push(Seen {
                    topic: String::from_utf8(message.topic().to_vec()).unwrap(),
                    payload: message.payload().to_vec(),
                    retained: message.retained(),
                }),
                Arrival::Acked(_) | Arrival::Refused(..) | Arrival::Alive | Arrival::Closed => {}
            }
            heard.1.notify_all();
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Publishes at QoS 1, in order, and returns when the broker has taken everything.
pub(crate) fn feed(port: u16, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
    feed_as(port, "feeder", false, messages);
}

/// Publishes under a client id, retained or not.
pub(crate) fn feed_as(
    port: u16,
    client_id: &str,
    retain: bool,
    messages: impl IntoIterator<Item = (String, Vec<u8>)>,
) {
    executor().block_on(async {
        let endpoint = Endpoint { clean_start: true, ..endpoint(port, client_id, Protocol::V5) };
        let (publisher, mut connection, _) = connected(&endpoint).await;
        let mut under_way = 0_u32;
        for (topic, payload) in messages {
            loop {
                let delivery = Delivery::AtLeastOnce(Token(0));
                match publisher.publish(&topic, payload.clone(), delivery, retain) {
                    Ok(()) => break,
                    Err(Unsent::Full) => under_way -= acked(&mut connection).await,
                    Err(error) => panic!("{error}"),
                }
            }
            under_way += 1;
        }
        while under_way > 0 {
            under_way -= acked(&mut connection).await;
        }
        publisher.disconnect().unwrap();
        while !matches!(next(&mut connection).await, Ok(Arrival::Closed)) {}
    });
}

async fn acked(connection: &mut tidegate::io::mqtt::Connection) -> u32 {
    match next(connection).await {
        Ok(Arrival::Acked(_)) => 1,
        Ok(_) => 0,
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    }
}

fn executor() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "real processes take real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
