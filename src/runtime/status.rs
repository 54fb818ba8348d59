//! What the gateway says about itself on the plant's broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock, Uptime};
use crate::flow::{Budget, Priority, StreamId};
use crate::forward::Status;
use crate::governor::GovernorStatus;
use crate::infer::{ModelState, ModelStatus, ReportCounts};
use crate::io::mqtt::{Delivery, Publisher};
use crate::outbox::{DiskState, Lane};
use crate::runtime::certificates::Certificates;
use crate::runtime::known_time::KnownTime;
use crate::runtime::link_report::link_json;
use crate::runtime::outbox::{OutboxReport, remedy};
use crate::runtime::plant::stopped;
use crate::runtime::retry::IDLE_TURN;
use crate::tally::{DropReason, Stage};
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Bytes;

/// `R/metrics` and the figures in `R/status` are published this often: the contract's ten seconds.
pub(in crate::runtime) const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Days left that are told where no certificate is used: a century, longer than any.
const DAYS_LEFT_WITHOUT: u64 = 36_500;

const AVAILABLE: &str = "status/available";
const HEALTH: &str = "status/health";

/// What was told last on this connection, by name.
type Told = BTreeMap<&'static str, String>;

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
        self.below(AVAILABLE)
    }

    /// `R/status/health`.
    pub(in crate::runtime) fn health(&self) -> String {
        self.below(HEALTH)
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
            let health = self.health_json();
            self.health.send_replace(Arc::from(self.stamped(HEALTH, &health)));
            let now = self.clock.uptime();
            let full = last_metrics.is_none_or(|at| now.since(at) >= self.every);
            if full {
                self.sum_up_models();
                last_metrics = Some(now);
                let metrics = self.metrics_json().to_string();
                // One that finds no room is not missed: the next says more.
                self.say("metrics", metrics.into_bytes(), false);
            }
            for (name, text) in [
                (AVAILABLE, "online".to_owned()),
                (HEALTH, health),
                ("status/outbox", self.outbox_json().to_string()),
                ("status/link", self.link_json().to_string()),
                ("status/models", self.models_json().to_string()),
                ("status/budget", self.budget_json().to_string()),
            ] {
                self.say_changed(&mut told, name, &text, full);
            }
        }
    }

    /// Publishes a retained status when it differs from what was told, compared without its time stamp. What finds no
    /// room on the connection is told in the next round.
    fn say_changed(&self, told: &mut Told, name: &'static str, text: &str, full: bool) {
        // Figures move all the time; words that matter are in health, which is told at once.
        let is_due = match told.get(name) {
            None => true,
            Some(before) => before != text && (full || name == HEALTH),
        };
        if !is_due {
            return;
        }
        let payload = if name == AVAILABLE { text.to_owned() } else { self.stamped(name, text) };
        if self.say(name, payload.into_bytes(), true) {
            told.insert(name, text.to_owned());
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
        for model in self.sources.models.borrow().iter() {
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

    fn stamped(&self, name: &str, text: &str) -> String {
        stamped(&self.clock, &self.instance, name, text)
    }

    /// Whether the connection took it.
    fn say(&self, name: &str, payload: Vec<u8>, retain: bool) -> bool {
        self.publisher.borrow().as_ref().is_some_and(|publisher| {
            publisher.publish(&self.topics.below(name), payload, Delivery::AtMostOnce, retain).is_ok()
        })
    }

    fn health_json(&self) -> String {
        let now = self.clock.uptime();
        let stalled = self.sources.progress.stalled(now);
        let models = self.sources.models.borrow();
        let bad =
            models.iter().find(|model| model.state != ModelState::Ready).map(|model| Arc::clone(&model.id));
        let refused = self.sources.metrics.get(Metric::PlantRefused);
        let (disk, held) = {
            let outbox = self.sources.outbox.borrow();
            (outbox.disk, outbox.held)
        };
        let (status, reason) = match (stalled, bad) {
            (Some(task), _) => ("down", format!("{} makes no progress", task.as_str())),
            (None, Some(model)) => ("degraded", format!("model {model} is not in use")),
            (None, None) if disk != DiskState::Ok => {
                let (disk, remedy) = (disk.as_str(), remedy(disk));
                (
                    "degraded",
                    format!("the disk of the outbox is {disk}, {held} records wait in memory: {remedy}"),
                )
            }
            (None, None) if refused > 0 => {
                ("degraded", format!("the plant broker refuses {refused} subscriptions: see the log"))
            }
            (None, None) => match self.certificates.complaint() {
                Some(complaint) => ("degraded", complaint.to_owned()),
                None if self.publisher.borrow().is_none() => {
                    ("degraded", "the plant broker is away".to_owned())
                }
                None => ("up", "ok".to_owned()),
            },
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
        let hours = match report.disk {
            DiskState::Ok => {
                (report.fill_rate > 0.0).then(|| (free / report.fill_rate / 360.0).round() / 10.0)
            }
            // Whatever room the quota leaves, it cannot be used.
            DiskState::Full | DiskState::ReadOnly | DiskState::Failing => Some(0.0),
        };
        json!({
            "lanes": lanes, "bytes": report.used.0, "limit": report.size_max.0,
            "fill_bytes_per_second": report.fill_rate.round(), "hours_of_autonomy": hours,
            "disk": report.disk.as_str(), "memory": {"records": report.held, "bytes": report.held_bytes.0},
            "write_amplification": report.amplification.map(|times| (times * 100.0).round() / 100.0),
            "written_bytes_per_day": report.written_a_day.0,
        })
    }

    fn link_json(&self) -> Value {
        let days = self.certificates.days_left();
        link_json(*self.sources.link.borrow(), self.clock.uptime(), days)
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
                "judged": model.judged, "failed": model.failed, "entities": model.reports.entities,
                "cut_words": model.reports.cut_words,
                "cut_entities": model.reports.cut_entities, "unmarked": model.reports.unmarked,
                "latency_us": {"p50": micros(model.p50), "p99": micros(model.p99)},
            })
        };
        json!({"models": models.iter().map(row).collect::<Vec<_>>()})
    }

    fn budget_json(&self) -> Value {
        let budget = *self.sources.budget.borrow();
        let governor = self.sources.governor.borrow();
        let refused = |priority: &Priority| !budget.admit.allows(*priority);
        let shedding: Vec<&str> = Priority::ALL.iter().filter(|p| refused(p)).map(|p| p.as_str()).collect();
        let shed = self.sources.metrics.stage(Stage::Infer).tally.dropped(DropReason::Budget);
        json!({
            "level": budget.level.as_str(), "reason": budget.reason.as_str(), "stretch": budget.stretch,
            "temperature": governor.temperature.map(|celsius| celsius.0),
            "headroom": governor.headroom, "trip": governor.target.map(|target| target.0),
            "memory": self.sources.metrics.get(Metric::MemoryBytes), "memory_limit": self.memory_max.0,
            "shedding": shedding, "shed": shed,
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
            "v": 1, "ts": utc_text(&self.clock), "instance": self.instance,
            "uptime_s": self.clock.uptime().since(Uptime::ZERO).as_secs(),
            "stages": stages, "metrics": values,
        })
    }
}

/// What `R/status/health` says after the orderly end.
pub(in crate::runtime) fn last_health(clock: &SystemClock, instance: &str) -> String {
    let health = json!({"status": "down", "reason": "stopped", "pid": std::process::id(), "stages": {}});
    stamped(clock, instance, HEALTH, &health.to_string())
}

/// Puts version, time and instance into a JSON object; into health also the Unix time that watchers of other services
/// expect.
fn stamped(clock: &SystemClock, instance: &str, name: &str, text: &str) -> String {
    let ts = utc_text(clock);
    let time = match name {
        HEALTH => format!("\"time\":{},", clock.utc().micros.div_euclid(1_000_000)),
        _ => String::new(),
    };
    text.replacen('{', &format!("{{\"v\":1,\"ts\":\"{ts}\",\"instance\":\"{instance}\",{time}"), 1)
}

fn utc_text(clock: &SystemClock) -> String {
    jiff::Timestamp::from_microsecond(clock.utc().micros)
        .map_or_else(|_| "unknown".to_owned(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::flow::{Admit, BudgetReason, FailureReason, Level};
    use crate::governor::{Governor, GovernorConfig};
    use crate::io::mqtt::TlsMemory;
    use crate::outbox::{LaneStat, Seq};
    use crate::tally::Tally;

    fn model(state: ModelState) -> ModelStatus {
        let (p50, p99) = (Some(Duration::from_micros(40)), None);
        ModelStatus {
            id: "m@1.0.0".into(),
            sha256: None,
            memory_bytes: 7,
            state,
            judged: 3,
            failed: 1,
            reports: ReportCounts { entities: 5, cut_words: 2, cut_entities: 3, unmarked: 1 },
            p50,
            p99,
        }
    }

    /// A report of a gateway without a plant broker.
    fn report(models: Vec<ModelStatus>, budget: Budget, outbox: OutboxReport) -> StatusReport {
        let clock = SystemClock::start();
        let governor = Governor::new(GovernorConfig::default());
        let sources = Sources {
            outbox: watch::channel(outbox).1,
            link: watch::channel(None).1,
            models: watch::channel(models).1,
            budget: watch::channel(budget).1,
            governor: watch::channel(*governor.status()).1,
            metrics: Arc::new(Metrics::new()),
            progress: Arc::new(Progress::new(clock.uptime())),
        };
        StatusReport {
            sources,
            publisher: watch::channel(None).1,
            health: watch::channel(Arc::from("")).0,
            stopping: watch::channel(false).1,
            topics: Topics::new("site", "gw", &["pump"].into_iter()),
            instance: "0badcafe".to_owned(),
            memory_max: Bytes(96 << 20),
            every: REPORT_EVERY,
            certificates: Certificates::new(Vec::new(), TlsMemory::default()),
            known_time: KnownTime::in_folder(Path::new("/nonexistent")),
            clock,
        }
    }

    fn quiet() -> StatusReport {
        report(vec![model(ModelState::Ready)], Budget::NOMINAL, OutboxReport::default())
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_message_carries_version_time_and_instance() {
        let report = quiet();
        let (health, last) = (report.health_json(), last_health(&report.clock, &report.instance));
        for text in [
            report.stamped(HEALTH, &health),
            report.stamped("status/outbox", &report.outbox_json().to_string()),
            report.stamped("status/link", &report.link_json().to_string()),
            report.stamped("status/models", &report.models_json().to_string()),
            report.stamped("status/budget", &report.budget_json().to_string()),
            report.metrics_json().to_string(),
            last.clone(),
        ] {
            let json = parsed(&text);
            assert_eq!((&json["v"], &json["instance"]), (&json!(1), &json!("0badcafe")), "{text}");
            assert!(json["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{text}");
        }
        let last = parsed(&last);
        assert!(last["time"].is_i64() && last["status"] == "down" && last["stages"].is_object(), "{last}");
    }

    #[test]
    fn health_names_what_is_wrong_and_says_of_every_task_that_it_moves() {
        for (state, reason) in [
            (ModelState::Ready, "the plant broker is away"),
            (ModelState::Quarantined(FailureReason::NonFinite), "model m@1.0.0 is not in use"),
            (ModelState::Refused("digest".to_owned()), "model m@1.0.0 is not in use"),
        ] {
            let report = report(vec![model(state)], Budget::NOMINAL, OutboxReport::default());
            let health = parsed(&report.health_json());
            assert_eq!((&health["status"], &health["reason"]), (&json!("degraded"), &json!(reason)));
            assert_eq!(health["stages"].as_object().unwrap().len(), Task::ALL.len());
        }
    }

    #[test]
    fn a_subscription_that_is_refused_is_no_health() {
        let report = quiet();
        report.sources.metrics.add(Metric::PlantRefused, 2);
        let health = parsed(&report.health_json());
        assert_eq!(health["status"], "degraded");
        assert!(health["reason"].as_str().unwrap().contains("refuses 2 subscriptions"), "{health}");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_no_health_and_the_remedy_is_named() {
        for (disk, remedy) in [
            (DiskState::Full, "free space below gateway.state_dir"),
            (DiskState::ReadOnly, "remount it read-write"),
            (DiskState::Failing, "replace the medium"),
        ] {
            let stored = OutboxReport { disk, held: 7, held_bytes: Bytes(900), ..OutboxReport::default() };
            let report = report(vec![model(ModelState::Ready)], Budget::NOMINAL, stored);
            let (health, outbox) = (parsed(&report.health_json()), report.outbox_json());
            let reason = health["reason"].as_str().unwrap();
            assert_eq!(health["status"], "degraded");
            assert!(reason.contains(remedy) && reason.contains("7 records wait in memory"), "{reason}");
            assert_eq!((&outbox["disk"], &outbox["memory"]["records"]), (&json!(disk.as_str()), &json!(7)));
            assert_eq!(outbox["hours_of_autonomy"], json!(0.0));
        }
    }

    #[test]
    fn what_no_connection_took_is_told_again() {
        let (report, mut told) = (quiet(), Told::new());
        report.say_changed(&mut told, HEALTH, "{}", true);
        assert!(told.is_empty(), "nobody heard it");
    }

    #[test]
    fn the_outbox_tells_its_lanes_and_how_long_the_space_lasts() {
        let lane = |records| LaneStat {
            records,
            bytes: Bytes(records * 100),
            oldest: (records > 0).then_some(crate::clock::EventTime(1_800_000_000_999_999)),
            newest: None,
            acked: Seq(0),
            durable: Seq(records),
            appended: Seq(records),
        };
        let lanes = vec![lane(0), lane(5), lane(0)];
        let stored = OutboxReport {
            lanes,
            used: Bytes(500),
            size_max: Bytes(36_500),
            fill_rate: 2.0,
            amplification: Some(1.534),
            written_a_day: Bytes(5_000_000),
            ..OutboxReport::default()
        };
        let json = report(Vec::new(), Budget::NOMINAL, stored).outbox_json();
        assert_eq!((&json["disk"], &json["write_amplification"]), (&json!("ok"), &json!(1.53)));
        assert_eq!(json["written_bytes_per_day"], json!(5_000_000));
        assert_eq!(json["lanes"]["normal"], json!({"records": 5, "bytes": 500, "oldest": 1_800_000_000}));
        assert_eq!(json["lanes"]["alarm"]["oldest"], Value::Null);
        assert_eq!(json["hours_of_autonomy"], json!(5.0));
        assert_eq!(quiet().outbox_json()["hours_of_autonomy"], Value::Null);
    }

    #[test]
    fn the_budget_names_the_lanes_that_are_shed() {
        let (level, reason) = (Level::Hot, BudgetReason::Temperature);
        for (admit, shedding) in [
            (Admit::All, json!([])),
            (Admit::Normal, json!(["bulk"])),
            (Admit::Nothing, json!(["alarm", "normal", "bulk"])),
        ] {
            let budget = Budget { level, stretch: 2, admit, reason, ..Budget::NOMINAL };
            let json = report(Vec::new(), budget, OutboxReport::default()).budget_json();
            assert_eq!((&json["shedding"], &json["level"]), (&shedding, &json!("hot")));
        }
    }

    #[test]
    fn metrics_show_each_stage_as_it_counted() {
        let report = quiet();
        let mut tally = Tally::new();
        (tally.received, tally.passed) = (9, 5);
        tally.drop(DropReason::Stale, 3);
        report.sources.metrics.record(Stage::Infer, tally, 1);
        let json = report.metrics_json();
        assert_eq!(json["stages"].as_object().unwrap().len(), Stage::ALL.len());
        let expected = json!({"in": 9, "out": 5, "dropped": {"stale": 3}, "held": 1});
        assert_eq!(json["stages"]["infer"], expected);
        assert_eq!(json["metrics"].as_object().unwrap().len(), Metric::ALL.len());
    }
}
