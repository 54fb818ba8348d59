//! The link upstream: reads what is durable, packs it, publishes it, and moves the cursors when it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::UpstreamEncoding;
use crate::flow::Outbound;
use crate::forward::{Advance, Day, Fetch, LinkState, Session, Status, Withheld};
use crate::io::mqtt::{Arrival, Delivery, MqttError, Publisher, Token};
use crate::outbox::{Lane, Seq};
use crate::runtime::outbox::{OutboxRequest, Reading};
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::runtime::status::Topics;
use crate::runtime::target::Target;
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::wire::{Encoder, Origin, decode_record, encode_json};

/// Arrivals waiting for this task. Acknowledgements are small; the poller waits when it is full.
const ARRIVALS_MAX: usize = 64;

/// Records appended this long before the link came up count as live: they waited for the group commit, not for the link.
const LIVE_MARGIN: Duration = Duration::from_secs(2);

/// Bytes around the topic and payload of a QoS 1 publish: fixed header (5), topic length (2), packet id (2), MQTT 5
/// properties (1).
const PUBLISH_OVERHEAD: u64 = 10;

/// The shell of the session.
pub(in crate::runtime) struct Forward {
    pub(in crate::runtime) target: Target,
    pub(in crate::runtime) session: Session,
    pub(in crate::runtime) encoding: UpstreamEncoding,
    pub(in crate::runtime) encoder: Encoder,
    pub(in crate::runtime) origin: Origin,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) outbox: mpsc::Sender<OutboxRequest>,
    pub(in crate::runtime) durable: watch::Receiver<[u64; 3]>,
    pub(in crate::runtime) status: watch::Sender<Option<Status>>,
    /// Becomes the end of the grace when the gateway stops.
    pub(in crate::runtime) grace: watch::Receiver<Option<Uptime>>,
    /// What `R/status/health` says upstream.
    pub(in crate::runtime) health: watch::Receiver<Arc<str>>,
    pub(in crate::runtime) clock: SystemClock,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
    pub(in crate::runtime) wires: Wires,
}

/// The present connection and buffers kept between batches.
#[derive(Default)]
pub(in crate::runtime) struct Wires {
    link: Option<Link>,
    /// Records up to here of each lane were stored before the link came up, and those of them that are older than
    /// `live_from` waited for it. Neither by the clock alone, which may be set back, nor by the numbers alone.
    backlog: [u64; 3],
    live_from: EventTime,
    health_sent: Option<Uptime>,
    payload: Vec<u8>,
    events: Vec<Outbound>,
}

struct Link {
    publisher: Publisher,
    arrivals: mpsc::Receiver<Result<Arrival, MqttError>>,
    poller: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Closes the socket at once; what was under way is sent again on the next connection.
        self.poller.abort();
    }
}

/// Health is sent upstream at most this often: it costs bytes of the daily budget.
const HEALTH_EVERY: Duration = Duration::from_mins(5);

impl Forward {
    /// Runs until the gateway stops and everything is delivered or the grace is over.
    pub(in crate::runtime) async fn run(mut self) {
        loop {
            let now = self.clock.uptime();
            self.progress.tick(Task::Forward, now);
            let durable = *self.durable.borrow_and_update();
            for (lane, last) in (0_u8..).zip(durable) {
                self.session.durable(lane, last);
            }
            if self.session.due(now) {
                self.connect(now);
            }
            self.send_all().await;
            if self.session.overdue(self.clock.uptime()) {
                self.lost("no acknowledgement for too long");
            }
            self.send_health();
            self.status.send_replace(Some(self.session.status(self.day())));
            if self.finished() {
                break;
            }
            self.wait().await;
        }
        self.goodbye().await;
    }

    fn day(&self) -> Day {
        Day::of(self.clock.utc())
    }

    /// Whether the gateway stops and there is nothing left to wait for.
    fn finished(&self) -> bool {
        let Some(end) = *self.grace.borrow() else { return false };
        let idle = (0..3).all(|lane| self.session.backlog(lane) == 0);
        let up = matches!(self.session.status(self.day()).state, LinkState::Up { .. });
        idle || !up || self.clock.uptime() >= end
    }

    fn connect(&mut self, now: Uptime) {
        self.session.connecting(now);
        match self.target.open() {
            Ok((publisher, mut connection)) => {
                let (sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
                let poller = tokio::spawn(async move {
                    loop {
                        let arrival = connection.next().await;
                        let last = !matches!(arrival, Ok(ref arrival) if !matches!(arrival, Arrival::Closed));
                        if sender.send(arrival).await.is_err() || last {
                            return;
                        }
                    }
                });
                self.wires.link = Some(Link { publisher, arrivals, poller });
            }
            Err(error) => self.lost(&error.in_full()),
        }
    }

    /// The connection is gone: everything under way is sent again on the next one.
    fn lost(&mut self, reason: &str) {
        let first = self.session.status(self.day()).failures == 0;
        if first {
            warn!(reason, "the upstream broker is away; trying again");
        } else {
            debug!(reason, "upstream broker is still away");
        }
        self.wires.link = None;
        self.session.disconnected(self.clock.uptime(), fastrand::f64());
        self.metrics.set(Metric::LostBatches, self.session.status(self.day()).counts.lost);
    }

    /// Waits for the next happening.
    async fn wait(&mut self) {
        let idle = self.clock.uptime().after(IDLE_TURN);
        let wake = self.session.poll_timeout().map_or(idle, |due| due.min(idle));
        let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
        let link = self.wires.link.as_mut();
        let arrivals = async {
            match link {
                Some(link) => link.arrivals.recv().await,
                None => std::future::pending().await,
            }
        };
        let arrival = tokio::select! {
            arrival = arrivals => Some(arrival),
            changed = self.durable.changed() => {
                if changed.is_err() {
                    // The outbox has ended; the supervisor ends us as well.
                    tokio::time::sleep_until(wake).await;
                }
                None
            }
            _ = self.grace.changed() => None,
            () = tokio::time::sleep_until(wake) => None,
        };
        if let Some(arrival) = arrival {
            self.arrived(arrival).await;
        }
        while let Some(Ok(arrival)) = self.wires.link.as_mut().map(|link| link.arrivals.try_recv()) {
            self.arrived(Some(arrival)).await;
        }
    }

    async fn arrived(&mut self, arrival: Option<Result<Arrival, MqttError>>) {
        let now = self.clock.uptime();
        match arrival {
            Some(Ok(Arrival::Connected(welcome))) => {
                self.session.connected(now, welcome.receive_max, welcome.packet_max);
                self.wires.backlog = *self.durable.borrow();
                self.wires.live_from = EventTime::from(self.clock.utc()).before(LIVE_MARGIN);
                self.metrics.add(Metric::UpstreamConnects, 1);
                info!("connected to the upstream broker");
                self.say_available("online");
            }
            Some(Ok(Arrival::Acked(token))) => {
                self.metrics.add(Metric::AckedBatches, 1);
                let advance = self.session.acked(crate::forward::Token(token.0), now);
                self.advance(advance).await;
            }
            Some(Ok(Arrival::Refused(token, reason))) => {
                warn!(reason, "upstream broker refused a batch");
                self.session.refused(crate::forward::Token(token.0), now, fastrand::f64());
            }
            Some(Ok(Arrival::Message(_) | Arrival::Subscribed { .. } | Arrival::Alive)) => {}
            Some(Ok(Arrival::Closed)) => self.lost("closed"),
            Some(Err(error)) => self.lost(&error.in_full()),
            None => self.lost("the poller ended"),
        }
    }

    async fn advance(&self, advance: Option<Advance>) {
        let Some(Advance { lane, upto }) = advance else { return };
        let Some(&lane) = Lane::ALL.get(usize::from(lane)) else { return };
        best_effort(self.outbox.send(OutboxRequest::Advance { lane, upto: Seq(upto) }).await);
    }

    /// Sends until the session has nothing more to send now.
    async fn send_all(&mut self) {
        while let Some(fetch) = self.session.next(self.clock.uptime(), self.day()) {
            let Some(reading) = self.read(&fetch).await else {
                self.session.abandon(&fetch, self.clock.uptime());
                return;
            };
            self.send(&fetch, reading).await;
            self.progress.tick(Task::Forward, self.clock.uptime());
        }
    }

    async fn read(&self, fetch: &Fetch) -> Option<Reading> {
        let &lane = Lane::ALL.get(usize::from(fetch.lane))?;
        let (reply, answer) = oneshot::channel();
        let request = OutboxRequest::Read {
            lane,
            from: Seq(fetch.from),
            upto: Seq(u64::MAX),
            records_max: usize::try_from(fetch.records_max).unwrap_or(usize::MAX),
            bytes_max: usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX),
            reply,
        };
        self.outbox.send(request).await.ok()?;
        answer.await.ok()
    }

    async fn send(&mut self, fetch: &Fetch, reading: Reading) {
        let now = self.clock.uptime();
        // More may have become durable since the session was told: it refuses a batch beyond what it knows of.
        self.session.durable(fetch.lane, reading.durable.0);
        let Some(last) = reading.records.last().map(|record| record.seq.0) else {
            // All of it was dropped on purpose or is damaged, and counted there.
            let advance = self.session.skip(fetch, reading.durable.0, now);
            return self.advance(advance).await;
        };
        self.wires.events.clear();
        let backlog = self.wires.backlog.get(usize::from(fetch.lane)).copied().unwrap_or(0);
        for record in &reading.records {
            match decode_record(&record.payload) {
                Ok(mut event) => {
                    if record.seq.0 <= backlog && record.at < self.wires.live_from {
                        event.set_historical();
                    }
                    self.wires.events.push(event);
                }
                Err(error) => {
                    self.metrics.add(Metric::UnreadableRecords, 1);
                    warn!(%error, "skipped a stored record that cannot be read");
                }
            }
        }
        if self.wires.events.is_empty() {
            let advance = self.session.skip(fetch, last, now);
            return self.advance(advance).await;
        }
        self.publish(fetch, last).await;
    }

    async fn publish(&mut self, fetch: &Fetch, last: u64) {
        let (now, day) = (self.clock.uptime(), self.day());
        let Wires { payload, events, link, .. } = &mut self.wires;
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
        let token = match self.session.send(fetch, last, records, packet, now, day) {
            Ok(token) => token,
            Err(Withheld::Undeliverable) => {
                self.metrics.add(Metric::UnreadableRecords, 1);
                warn!(bytes, "skipped a record larger than the upstream broker takes");
                let advance = self.session.skip(fetch, last, now);
                return self.advance(advance).await;
            }
            Err(Withheld::Stale | Withheld::Daily | Withheld::TooLarge) => return,
        };
        let delivery = Delivery::AtLeastOnce(Token(token.0));
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

    /// Tells upstream how the gateway is, now and then, within the budget.
    fn send_health(&mut self) {
        let now = self.clock.uptime();
        if self.wires.health_sent.is_some_and(|sent| now.since(sent) < HEALTH_EVERY) {
            return;
        }
        let health = self.health.borrow().clone();
        let topic = self.topics.health();
        let bytes = (topic.len() + health.len()) as u64 + PUBLISH_OVERHEAD;
        if health.is_empty() || !self.session.allow(bytes, now, Day::of(self.clock.utc())) {
            return;
        }
        if let Some(link) = &self.wires.link {
            // Worthless later: if it cannot go now, the next one goes in five minutes.
            best_effort(link.publisher.publish(
                &topic,
                health.as_bytes().to_vec(),
                Delivery::AtMostOnce,
                true,
            ));
            self.wires.health_sent = Some(now);
        }
    }

    fn say_available(&self, word: &'static str) {
        if let Some(link) = &self.wires.link {
            best_effort(link.publisher.publish(
                &self.topics.available(),
                word.as_bytes().to_vec(),
                Delivery::AtMostOnce,
                true,
            ));
        }
    }

    /// The orderly end: a word to the broker in place of the last will.
    async fn goodbye(&mut self) {
        self.say_available("stopped");
        let Some(link) = self.wires.link.as_mut() else { return };
        if link.publisher.disconnect().is_ok() {
            let closed = async { while let Some(Ok(_)) = link.arrivals.recv().await {} };
            drop(tokio::time::timeout(IDLE_TURN, closed).await);
        }
    }
}
