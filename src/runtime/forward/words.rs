//! What the gateway says upstream besides records: that it is there, how it is, and good-bye. Of QoS 1, so that the books
//! know when it has passed; first thing on a connection, it shows whether the link carries anything.

use std::time::Duration;

use crate::clock::Clock;
use crate::io::mqtt::{Delivery, Token};
use crate::runtime::forward::Forward;
use crate::runtime::forward::batch::PUBLISH_OVERHEAD;
use crate::runtime::retry::IDLE_TURN;

/// Health is sent upstream at most this often: it costs bytes of the daily budget.
const HEALTH_EVERY: Duration = Duration::from_mins(5);

impl Forward {
    /// Tells upstream how the gateway is, now and then, within the budget.
    pub(in crate::runtime::forward) fn send_health(&mut self) {
        let now = self.clock.uptime();
        if self.wires.health_sent.is_some_and(|sent| now.since(sent) < HEALTH_EVERY) {
            return;
        }
        let health = self.health.borrow().clone();
        let topic = self.topics.health();
        if !health.is_empty() && self.say(&topic, health.as_bytes()) {
            self.wires.health_sent = Some(now);
        }
    }

    pub(in crate::runtime::forward) fn say_available(&mut self, word: &'static str) {
        let topic = self.topics.available();
        // Where the budget has no room for it, the broker's silence says enough.
        self.say(&topic, word.as_bytes());
    }

    /// Publishes a retained word within the budget. Whether it went.
    fn say(&mut self, topic: &str, word: &[u8]) -> bool {
        let now = self.now();
        let bytes = (topic.len() + word.len()) as u64 + PUBLISH_OVERHEAD;
        let Some(token) = self.session.extra(bytes, now) else { return false };
        let delivery = Delivery::AtLeastOnce(Token(token.0));
        let sent = self
            .wires
            .link
            .as_ref()
            .is_some_and(|link| link.publisher.publish(topic, word.to_vec(), delivery, true).is_ok());
        if !sent {
            self.session.unsent(token, now);
        }
        sent
    }

    /// The orderly end: a word to the broker in place of the last will.
    pub(in crate::runtime::forward) async fn goodbye(&mut self) {
        self.say_available("stopped");
        let Some(link) = self.wires.link.as_mut() else { return };
        if link.publisher.disconnect().is_ok() {
            let closed = async { while let Some(Ok(_)) = link.arrivals.recv().await {} };
            drop(tokio::time::timeout(IDLE_TURN, closed).await);
        }
    }
}
