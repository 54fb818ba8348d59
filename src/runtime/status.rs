//! What the gateway says about itself on the plant's broker.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock, Uptime};
use crate::flow::{Budget, Priority, StreamId};
use crate::forward::{LinkState, Status};
use crate::governor::GovernorStatus;
use crate::infer::{ModelState, ModelStatus};
use crate::io::mqtt::{Delivery, Publisher};
use crate::outbox::Lane;
use crate::runtime::outbox::OutboxReport;
use crate::runtime::plant::stopped;
use crate::runtime::retry::{IDLE_TURN, best_effort};
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Bytes;

/// `R/metrics` and the figures in `R/status` are published this often: the contract's ten seconds.
pub(in crate::runtime) const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The topics of one gateway, made once.
#[derive(Clone)]
pub(in crate::runtime) struct Topics {
    root: Arc<str>,
    events: Arc<[Arc<str>]>,
    alarms: Arc<[Arc<str>]>,
    up: [Arc<str>; 3],
}

impl Topics {
    /// Topics of a gateway with these streams.
    pub(in crate::runtime) fn new<'a>(
        site: &str,
        gateway: &str,
        streams: &(impl Iterator<Item = &'a str> + Clone),
    ) -> Self {
        let root = format!("tidegate/{site}/{gateway}");
        let named =
            |kind: &str| streams.clone().map(|name| Arc::from(format!("{root}/{kind}/{name}"))).collect();
        Self {
            events: named("event"),
            alarms: named("alarm"),
            up: Priority::ALL.map(|priority| Arc::from(format!("{root}/up/{}", priority.as_str()))),
            root: Arc::from(root),
        }
    }

    /// `R/event/<stream>`.
    pub(in crate::runtime) fn event(&self, stream: StreamId) -> Arc<str> {
        self.events.get(usize::from(stream.0)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/alarm/<stream>`.
    pub(in crate::runtime) fn alarm(&self, stream: StreamId) -> Arc<str> {
        self.alarms.get(usize::from(stream.0)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/up/<priority>`.
    pub(in crate::runtime) fn up(&self, lane: u8) -> Arc<str> {
        self.up.get(usize::from(lane)).cloned().unwrap_or_else(|| Arc::clone(&self.root))
    }

    /// `R/status/available`.
    pub(in crate::runtime) fn available(&self) -> String {
        self.below("status/available")
    }

    /// `R/status/health`.
    pub(in crate::runtime) fn health(&self) -> String {
        self.below("status/health")
    }

    fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }
}

/// Where the figures come from.
pub(in crate::runtime) struct Sources {
    pub(in crate::runtime) outbox: watch::Receiver<OutboxReport>,
    pub(in crate::runtime) link: watch::Receiver<Option<Status>>,
    pub(in crate::runtime) models: watch::Receiver<Vec<ModelStatus>>,
    pub(in crate::runtime) budget: watch::Receiver<Budget>,
    pub(in crate::runtime) governor: watch::Receiver<GovernorStatus>,
    pub(in crate::runtime) metrics: Arc<Metrics>,
    pub(in crate::runtime) progress: Arc<Progress>,
}

/// The shell that publishes them.
pub(in crate::runtime) struct StatusReport {
    pub(in crate::runtime) sources: Sources,
    pub(in crate::runtime) publisher: watch::Receiver<Option<Publisher>>,
    pub(in crate::runtime) health: watch::Sender<Arc<str>>,
    pub(in crate::runtime) stopping: watch::Receiver<bool>,
    pub(in crate::runtime) topics: Topics,
    pub(in crate::runtime) instance: String,
    pub(in crate::runtime) memory_max: Bytes,
    /// Figures are told this often, at most once a second.
    pub(in crate::runtime) every: Duration,
    pub(in crate::runtime) clock: SystemClock,
}

impl StatusReport {
    /// Runs until the gateway stops.
    pub(in crate::runtime) async fn run(mut self) {
        let mut last_metrics: Option<Uptime> = None;
        let mut told: Vec<(&'static str, String)> = Vec::new();
        loop {
            tokio::select! {
                changed = self.publisher.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A new connection: everything is told again.
                    told.clear();
                    last_metrics = None;
                    self.say("status/available", b"online".to_vec(), true);
                }
                () = tokio::time::sleep(IDLE_TURN) => {}
                () = stopped(&mut self.stopping) => return,
            }
            let health = self.health_json();
            self.health.send_replace(Arc::from(self.stamped("status/health", &health)));
            let now = self.clock.uptime();
            let full = last_metrics.is_none_or(|at| now.since(at) >= self.every);
            if full {
                let quarantined = |model: &&ModelStatus| matches!(model.state, ModelState::Quarantined(_));
                let count = self.sources.models.borrow().iter().filter(quarantined).count();
                self.sources.metrics.set(Metric::QuarantinedModels, count as u64);
                last_metrics = Some(now);
                let metrics = self.metrics_json().to_string();
                self.say("metrics", metrics.into_bytes(), false);
            }
            for (name, text) in [
                ("status/health", health),
                ("status/outbox", self.outbox_json().to_string()),
                ("status/link", self.link_json().to_string()),
                ("status/models", self.models_json().to_string()),
                ("status/budget", self.budget_json().to_string()),
            ] {
                self.say_changed(&mut told, name, &text, full);
            }
        }
    }

    /// Publishes a retained status when it differs from what was told, compared without its time stamp.
    fn say_changed(
        &self,
        told: &mut Vec<(&'static str, String)>,
        name: &'static str,
        text: &str,
        full: bool,
    ) {
        let known = told.iter_mut().find(|(known, _)| *known == name);
        match known {
            Some((_, before)) if before.as_str() == text => return,
            // Figures move all the time; words that matter are in health, which is told at once.
            Some(_) if !full && name != "status/health" => return,
            Some((_, before)) => text.clone_into(before),
            None => told.push((name, text.to_owned())),
        }
        self.say(name, self.stamped(name, text).into_bytes(), true);
    }

    /// Puts version, time and instance into a JSON object; into health also the Unix time that watchers of other
    /// services expect.
    fn stamped(&self, name: &str, text: &str) -> String {
        let (ts, instance) = (self.utc_text(), &self.instance);
        let head = match name {
            "status/health" => {
                let time = self.clock.utc().micros.div_euclid(1_000_000);
                format!("{{\"v\":1,\"ts\":\"{ts}\",\"instance\":\"{instance}\",\"time\":{time},")
            }
            _ => format!("{{\"v\":1,\"ts\":\"{ts}\",\"instance\":\"{instance}\","),
        };
        text.replacen('{', &head, 1)
    }

    fn utc_text(&self) -> String {
        let micros = self.clock.utc().micros;
        jiff::Timestamp::from_microsecond(micros)
            .map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.3}"))
    }

    fn say(&self, name: &str, payload: Vec<u8>, retain: bool) {
        if let Some(publisher) = &*self.publisher.borrow() {
            // Full or gone: the next round tells it again.
            best_effort(publisher.publish(&self.topics.below(name), payload, Delivery::AtMostOnce, retain));
        }
    }

    fn health_json(&self) -> String {
        let now = self.clock.uptime();
        let stalled = self.sources.progress.stalled(now);
        let models = self.sources.models.borrow();
        let bad =
            models.iter().find(|model| model.state != ModelState::Ready).map(|model| Arc::clone(&model.id));
        let (status, reason) = match (stalled, bad) {
            (Some(task), _) => ("down", format!("{} makes no progress", task.as_str())),
            (None, Some(model)) => ("degraded", format!("model {model} is not in use")),
            (None, None) if self.publisher.borrow().is_none() => {
                ("degraded", "the plant broker is away".to_owned())
            }
            (None, None) => ("up", "ok".to_owned()),
        };
        let stages: Map<String, Value> = Task::ALL
            .into_iter()
            .map(|task| {
                let alive = self.sources.progress.silence(task, now) <= task.silence_max();
                (task.as_str().to_owned(), json!(if alive { "moving" } else { "stalled" }))
            })
            .collect();
        json!({"status": status, "reason": reason, "pid": std::process::id(), "stages": stages}).to_string()
    }

    fn outbox_json(&self) -> Value {
        let report = self.sources.outbox.borrow();
        let lanes: Map<String, Value> = Lane::ALL
            .into_iter()
            .zip(&report.lanes)
            .map(|(lane, stat)| {
                let oldest = stat.oldest.map(|at| at.0.div_euclid(1_000_000));
                let row = json!({"records": stat.records, "bytes": stat.bytes.0, "oldest": oldest});
                (lane.as_str().to_owned(), row)
            })
            .collect();
        let free = report.size_max.0.saturating_sub(report.used.0) as f64;
        // A tenth of an hour is as exact as an average of the past can be.
        let hours = (report.fill_rate > 0.0).then(|| (free / report.fill_rate / 360.0).round() / 10.0);
        json!({
            "lanes": lanes, "bytes": report.used.0, "limit": report.size_max.0,
            "fill_bytes_per_second": report.fill_rate.round(), "hours_of_autonomy": hours,
        })
    }

    fn link_json(&self) -> Value {
        let Some(status) = *self.sources.link.borrow() else { return json!({"state": "waiting"}) };
        let state = match status.state {
            LinkState::Waiting { .. } => "waiting",
            LinkState::Connecting { .. } => "connecting",
            LinkState::Up { .. } => "up",
        };
        let millis = status.round_trip.map(|rtt| u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX));
        json!({
            "state": state, "failures": status.failures, "rtt_ms": millis,
            "bytes_today": status.bytes_today.0, "daily": status.daily.map(|daily| daily.0),
            "in_flight": status.in_flight,
            "batches": {"sent": status.counts.sent, "acked": status.counts.acked, "refused": status.counts.refused,
                        "lost": status.counts.lost},
        })
    }

    fn models_json(&self) -> Value {
        let models = self.sources.models.borrow();
        let row = |model: &ModelStatus| {
            let (state, reason) = match &model.state {
                ModelState::Ready => ("ready", None),
                ModelState::Quarantined(reason) => {
                    ("quarantined", Some(format!("{reason:?}").to_lowercase()))
                }
                ModelState::Refused(why) => ("refused", Some(why.clone())),
            };
            let micros = |took: Option<Duration>| took.map(|took| took.as_micros() as f64);
            json!({
                "model": &*model.id, "sha256": model.sha256.map(|digest| digest.to_string()),
                "memory": model.memory_bytes, "state": state, "reason": reason,
                "judged": model.judged, "failed": model.failed,
                "latency_us": {"p50": micros(model.p50), "p99": micros(model.p99)},
            })
        };
        json!({"models": models.iter().map(row).collect::<Vec<_>>()})
    }

    fn budget_json(&self) -> Value {
        let budget = *self.sources.budget.borrow();
        let governor = self.sources.governor.borrow();
        let shed = self.sources.metrics.stage(Stage::Infer).tally.dropped(DropReason::Budget);
        json!({
            "level": budget.level.as_str(), "reason": budget.reason.as_str(), "stretch": budget.stretch,
            "temperature": governor.temperature.map(|celsius| celsius.0),
            "headroom": governor.headroom, "trip": governor.target.map(|target| target.0),
            "memory": self.sources.metrics.get(Metric::MemoryBytes), "memory_limit": self.memory_max.0,
            "shed": shed,
        })
    }

    fn metrics_json(&self) -> Value {
        let metrics = &self.sources.metrics;
        let mut values = Map::new();
        for &metric in Metric::ALL {
            values.insert(metric.as_str().to_owned(), json!(metrics.get(metric)));
        }
        let mut stages = Map::new();
        for &stage in Stage::ALL {
            let count = metrics.stage(stage);
            let dropped: Map<String, Value> = DropReason::ALL
                .iter()
                .filter(|&&reason| count.tally.dropped(reason) > 0)
                .map(|&reason| (reason.as_str().to_owned(), json!(count.tally.dropped(reason))))
                .collect();
            let row = json!({"in": count.tally.received, "out": count.tally.passed, "dropped": dropped, "held": count.held});
            stages.insert(stage.as_str().to_owned(), row);
        }
        json!({
            "v": 1, "ts": self.utc_text(), "instance": self.instance,
            "uptime_s": self.clock.uptime().since(Uptime::ZERO).as_secs(),
            "stages": stages, "metrics": values,
        })
    }
}
