//! Batches: read from the outbox, packed, published.

use tokio::sync::oneshot;
use tracing::warn;

use crate::clock::Clock;
use crate::config::UpstreamEncoding;
use crate::forward::{Fetch, Withheld};
use crate::io::mqtt::{Delivery, Token};
use crate::outbox::{Lane, Record, Seq};
use crate::runtime::forward::{Forward, Wires};
use crate::runtime::outbox::{OutboxRequest, Reading};
use crate::runtime::retry::best_effort;
use crate::telemetry::{Metric, Task};
use crate::wire::{decode_record, encode_json};

/// Bytes around the topic and payload of a QoS 1 publish: fixed header (5), topic length (2), packet id (2), MQTT 5
/// properties (1).
pub(in crate::runtime::forward) const PUBLISH_OVERHEAD: u64 = 10;

impl Forward {
    /// Sends until the session has nothing more to send now.
    pub(in crate::runtime::forward) async fn send_all(&mut self) {
        while let Some(fetch) = self.session.next(self.now()) {
            let Some(reading) = self.read(&fetch).await else {
                self.session.abandon(&fetch, self.now());
                return;
            };
            self.send(&fetch, &reading.records).await;
            self.progress.tick(Task::Forward, self.clock.uptime());
        }
    }

    async fn read(&self, fetch: &Fetch) -> Option<Reading> {
        let &lane = Lane::ALL.get(usize::from(fetch.lane))?;
        let (reply, answer) = oneshot::channel();
        let request = OutboxRequest::Read {
            lane,
            from: Seq(fetch.from),
            upto: Seq(fetch.upto),
            records_max: usize::try_from(fetch.records_max).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX),
            reply,
        };
        self.outbox.send(request).await.ok()?;
        answer.await.ok()
    }

    async fn send(&mut self, fetch: &Fetch, records: &[Record]) {
        let Some(last) = records.last().map(|record| record.seq.0) else {
            // All of it was dropped on purpose, delivered before or is damaged, and counted there.
            let settled = self.session.skip(fetch, fetch.upto);
            return self.settle(settled).await;
        };
        self.wires.events.clear();
        for record in records {
            match decode_record(&record.payload) {
                Ok(mut event) => {
                    if !fetch.live && record.at < self.wires.live_from {
                        event.set_historical();
                    }
                    self.wires.events.push(event);
                }
                Err(error) => {
                    self.metrics.add(Metric::UnreadableRecords, 1);
                    warn!(%error, "a stored record cannot be read: set aside");
                    self.store_aside(fetch.lane, record.seq.0).await;
                }
            }
        }
        if self.wires.events.is_empty() {
            let settled = self.session.skip(fetch, last);
            return self.settle(settled).await;
        }
        self.publish(fetch, last).await;
    }

    /// Asks the outbox to keep a record that cannot be delivered.
    pub(in crate::runtime::forward) async fn store_aside(&self, lane: u8, seq: u64) {
        let Some(&lane) = Lane::ALL.get(usize::from(lane)) else { return };
        // Only without an outbox nobody listens, and then nothing is lost from it.
        best_effort(self.outbox.send(OutboxRequest::SetAside { lane, seq: Seq(seq) }).await);
    }

    async fn publish(&mut self, fetch: &Fetch, last: u64) {
        let Wires { payload, events, .. } = &mut self.wires;
        payload.clear();
        match self.encoding {
            UpstreamEncoding::Compact => {
                if let Err(error) = self.encoder.encode(&self.origin, events, payload) {
                    warn!(%error, "could not encode a batch as columns, sent it as JSON");
                    payload.clear();
                    encode_json(&self.origin, events, payload);
                }
            }
            UpstreamEncoding::Json => encode_json(&self.origin, events, payload),
        }
        let topic = self.topics.up(fetch.lane);
        let records = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let bytes = payload.len() as u64;
        let packet = bytes + topic.len() as u64 + PUBLISH_OVERHEAD;
        let now = self.now();
        let token = match self.session.send(fetch, last, records, packet, now) {
            Ok(token) => token,
            Err(Withheld::Undeliverable) => {
                self.metrics.add(Metric::UnreadableRecords, 1);
                warn!(bytes, "a record is larger than the upstream broker takes: set aside");
                self.store_aside(fetch.lane, last).await;
                let settled = self.session.give_up(fetch, last);
                return self.settle(settled).await;
            }
            Err(Withheld::Stale | Withheld::Daily | Withheld::TooLarge) => return,
        };
        let delivery = Delivery::AtLeastOnce(Token(token.0));
        let Wires { payload, link, .. } = &self.wires;
        let sent = link
            .as_ref()
            .is_some_and(|link| link.publisher.publish(&topic, payload.clone(), delivery, false).is_ok());
        if sent {
            self.metrics.add(Metric::Batches, 1);
            self.metrics.add(Metric::UpstreamBytes, bytes);
        } else {
            self.session.unsent(token, now);
        }
    }
}
