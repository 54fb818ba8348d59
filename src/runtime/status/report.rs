//! The shell that publishes the status: changes at once, figures now and then, everything on a new connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, SystemClock, Uptime};
use crate::flow::Budget;
use crate::forward::Status;
use crate::governor::GovernorStatus;
use crate::infer::{ModelState, ModelStatus, ReportCounts};
use crate::io::mqtt::{Delivery, Publisher};
use crate::runtime::certificates::Certificates;
use crate::runtime::hardware::{HardwareCommands, HardwareHealth};
use crate::runtime::known_time::KnownTime;
use crate::runtime::operations::Pauses;
use crate::runtime::outbox::OutboxReport;
use crate::runtime::plant::stopped;
use crate::runtime::power_fail::Flushed;
use crate::runtime::retry::IDLE_TURN;
use crate::runtime::status::Topics;
use crate::runtime::status::budget::budget_json;
use crate::runtime::status::health::{Seen, health_json, verdict};
use crate::runtime::status::link::link_json;
use crate::runtime::status::metrics::metrics_json;
use crate::runtime::status::models::models_json;
use crate::runtime::status::outbox::outbox_json;
use crate::runtime::status::stamp::stamped;
use crate::runtime::status::topics::{HEALTH, Subject};
use crate::telemetry::{Metric, Metrics, Progress};
use crate::units::Bytes;

/// `R/metrics` and the figures in `R/status` are published this often: the contract's ten seconds.
pub(in crate::runtime) const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Days left that are told where no certificate is used: a century, longer than any.
const DAYS_LEFT_WITHOUT: u64 = 36_500;

/// What was told last on this connection.
pub(in crate::runtime::status) type Told = BTreeMap<Subject, String>;

/// What is told in this round: everything in a full one and on a new connection. Figures move all the time and wait for
/// the next full one; words that matter are in health, which is told at once.
pub(in crate::runtime::status) fn due(told: &Told, full: bool) -> Vec<Subject> {
    let is_due = |subject: &Subject| full || *subject == Subject::Health || !told.contains_key(subject);
    Subject::ALL.into_iter().filter(is_due).collect()
}

/// Where the figures come from.
pub(in crate::runtime) struct Sources {
    pub(in crate::runtime) outbox: watch::Receiver<OutboxReport>,
    pub(in crate::runtime) flushed: watch::Receiver<Option<Flushed>>,
    pub(in crate::runtime) link: watch::Receiver<Option<Status>>,
    pub(in crate::runtime) models: watch::Receiver<Vec<ModelStatus>>,
    pub(in crate::runtime) budget: watch::Receiver<Budget>,
    pub(in crate::runtime) governor: watch::Receiver<GovernorStatus>,
    pub(in crate::runtime) hardware: HardwareHealth,
    pub(in crate::runtime) panel: HardwareCommands,
    pub(in crate::runtime) is_safe_mode: bool,
    pub(in crate::runtime) pauses: watch::Receiver<Pauses>,
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
    pub(in crate::runtime) certificates: Certificates,
    pub(in crate::runtime) known_time: KnownTime,
    pub(in crate::runtime) clock: SystemClock,
}

impl StatusReport {
    /// Runs until the gateway stops.
    pub(in crate::runtime) async fn run(mut self) {
        let mut last_metrics: Option<Uptime> = None;
        let mut told = Told::new();
        loop {
            tokio::select! {
                changed = self.publisher.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A new connection: everything is told again.
                    told.clear();
                    last_metrics = None;
                }
                () = tokio::time::sleep(IDLE_TURN) => {}
                () = stopped(&mut self.stopping) => return,
            }
            self.look_at_certificates();
            let health = self.health();
            self.health.send_replace(Arc::from(self.stamped(HEALTH, &health)));
            let now = self.clock.uptime();
            let full = last_metrics.is_none_or(|at| now.since(at) >= self.every);
            if full {
                self.sum_up_models();
                last_metrics = Some(now);
                let metrics = metrics_json(&self.sources.metrics, &self.clock, &self.instance).to_string();
                // One that finds no room is not missed: the next says more.
                self.say("metrics", metrics.into_bytes(), false);
            }
            for subject in due(&told, full) {
                self.say_changed(&mut told, subject, self.text(subject, &health));
            }
        }
    }

    /// What a retained status says now, not yet stamped; `health` is what that one says.
    pub(in crate::runtime::status) fn text(&self, subject: Subject, health: &str) -> String {
        let sources = &self.sources;
        let now = self.clock.uptime();
        match subject {
            Subject::Available => "online".to_owned(),
            Subject::Health => health.to_owned(),
            Subject::Outbox => {
                let flushed = *sources.flushed.borrow();
                let outbox = sources.outbox.borrow().clone();
                outbox_json(&outbox, flushed).to_string()
            }
            Subject::Link => {
                let link = *sources.link.borrow();
                link_json(link, now, self.certificates.days_left()).to_string()
            }
            Subject::Models => {
                let core = sources.governor.borrow().core;
                let models = sources.models.borrow().clone();
                models_json(&models, core).to_string()
            }
            Subject::Budget => budget_json(sources, self.memory_max, now).to_string(),
        }
    }

    /// What `R/status/health` says now, not yet stamped.
    pub(in crate::runtime::status) fn health(&self) -> String {
        let is_connected = self.publisher.borrow().is_some();
        let seen = Seen { certificate: self.certificates.complaint(), is_connected };
        let now = self.clock.uptime();
        let verdict = verdict(&self.sources, &seen, now);
        self.sources.panel.paused(self.sources.pauses.borrow().streams().next().is_some());
        self.sources.panel.health(verdict.0);
        health_json(&self.sources, verdict, now)
    }

    /// Publishes a retained status when it differs from what was told, compared without its time stamp. What finds no
    /// room on the connection is told in the next round.
    pub(in crate::runtime::status) fn say_changed(&self, told: &mut Told, subject: Subject, text: String) {
        if told.get(&subject).is_some_and(|before| *before == text) {
            return;
        }
        let name = subject.name();
        let payload = if subject == Subject::Available { text.clone() } else { self.stamped(name, &text) };
        if self.say(name, payload.into_bytes(), true) {
            told.insert(subject, text);
        }
    }

    fn look_at_certificates(&mut self) {
        self.known_time.keep(&self.clock);
        let metrics = &self.sources.metrics;
        let connects = metrics.get(Metric::PlantConnects) + metrics.get(Metric::UpstreamConnects);
        self.certificates.watch(self.clock.uptime(), connects);
        metrics.set(Metric::CertDaysLeft, self.certificates.days_left().unwrap_or(DAYS_LEFT_WITHOUT));
    }

    /// What all models have counted.
    fn sum_up_models(&self) {
        let (mut quarantined, mut reports) = (0, ReportCounts::default());
        let models = self.sources.models.borrow().clone();
        for model in models {
            quarantined += u64::from(matches!(model.state, ModelState::Quarantined(_)));
            reports.add(model.reports);
        }
        for (metric, count) in [
            (Metric::QuarantinedModels, quarantined),
            (Metric::Entities, reports.entities),
            (Metric::CutWords, reports.cut_words),
            (Metric::CutEntities, reports.cut_entities),
            (Metric::UnmarkedReports, reports.unmarked),
        ] {
            self.sources.metrics.set(metric, count);
        }
    }

    pub(in crate::runtime::status) fn stamped(&self, name: &str, text: &str) -> String {
        stamped(&self.clock, &self.instance, name, text)
    }

    /// Whether the connection took it.
    fn say(&self, name: &str, payload: Vec<u8>, retain: bool) -> bool {
        let publisher = self.publisher.borrow().clone();
        publisher.is_some_and(|publisher| {
            publisher.publish(&self.topics.below(name), payload, Delivery::AtMostOnce, retain).is_ok()
        })
    }
}
