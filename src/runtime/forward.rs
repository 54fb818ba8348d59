//! The link upstream: connects, hears the broker's answers, and moves the cursors when records are done with.
//!
//! Driven by what happens: the connection, what has become durable, what has been acknowledged, what is due. The turn of
//! [`IDLE_TURN`] only shows the watchdog that the task lives.

mod batch;
mod books;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::UpstreamEncoding;
use crate::flow::Outbound;
use crate::forward::{LinkState, Loss, Moment, Session, Status};
use crate::io::mqtt::{Arrival, Fault, MqttError, Publisher, Traffic};
use crate::runtime::outbox::OutboxRequest;
use crate::runtime::retry::IDLE_TURN;
use crate::runtime::status::Topics;
use crate::runtime::target::Target;
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::wire::{Encoder, Origin};

/// Arrivals waiting for this task. Acknowledgements are small; the poller waits when it is full.
const ARRIVALS_MAX: usize = 64;

/// Records appended this long before the link came up count as live: they waited for the group commit, not for the link.
const LIVE_MARGIN: Duration = Duration::from_secs(2);

/// Refusals are logged this often: enough to be found, too seldom to fill a log.
const REFUSALS_EVERY: Duration = Duration::from_mins(10);

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
    /// Backlog that is older than this waited for the link, not for the group commit.
    live_from: EventTime,
    health_sent: Option<Uptime>,
    refusal_told: Option<Uptime>,
    payload: Vec<u8>,
    events: Vec<Outbound>,
    /// Told when the note is on the disk.
    noting: Option<oneshot::Receiver<bool>>,
}

struct Link {
    publisher: Publisher,
    traffic: Traffic,
    arrivals: mpsc::Receiver<Result<Arrival, MqttError>>,
    poller: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Closes the socket at once; what was under way is sent again on the next connection.
        self.poller.abort();
    }
}

/// What a wait has brought.
enum Woken {
    Arrival(Option<Result<Arrival, MqttError>>),
    Noted(bool),
    Other,
}

impl Forward {
    /// Runs until the gateway stops and everything is delivered or the grace is over.
    pub(in crate::runtime) async fn run(mut self) {
        loop {
            self.progress.tick(Task::Forward, self.clock.uptime());
            let durable = *self.durable.borrow_and_update();
            for (lane, last) in (0_u8..).zip(durable) {
                self.session.durable(lane, last);
            }
            self.count_traffic();
            if self.session.due(self.now()) {
                self.connect();
            }
            self.send_all().await;
            self.put_aside().await;
            if let Some(loss) = self.session.close(self.now()) {
                self.lost(loss, loss.as_str());
            }
            self.send_health();
            self.write_note().await;
            self.tell();
            if self.finished() {
                break;
            }
            self.wait().await;
        }
        self.goodbye().await;
    }

    fn now(&self) -> Moment {
        Moment { up: self.clock.uptime(), utc: self.clock.utc() }
    }

    /// Whether the gateway stops and there is nothing left to wait for.
    fn finished(&self) -> bool {
        let Some(end) = *self.grace.borrow() else { return false };
        let idle = (0..3).all(|lane| self.session.backlog(lane) == 0);
        let up = matches!(self.session.status().state, LinkState::Up { .. });
        idle || !up || self.clock.uptime() >= end
    }

    fn connect(&mut self) {
        self.session.connecting(self.now());
        match self.target.open() {
            Ok((publisher, mut connection)) => {
                let traffic = connection.traffic();
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
                self.wires.link = Some(Link { publisher, traffic, arrivals, poller });
            }
            Err(error) => self.lost(loss_of(&error), &error.in_full()),
        }
    }

    /// The connection is gone: everything under way is sent again on the next one.
    fn lost(&mut self, loss: Loss, reason: &str) {
        let first = self.session.status().failures == 0;
        match loss {
            Loss::Budget => info!("the daily budget upstream is spent; off until the next day of UTC"),
            Loss::Unreachable
            | Loss::Refused
            | Loss::Closed
            | Loss::NoAcknowledgement
            | Loss::HalfOpen
            | Loss::Ours => {
                if first {
                    warn!(reason, kind = loss.as_str(), "the upstream broker is away; trying again");
                } else {
                    debug!(reason, kind = loss.as_str(), "upstream broker is still away");
                }
            }
        }
        let traffic = self.wires.link.take().map(|link| {
            link.poller.abort();
            link.traffic.clone()
        });
        if let Some(traffic) = traffic {
            self.session.traffic(traffic.sent(), traffic.received(), self.now());
        }
        self.session.disconnected(self.now(), fastrand::f64(), loss);
    }

    /// Logs a refusal, at most once in [`REFUSALS_EVERY`]: a broker may refuse every other batch of a long backlog.
    fn tell_refusal(&mut self, reason: &str) {
        let (now, refused) = (self.clock.uptime(), self.session.status().counts.refused + 1);
        if self.wires.refusal_told.is_some_and(|told| now.since(told) < REFUSALS_EVERY) {
            debug!(reason, refused, "upstream broker refused a message again");
            return;
        }
        self.wires.refusal_told = Some(now);
        warn!(reason, refused, "upstream broker refused a message; more are told once in ten minutes");
    }

    /// Waits for the next happening.
    async fn wait(&mut self) {
        let idle = self.clock.uptime().after(IDLE_TURN);
        let wake = self.session.poll_timeout().map_or(idle, |due| due.min(idle));
        let wake = tokio::time::Instant::from_std(self.clock.instant(wake));
        let Wires { link, noting, .. } = &mut self.wires;
        let arrivals = async {
            match link {
                Some(link) => link.arrivals.recv().await,
                None => std::future::pending().await,
            }
        };
        let noted = async {
            match noting {
                // Nobody answers: the outbox has ended.
                Some(noting) => noting.await.unwrap_or(false),
                None => std::future::pending().await,
            }
        };
        let woken = tokio::select! {
            arrival = arrivals => Woken::Arrival(arrival),
            written = noted => Woken::Noted(written),
            changed = self.durable.changed() => {
                if changed.is_err() {
                    // The outbox has ended; the supervisor ends us as well.
                    tokio::time::sleep_until(wake).await;
                }
                Woken::Other
            }
            _ = self.grace.changed() => Woken::Other,
            () = tokio::time::sleep_until(wake) => Woken::Other,
        };
        match woken {
            Woken::Arrival(arrival) => self.arrived(arrival).await,
            Woken::Noted(written) => self.noted(written),
            Woken::Other => {}
        }
        while let Some(Ok(arrival)) = self.wires.link.as_mut().map(|link| link.arrivals.try_recv()) {
            self.arrived(Some(arrival)).await;
        }
    }

    async fn arrived(&mut self, arrival: Option<Result<Arrival, MqttError>>) {
        // What brought the answer has been counted: only then is what it answers no longer reserved.
        self.count_traffic();
        let now = self.now();
        match arrival {
            Some(Ok(Arrival::Connected(welcome))) => {
                self.session.connected(now, welcome.receive_max, welcome.packet_max);
                self.wires.live_from = EventTime::from(now.utc).before(LIVE_MARGIN);
                self.metrics.add(Metric::UpstreamConnects, 1);
                info!("connected to the upstream broker");
                self.say_available("online");
            }
            Some(Ok(Arrival::Acked(token))) => {
                let settled = self.session.acked(crate::forward::Token(token.0), now);
                self.metrics.set(Metric::AckedBatches, self.session.status().counts.acked);
                self.settle(settled).await;
            }
            Some(Ok(Arrival::Refused(token, reason))) => {
                self.tell_refusal(reason);
                let token = crate::forward::Token(token.0);
                self.session.refused(token, now, fastrand::f64(), is_about_content(reason));
            }
            Some(Ok(Arrival::Message(_) | Arrival::Subscribed { .. } | Arrival::Alive)) => {}
            Some(Ok(Arrival::Closed)) => self.lost(Loss::Ours, "closed"),
            Some(Err(error)) => self.lost(loss_of(&error), &error.in_full()),
            None => self.lost(Loss::Closed, "the poller ended"),
        }
    }
}

/// What an error of the connection means to the session.
fn loss_of(error: &MqttError) -> Loss {
    match error.classify() {
        Fault::Config | Fault::Refused => Loss::Refused,
        Fault::Unreachable => Loss::Unreachable,
        Fault::Oversize | Fault::Lost => Loss::Closed,
    }
}

/// Whether the broker has said that this very message is at fault, and not the moment or the rights of the client.
fn is_about_content(reason: &str) -> bool {
    matches!(reason, "unspecified error" | "implementation specific error" | "payload format invalid")
}
