//! The two threads against a board of files: what is told, to whom, how soon, and what a fault does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::board::{Driver, HardwarePlan, Line, Lines, SensorPlan, SensorRole};
use crate::clock::{Clock, EventTime, SystemClock, Uptime};
use crate::config::{Device, DeviceSource};
use crate::device::seam::{HardwareCommand, HardwareReport, Row, Samples};
use crate::flow::{HardwareReading, Quality, Sensed, StreamId};
use crate::io::devices::write_registers;
use crate::runtime::common::Common;
use crate::runtime::hardware::outlets::{Counts, Faults, Outlets};
use crate::runtime::hardware::{
    HardwareSide, HardwareView, HardwareVoice, MeasuredStream, Measurements, SAMPLES_MAX, start_hardware,
};
use crate::runtime::options::Pace;
use crate::runtime::status::Topics;
use crate::tally::DropReason;
use crate::telemetry::{Metric, Metrics, Progress};
use crate::units::Celsius;
use crate::wire::Origin;

/// Longest wait for anything; what waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn common() -> Common {
    let clock = SystemClock::start();
    Common {
        known: None,
        instance: "0badcafe".to_owned(),
        metrics: Arc::new(Metrics::new()),
        pace: Pace::default(),
        progress: Arc::new(Progress::new(clock.uptime())),
        topics: Topics::new("site", "gw", &std::iter::empty()),
        origin: Origin { site: Arc::from("site"), gateway: Arc::from("gw") },
        clock,
    }
}

fn sensor(name: &str, address: u8, role: SensorRole) -> SensorPlan {
    SensorPlan {
        name: name.to_owned(),
        driver: Driver::Tmp102,
        bus: 1,
        address,
        role,
        shunt: 0.1,
        rate: 10.0,
        optional: false,
    }
}

pub(in crate::runtime::hardware) fn line(offset: u32) -> Line {
    Line { chip: "gpiochip0".to_owned(), offset, active_low: false }
}

fn stream(id: u16, device: Device) -> MeasuredStream {
    let source = DeviceSource { device, values: vec!["it".to_owned()], places: vec![0], rate: 10.0 };
    MeasuredStream { id: StreamId(id), source }
}

fn door() -> Device {
    Device::Door
}

fn named(name: &str) -> Device {
    Device::Sensor(Arc::from(name))
}

/// A board of files with its threads.
struct Board {
    root: tempfile::TempDir,
    common: Common,
    view: HardwareView,
    side: HardwareSide,
    edges: mpsc::Receiver<Uptime>,
    stopping: watch::Sender<bool>,
}

impl Board {
    fn start(plan: HardwarePlan, streams: Vec<MeasuredStream>) -> Self {
        Self::start_at(tempfile::tempdir().unwrap(), plan, streams)
    }

    fn start_at(root: tempfile::TempDir, plan: HardwarePlan, streams: Vec<MeasuredStream>) -> Self {
        write_celsius(root.path(), 0x48, 25);
        let common = common();
        let (voice, view) = HardwareVoice::channel();
        let (stopping, stopping_seen) = watch::channel(false);
        let (edge, edges) = mpsc::channel(64);
        let told = Arc::new(move |at| edge.try_send(at).unwrap());
        let side =
            start_hardware((plan, streams), root.path(), (voice, told), stopping_seen, &common).unwrap();
        Self { root, common, view, side, edges, stopping }
    }

    fn reading(&self) -> HardwareReading {
        self.view.current(self.common.clock.uptime())
    }

    fn set_line(&self, offset: u32, level: &str) {
        let folder = self.root.path().join("gpio/gpiochip0");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(offset.to_string()), level).unwrap();
    }

    fn level(&self, offset: u32) -> bool {
        let file = self.root.path().join("gpio/gpiochip0").join(offset.to_string());
        std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
    }

    fn complaint(&self) -> Option<String> {
        self.side.health.complaint(self.common.clock.uptime())
    }
}

fn write_celsius(root: &Path, address: u8, celsius: u8) {
    write_registers(root, 1, address, &[(0, &[celsius, 0])]).unwrap();
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

#[tokio::test]
async fn a_sensor_feeds_its_streams_and_the_governor_and_one_that_fails_does_not_stop_the_other() {
    let sensors =
        vec![sensor("cabinet", 0x48, SensorRole::Cabinet), sensor("intake", 0x49, SensorRole::Stream)];
    let plan = HardwarePlan { sensors, ..HardwarePlan::default() };
    let mut board = Board::start(plan, vec![stream(3, named("cabinet")), stream(5, named("cabinet"))]);
    let samples = tokio::time::timeout(PATIENCE, board.side.measurements.recv()).await.unwrap().unwrap();
    let mut fed = Vec::new();
    let received = board.common.clock.uptime();
    board.side.measurements.feed(
        &samples,
        received,
        |taken| EventTime(i64::try_from(taken.0 / 1_000).unwrap()),
        |batch| fed.push((batch.stream, batch.samples[0].value, batch.samples[0].quality)),
    );
    assert_eq!(fed, [(StreamId(3), 25.0, Quality::Good), (StreamId(5), 25.0, Quality::Good)]);
    until("the governor hears it", || board.reading().cabinet == Sensed::Known(Celsius(25.0))).await;

    // The other is not there: told once, by name, with a remedy, and it harms nobody.
    until("the absent one is a fault", || board.complaint().is_some()).await;
    let complaint = board.complaint().unwrap();
    assert!(complaint.starts_with("sensor intake (tmp102 at 0x49 of bus 1): no answer"), "{complaint}");
    assert_eq!(board.common.metrics.get(Metric::HardwareFaults), 1);
    write_celsius(board.root.path(), 0x48, 31);
    until("the good one goes on", || board.reading().cabinet == Sensed::Known(Celsius(31.0))).await;

    // A sensor that goes is lost, never cool; when it comes back it counts again.
    std::fs::write(board.root.path().join("dev/i2c-1/48"), "error: timed-out\n").unwrap();
    until("it is lost", || board.reading().cabinet == Sensed::Lost).await;
    assert!(board.complaint().unwrap().contains("the bus timed out"), "{:?}", board.complaint());
    write_celsius(board.root.path(), 0x48, 33);
    until("it is back", || board.reading().cabinet == Sensed::Known(Celsius(33.0))).await;
    write_celsius(board.root.path(), 0x49, 20);
    until("nothing is at fault", || board.complaint().is_none()).await;
    board.stopping.send_replace(true);
    // Every row is somewhere.
    while board.side.measurements.try_recv().is_some() {}
    let (tally, held) = board.side.measurements.count();
    assert!(tally.balances(held) && tally.received > 2, "{tally:?} {held}");
}

#[tokio::test]
async fn the_end_of_the_supply_is_told_at_once_even_while_a_bus_hangs() {
    let lines = Lines { power_fail: Some(line(22)), ..Lines::default() };
    let sensors = vec![sensor(
        "hangs",
        0x4a,
        SensorRole::Battery {
            empty: crate::units::Volts(10.0),
            full: crate::units::Volts(12.0),
            low: crate::units::Ratio::of(1, 5),
        },
    )];
    let mut board = Board::start(HardwarePlan { sensors, lines, watchdog: None }, Vec::new());
    std::fs::create_dir_all(board.root.path().join("dev/i2c-1")).unwrap();
    std::fs::write(board.root.path().join("dev/i2c-1/4a"), "error: timed-out\n").unwrap();
    assert!(!board.reading().power.failing);
    let before = board.common.clock.uptime();
    board.set_line(22, "1");
    let at = tokio::time::timeout(PATIENCE, board.edges.recv()).await.unwrap().unwrap();
    println!("from the edge to the outbox: {:?}", at.since(before));
    assert!(board.reading().power.failing);
    board.set_line(22, "0");
    until("the supply is back", || !board.reading().power.failing).await;
    assert!(board.edges.try_recv().is_err(), "one edge, told once");
}

#[tokio::test]
async fn a_power_fail_contact_that_bounces_is_told_once_a_second_and_as_it_stands_at_the_end() {
    let lines = Lines { power_fail: Some(line(22)), ..Lines::default() };
    let mut board = Board::start(HardwarePlan { lines, ..HardwarePlan::default() }, Vec::new());
    let before = board.common.clock.uptime();
    for _ in 0..60 {
        for level in ["1", "0"] {
            board.set_line(22, level);
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }
    let passed = board.common.clock.uptime().since(before).as_secs();
    until("the supply is back", || !board.reading().power.failing).await;
    let told = std::iter::from_fn(|| board.edges.try_recv().ok()).count();
    assert!((1..=usize::try_from(passed).unwrap() + 2).contains(&told), "told {told} times in {passed} s");
    board.set_line(22, "1");
    tokio::time::timeout(PATIENCE, board.edges.recv()).await.unwrap().unwrap();
    assert!(board.reading().power.failing);
}

#[tokio::test]
async fn a_watchdog_that_never_answers_does_not_hold_up_the_end_of_the_supply() {
    let lines = Lines { power_fail: Some(line(22)), ..Lines::default() };
    let plan = HardwarePlan { lines, watchdog: Some("/dev/watchdog0".to_owned()), ..HardwarePlan::default() };
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("sys/class/watchdog/watchdog0");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(root.path().join("dev")).unwrap();
    std::fs::write(folder.join("timeout"), "15\n").unwrap();
    // A pipe that nobody reads: to open it would wait for ever.
    let pipe = root.path().join("dev/watchdog0");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut board = Board::start_at(root, plan, Vec::new());
    board.side.commands.send(HardwareCommand::FeedWatchdog);
    until("the watchdog is missed", || board.complaint().is_some_and(|why| why.contains("watchdog0"))).await;
    board.set_line(22, "1");
    tokio::time::timeout(PATIENCE, board.edges.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_relay_is_held_while_all_is_well_and_falls_for_an_alarm_and_at_the_end() {
    let lines = Lines { alarm_relay: Some(line(27)), status_led: Some(line(17)), ..Lines::default() };
    let board = Board::start(HardwarePlan { lines, ..HardwarePlan::default() }, Vec::new());
    until("the lines are taken", || board.root.path().join("gpio/gpiochip0/27").is_file()).await;
    assert!(!board.level(27), "nobody has said that all is well");
    board.side.commands.health("up");
    until("the relay is held", || board.level(27)).await;
    until("the light blinks", || board.level(17)).await;
    board.side.commands.alarms(1);
    until("the relay falls", || !board.level(27)).await;
    board.side.commands.alarms(0);
    until("the relay is held again", || board.level(27)).await;
    let root = board.root.path().to_owned();
    board.side.end.end(true).await;
    let level = |offset| std::fs::read_to_string(root.join(format!("gpio/gpiochip0/{offset}"))).unwrap();
    assert_eq!((level(27), level(17)), ("0\n".to_owned(), "0\n".to_owned()));
}

#[tokio::test]
async fn a_door_is_a_stream_of_its_state_and_of_each_change() {
    let lines = Lines { door: Some(line(5)), ..Lines::default() };
    let mut board = Board::start(HardwarePlan { lines, ..HardwarePlan::default() }, vec![stream(0, door())]);
    let mut open = Vec::new();
    while open.last() != Some(&1.0) {
        let samples = tokio::time::timeout(PATIENCE, board.side.measurements.recv()).await.unwrap().unwrap();
        open.extend(samples.rows.iter().map(|row| row.values[0]));
        board.set_line(5, "1");
    }
    assert_eq!(open.first(), Some(&0.0));
}

/// Outlets without threads, and what they feed.
pub(in crate::runtime::hardware) fn outlets() -> (Outlets, Measurements) {
    let (samples, samples_seen) = mpsc::channel(SAMPLES_MAX);
    let counts = Arc::new(Counts::default());
    let plan =
        HardwarePlan { sensors: vec![sensor("it", 0x48, SensorRole::Stream)], ..HardwarePlan::default() };
    let measurements =
        Measurements::new(vec![stream(0, named("it"))], &plan, samples_seen, Arc::clone(&counts));
    let outlets = Outlets {
        measured: measurements.measured(),
        samples,
        voice: HardwareVoice::channel().0,
        faults: Arc::new(watch::channel(Faults::new()).0),
        on_power_fail: Arc::new(|_| ()),
        counts,
        clock: SystemClock::start(),
        metrics: Arc::new(Metrics::new()),
    };
    (outlets, measurements)
}

#[test]
fn a_brain_that_is_behind_loses_the_newest_samples_and_each_is_counted() {
    let (outlets, mut measurements) = outlets();
    let report = |sensor, rows: usize, overrun| {
        let rows = (0..rows).map(|row| Row { at: row as u64, values: [1.0; 3] }).collect();
        HardwareReport::Samples(Samples { sensor, rows, overrun })
    };
    for _ in 0..SAMPLES_MAX + 10 {
        outlets.take(report(0, 32, 1));
    }
    outlets.take(report(7, 32, 0));
    let (tally, held) = measurements.count();
    let sent = SAMPLES_MAX as u64 + 10;
    assert_eq!((tally.received, held), (33 * sent, 32 * SAMPLES_MAX as u64));
    assert_eq!((tally.dropped(DropReason::QueueFull), tally.dropped(DropReason::Overrun)), (320, sent));
    let mut fed = 0;
    while let Some(samples) = measurements.try_recv() {
        measurements.feed(&samples, Uptime::ZERO, |_| EventTime(0), |batch| fed += batch.samples.len());
    }
    let (tally, held) = measurements.count();
    assert_eq!((tally.passed, held, fed), (32 * SAMPLES_MAX as u64, 0, 32 * SAMPLES_MAX));
    assert!(tally.balances(held));
}

#[test]
fn a_value_that_is_no_number_is_a_sample_of_bad_quality() {
    let (outlets, mut measurements) = outlets();
    let rows = [Row { at: 0, values: [f32::NAN; 3] }].into_iter().collect();
    outlets.take(HardwareReport::Samples(Samples { sensor: 0, rows, overrun: 0 }));
    let samples = measurements.try_recv().unwrap();
    let mut seen = None;
    measurements.feed(
        &samples,
        Uptime::ZERO,
        |_| EventTime(0),
        |batch| seen = Some(batch.samples[0].quality),
    );
    assert!(matches!(seen, Some(Quality::Bad(_))), "{seen:?}");
}
