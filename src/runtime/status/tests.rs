//! What is told in which state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::{Clock, SystemClock};
use crate::flow::{Admit, Budget, BudgetReason, FailureReason, Level};
use crate::governor::{Governor, GovernorConfig};
use crate::infer::{ModelState, ModelStatus, ReportCounts};
use crate::io::mqtt::TlsMemory;
use crate::outbox::{DiskState, LaneStat, Seq};
use crate::runtime::certificates::Certificates;
use crate::runtime::hardware::{HardwareCommands, HardwareHealth};
use crate::runtime::known_time::KnownTime;
use crate::runtime::operations::Pauses;
use crate::runtime::outbox::OutboxReport;
use crate::runtime::state_files::StateFiles;
use crate::runtime::status::budget::budget_json;
use crate::runtime::status::metrics::metrics_json;
use crate::runtime::status::outbox::outbox_json;
use crate::runtime::status::report::{Told, due};
use crate::runtime::status::topics::Subject;
use crate::runtime::status::{REPORT_EVERY, Sources, StatusReport, Topics, last_health};
use crate::tally::{DropReason, Stage, Tally};
use crate::telemetry::{Metric, Metrics, Progress, Task};
use crate::units::Bytes;

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
        ..ModelStatus::default()
    }
}

/// A report of a gateway without a plant broker.
fn report(models: Vec<ModelStatus>, budget: Budget, outbox: OutboxReport) -> StatusReport {
    let clock = SystemClock::start();
    let governor = Governor::new(GovernorConfig::default());
    let folder = Path::new("/nonexistent");
    let sources = Sources {
        outbox: watch::channel(outbox).1,
        link: watch::channel(None).1,
        models: watch::channel(models).1,
        budget: watch::channel(budget).1,
        governor: watch::channel(*governor.status()).1,
        hardware: HardwareHealth::silent(),
        panel: HardwareCommands::new(None),
        flushed: watch::channel(None).1,
        is_safe_mode: false,
        pauses: watch::channel(Pauses::default()).1,
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
        known_time: KnownTime::in_folder(
            folder,
            StateFiles::start(folder, &Arc::new(Metrics::new())).unwrap(),
        ),
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
    let last = last_health(&report.clock, &report.instance);
    let told = Subject::ALL.into_iter().filter(|subject| *subject != Subject::Available);
    let told = told.map(|subject| report.stamped(subject.name(), &report.text(subject, &report.health())));
    let metrics = metrics_json(&report.sources.metrics, &report.clock, &report.instance).to_string();
    for text in told.chain([metrics, last.clone()]) {
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
        (
            ModelState::Quarantined(FailureReason::NonFinite),
            "model m@1.0.0 is not in use: status/models says why",
        ),
        (ModelState::Refused("digest".to_owned()), "model m@1.0.0 is not in use: status/models says why"),
    ] {
        let report = report(vec![model(state)], Budget::NOMINAL, OutboxReport::default());
        let health = parsed(&report.health());
        assert_eq!((&health["status"], &health["reason"]), (&json!("degraded"), &json!(reason)));
        assert_eq!(health["stages"].as_object().unwrap().len(), Task::ALL.len());
    }
}

#[test]
fn a_level_that_stands_for_a_fault_of_the_board_is_no_health_and_names_the_remedy() {
    let reasons = [
        (
            BudgetReason::SensorFault,
            "a temperature is lost, frozen or absurd, level hot: compare gateway.board",
        ),
        (BudgetReason::UnderVoltage, "the supply is too weak, level hot: take a stronger one"),
        (BudgetReason::Temperature, "the plant broker is away"),
    ];
    for (reason, told) in reasons {
        let mut report = quiet();
        let mut governor = *report.sources.governor.borrow();
        governor.budget = Budget { level: Level::Hot, reason, ..Budget::NOMINAL };
        report.sources.governor = watch::channel(governor).1;
        let health = parsed(&report.health());
        assert!(health["reason"].as_str().unwrap().starts_with(told), "{health}");
    }
}

#[test]
fn safe_mode_is_told_before_the_models_it_leaves_out_and_names_the_remedy() {
    let mut report = quiet();
    report.sources.models = watch::channel(vec![model(ModelState::Refused("left out".to_owned()))]).1;
    report.sources.is_safe_mode = true;
    let health = parsed(&report.health());
    let reason = health["reason"].as_str().unwrap();
    assert_eq!(health["status"], "degraded");
    assert!(
        reason.starts_with("safe mode: 5 runs")
            && reason.ends_with("then restart it, it stays so until then"),
        "{reason}"
    );
    assert_eq!(budget_json(&report.sources, report.memory_max, report.clock.uptime())["safe_mode"], true);
}

#[test]
fn a_subscription_that_is_refused_is_no_health() {
    let report = quiet();
    report.sources.metrics.add(Metric::PlantRefused, 2);
    let health = parsed(&report.health());
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
        let (health, outbox) = (parsed(&report.health()), outbox_json(&report.sources.outbox.borrow(), None));
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
    report.say_changed(&mut told, Subject::Health, "{}".to_owned());
    assert!(told.is_empty(), "nobody heard it");
}

#[test]
fn between_full_rounds_only_health_and_what_nobody_heard_is_made() {
    let mut told: Told = Subject::ALL.map(|subject| (subject, String::new())).into();
    assert_eq!(due(&told, true), Subject::ALL);
    assert_eq!(due(&told, false), [Subject::Health]);
    told.remove(&Subject::Models);
    assert_eq!(due(&told, false), [Subject::Health, Subject::Models]);
    assert_eq!(due(&Told::new(), false), Subject::ALL, "a new connection");
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
    let json = outbox_json(&stored, None);
    assert_eq!((&json["disk"], &json["write_amplification"]), (&json!("ok"), &json!(1.53)));
    assert_eq!(json["written_bytes_per_day"], json!(5_000_000));
    assert_eq!(json["lanes"]["normal"], json!({"records": 5, "bytes": 500, "oldest": 1_800_000_000}));
    assert_eq!(json["lanes"]["alarm"]["oldest"], Value::Null);
    assert_eq!(json["hours_of_autonomy"], json!(5.0));
    assert_eq!(outbox_json(&OutboxReport::default(), None)["hours_of_autonomy"], Value::Null);
}

/// The borrow of a channel in one status, held while another borrows it again, waits for a sender that waits for the first.
#[test]
fn no_status_waits_for_itself_while_a_model_reports() {
    const ROUNDS: u32 = 20_000;
    let (models, seen) = watch::channel(vec![model(ModelState::Ready)]);
    let mut report = quiet();
    report.sources.models = seen;
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for _ in 0..ROUNDS {
            let health = report.health();
            assert!(
                Subject::ALL.map(|subject| report.text(subject, &health)).iter().all(|text| !text.is_empty())
            );
        }
        done.send(()).unwrap();
    });
    // Until the receiver is gone; a teller that stands still keeps it, and the process ends with the test.
    std::thread::spawn(move || while models.send(vec![model(ModelState::Ready)]).is_ok() {});
    let ended = ended.recv_timeout(Duration::from_mins(1));
    assert!(ended.is_ok(), "the status stands still");
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
        let report = report(Vec::new(), budget, OutboxReport::default());
        let json = budget_json(&report.sources, report.memory_max, report.clock.uptime());
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
    let json = metrics_json(&report.sources.metrics, &report.clock, &report.instance);
    assert_eq!(json["stages"].as_object().unwrap().len(), Stage::ALL.len());
    let expected = json!({"in": 9, "out": 5, "dropped": {"stale": 3}, "held": 1});
    assert_eq!(json["stages"]["infer"], expected);
    assert_eq!(json["metrics"].as_object().unwrap().len(), Metric::ALL.len());
}
