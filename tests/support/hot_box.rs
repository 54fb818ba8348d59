//! A gateway in a hot cabinet, in virtual time: the governor and the brain of the service, a board that heats by the work they start.
//!
//! One thread of models, as in the service; broker, decoding and the system take what `Scene::system` says. Every second the governor
//! reads the board; every piece of work is timed by the cost of its model and the clock of the chip.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::Path;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, Uptime, UtcTime};
use tidegate::demo::twin::{Battery, Board, Outside, Twin};
use tidegate::distill::DistillConfig;
use tidegate::flow::{
    AssetId, Budget, FailureReason, FeatureVector, HardwareReading, Inference, Level, MemoryReading, ModelId,
    Outcome, PowerReading, PowerSource, Priority, Quality, Sample, SampleBatch, Sensed, SignalId, StreamId,
    VariantRule, When,
};
use tidegate::governor::{Governor, GovernorConfig, Readings};
use tidegate::infer::{BATCH_MIN, Batch, ScheduleConfig, Work, WorkInput};
use tidegate::io::sysfs::Sysfs;
use tidegate::pipeline::{Pipeline, PipelinePlan, StreamPlan};
use tidegate::runtime::board_profile;
use tidegate::units::{Bytes, Celsius, Millicores};
use tidegate::window::{Length, WindowConfig};

/// Where the firmware of the board begins to slow it: its lowest trip point.
pub(crate) const TRIP: Celsius = Celsius(80.0);

/// Windows closed at once: a row is a window.
const ROW: Length = Length::Count { samples: 1, hop: 1 };

/// A stream whose every sample is a piece of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) priority: Priority,
    pub(crate) model: u16,
    /// Time between two pieces of work on average.
    pub(crate) every: Duration,
    pub(crate) deadline: Duration,
}

/// What a model takes at the full clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// One input by itself.
    pub(crate) single: Duration,
    /// A run of `BATCH_MAX`.
    pub(crate) batch: Duration,
    /// Whether it is admitted for them.
    pub(crate) batches: bool,
    /// The cheapest form, as a share of the best.
    pub(crate) cheapest: f32,
}

/// A defect put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    /// The level follows each reading.
    NoHysteresis,
    /// A lost thermometer reads 0 °C.
    LostIsZero,
    /// Costs are taken as measured, whatever the clock was.
    CostNotNormalised,
}

/// What is played.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) board: Board,
    pub(crate) outside: Outside,
    pub(crate) battery: Option<Battery>,
    pub(crate) feeds: Vec<Feed>,
    /// By model.
    pub(crate) costs: Vec<Cost>,
    /// Waking the models' thread from idleness and the brain for its answer, at the full clock.
    pub(crate) wake: Duration,
    /// Inputs a model takes in one run at most: `BATCH_MAX`, or 1 to see what batches are worth.
    pub(crate) batch_max: usize,
    /// Work waiting at most.
    pub(crate) pieces_max: usize,
    /// Cores that are busy with everything else, at the full clock.
    pub(crate) system: f32,
    /// `None`: there is no governor, the firmware alone slows the chip.
    pub(crate) governor: Option<GovernorConfig>,
    pub(crate) planted: Planted,
    pub(crate) seed: u64,
}

/// What a minute was like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    pub(crate) ambient: f32,
    /// The hottest the chip was.
    pub(crate) chip: f32,
    /// Mean clock as a share of the highest.
    pub(crate) clock: f32,
    /// The highest level.
    pub(crate) level: Level,
    /// Judged before their deadlines.
    pub(crate) useful: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Pieces of work by lane: that came, that were judged in time, that were judged too late.
    pub(crate) offered: [u64; 3],
    pub(crate) useful: [u64; 3],
    pub(crate) late: [u64; 3],
    /// The hottest the chip was.
    pub(crate) peak: f32,
    pub(crate) changes: Vec<(Uptime, Level)>,
    /// From queue to judgement, microseconds, of each alarm piece.
    pub(crate) alarm_took: Vec<u64>,
    /// Alarm pieces not judged in time though alarms were to be judged all the while.
    pub(crate) alarms_missed: u64,
    /// Alarm pieces that met a time in which nothing is judged.
    pub(crate) alarms_excused: u64,
    pub(crate) minutes: Vec<Minute>,
    /// Processor time of the models, and joules of the board.
    pub(crate) busy: Duration,
    pub(crate) joules: f64,
    /// Time in which the firmware held the clock down.
    pub(crate) slowed: Duration,
}

/// The world.
pub(crate) struct HotBox {
    scene: Scene,
    pub(crate) twin: Twin,
    pipeline: Pipeline,
    governor: Option<Governor>,
    budget: Budget,
    now: Uptime,
    arrivals: BinaryHeap<Reverse<(Uptime, usize)>>,
    random: fastrand::Rng,
    out: VecDeque<Batch>,
    running: Option<(Uptime, Duration, Batch)>,
    idle: bool,
    /// Alarm pieces under way: when due, when queued, stream, whether a time without judging has been met.
    alarms: VecDeque<(Uptime, Uptime, u16, bool)>,
    minute: Minute,
    record: Record,
}

const TURN: Duration = Duration::from_millis(50);
const SECOND: Duration = Duration::from_secs(1);

impl HotBox {
    pub(crate) fn new(scene: Scene) -> Self {
        let mut twin = Twin::settled(scene.board.clone(), scene.outside);
        if let Some(battery) = scene.battery {
            twin = twin.with_battery(battery);
        }
        let mut random = fastrand::Rng::with_seed(scene.seed);
        let first = |(index, feed): (usize, &Feed)| {
            Reverse((Uptime::ZERO.after(feed.every.mul_f64(random.f64())), index))
        };
        let arrivals = scene.feeds.iter().enumerate().map(first).collect();
        Self {
            pipeline: Pipeline::new(plan(&scene)),
            governor: scene.governor.map(Governor::new),
            budget: Budget::NOMINAL,
            now: Uptime::ZERO,
            arrivals,
            random,
            out: VecDeque::new(),
            running: None,
            idle: true,
            alarms: VecDeque::new(),
            minute: Minute::default(),
            record: Record::default(),
            twin,
            scene,
        }
    }

    /// Goes on for a time. Every second the script may change what is outside.
    pub(crate) fn run(&mut self, time: Duration, mut script: impl FnMut(Uptime, &mut Twin)) {
        let end = self.now.after(time);
        while self.now < end {
            if self.now.0.is_multiple_of(1_000_000_000) {
                script(self.now, &mut self.twin);
                self.govern();
                self.note();
            }
            self.turn();
        }
    }

    /// What came of it so far.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Lets what counted so far not count.
    pub(crate) fn forget(&mut self) {
        self.record = Record::default();
    }

    /// What is allowed at the moment.
    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    /// In, out and dropped of the models' stage, and what it holds.
    pub(crate) fn infer_count(&self) -> (tidegate::tally::Tally, u64) {
        self.pipeline.count(tidegate::tally::Stage::Infer)
    }

    /// One turn: what arrives and what is done in it, in the order of time; then its heat.
    fn turn(&mut self) {
        let (begin, end) = (self.now, self.now.after(TURN));
        let mut worked = Duration::ZERO;
        // What was running when the turn began runs on.
        let mut since = begin;
        loop {
            self.start();
            let arrival = self.arrivals.peek().map_or(end, |Reverse((at, _))| *at);
            let done = self.running.as_ref().map_or(end, |(at, ..)| *at);
            let next = arrival.min(done).min(end).max(self.now);
            if self.running.is_some() {
                worked += next.since(since);
            }
            (self.now, since) = (next, next);
            if next >= end {
                break;
            }
            if done <= next {
                self.finish();
            } else {
                self.arrive();
            }
        }
        self.now = end;
        self.pipeline.tick(end);
        let clock = self.twin.clock().get();
        let system = (self.scene.system / clock).min(self.scene.board.cores - 1.0);
        self.twin.advance(TURN, worked.as_secs_f32() / TURN.as_secs_f32() + system);
        self.record.busy += worked;
        self.record.joules += f64::from(self.twin.draw().0) * TURN.as_secs_f64();
        self.record.peak = self.record.peak.max(self.twin.chip().0);
        self.minute.chip = self.minute.chip.max(self.twin.chip().0);
        if clock < 1.0 {
            self.record.slowed += TURN;
        }
    }

    fn arrive(&mut self) {
        let Some(Reverse((at, index))) = self.arrivals.pop() else { return };
        let feed = self.scene.feeds[index];
        // Between half and one and a half of its period.
        let next = at.after(feed.every.mul_f64(0.5 + self.random.f64()));
        self.arrivals.push(Reverse((next, index)));
        let stream = StreamId(u16::try_from(index).unwrap_or(u16::MAX));
        self.record.offered[feed.priority as usize] += 1;
        if feed.priority == Priority::Alarm {
            let blind = self.budget.level == Level::Emergency;
            self.alarms.push_back((at.after(feed.deadline), at, stream.0, blind));
        }
        let (batch, wall) = row(stream, at);
        self.pipeline.push_samples(&batch, wall);
    }

    /// Gives the models what the brain lets go, the most urgent first.
    fn start(&mut self) {
        while let Some(batch) = self.pipeline.next_batch(self.now) {
            self.out.push_back(batch);
        }
        if self.running.is_some() {
            return;
        }
        let urgent =
            self.out.iter().enumerate().min_by_key(|(_, batch)| batch.priority).map(|(index, _)| index);
        let Some(batch) = urgent.and_then(|index| self.out.remove(index)) else {
            self.idle = true;
            return;
        };
        let wake = if std::mem::replace(&mut self.idle, false) { self.scene.wake } else { Duration::ZERO };
        let took = (self.cost(&batch) + wake).div_f32(self.twin.clock().get());
        // With more to run than there are cores the models get their share.
        let wanted = self.scene.system / self.twin.clock().get() + 1.0;
        let took = took.mul_f32((wanted / self.scene.board.cores).max(1.0));
        self.running = Some((self.now.after(took), took, batch));
    }

    /// At the full clock. Fewer than [`BATCH_MIN`] are judged one by one.
    fn cost(&self, batch: &Batch) -> Duration {
        let cost = self.scene.costs[usize::from(batch.model.0)];
        let count = u32::try_from(batch.work.len()).unwrap_or(u32::MAX);
        let whole = if batch.work.len() < BATCH_MIN { cost.single * count } else { cost.batch };
        match batch.variant {
            VariantRule::Best | VariantRule::Smallest => whole,
            VariantRule::Cheapest => whole.mul_f32(cost.cheapest),
        }
    }

    fn finish(&mut self) {
        let Some((at, took, mut batch)) = self.running.take() else { return };
        let spent = took / u32::try_from(batch.work.len()).unwrap_or(1).max(1);
        for work in std::mem::take(&mut batch.work) {
            self.resolve(work, at, (took, spent));
        }
        self.pipeline.settle(batch, took, at);
    }

    fn resolve(&mut self, work: Work, at: Uptime, (took, spent): (Duration, Duration)) {
        let Work { subject, model, input, priority, queued, deadline } = work;
        let lane = priority as usize;
        let in_time = at <= deadline;
        if in_time {
            self.record.useful[lane] += 1;
            self.minute.useful += 1;
        } else {
            self.record.late[lane] += 1;
        }
        if priority == Priority::Alarm && in_time {
            self.record.alarm_took.push(u64::try_from(at.since(queued).as_micros()).unwrap_or(u64::MAX));
            let mine = |alarm: &(Uptime, Uptime, u16, bool)| (alarm.1, alarm.2) == (queued, subject.stream.0);
            if let Some(place) = self.alarms.iter().position(mine) {
                self.alarms.remove(place);
            }
        }
        debug_assert!(matches!(subject.when, When::Span(_)), "every piece of work is a window");
        if let WorkInput::Window(window) = input {
            self.pipeline.recycle(window);
        }
        let outcome = if in_time {
            let features = FeatureVector::default();
            Outcome::Judged { judgements: Vec::new(), features, extraction: None }
        } else {
            Outcome::Failed(FailureReason::Deadline)
        };
        let inference = Inference { subject, model, outcome, queued, took, spent };
        self.pipeline.resolve(inference, ClockQuality::Synced);
    }

    /// What the service's governor does every second.
    fn govern(&mut self) {
        let readings = self.readings();
        if let Some(config) = self.scene.governor {
            if self.scene.planted == Planted::NoHysteresis {
                self.governor = Some(Governor::new(config));
                let before = Readings { at: Uptime(readings.at.0.saturating_sub(1_000_000_000)), ..readings };
                self.governor.as_mut().map(|governor| governor.observe(before));
            }
            if let Some(governor) = &mut self.governor {
                let budget = governor.observe(readings);
                if budget.level != self.budget.level {
                    self.record.changes.push((self.now, budget.level));
                }
                self.budget = budget;
                self.pipeline.set_budget(budget);
            }
        }
        // With or without a governor the scheduler is told the clock.
        if self.scene.planted != Planted::CostNotNormalised {
            self.pipeline.set_clock(self.twin.clock());
        }
        if self.budget.level == Level::Emergency {
            self.alarms.iter_mut().for_each(|alarm| alarm.3 = true);
        }
        self.alarms.make_contiguous().sort_unstable();
        while let Some(&(_, _, _, blind)) = self.alarms.front().filter(|alarm| alarm.0 < self.now) {
            *if blind { &mut self.record.alarms_excused } else { &mut self.record.alarms_missed } += 1;
            self.alarms.pop_front();
        }
    }

    fn readings(&self) -> Readings {
        let twin = &self.twin;
        let sensed = twin.sensed().celsius();
        let lost = if self.scene.planted == Planted::LostIsZero { Some(Celsius(0.0)) } else { None };
        let firmware = twin.firmware();
        let source = if twin.outside.mains { PowerSource::Mains } else { PowerSource::Battery };
        let battery = twin.battery();
        let power = PowerReading {
            source: battery.map_or(PowerSource::Unknown, |_| source),
            charge: battery.map_or(Sensed::Absent, |battery| Sensed::Known(battery.charge())),
            voltage: battery.map_or(Sensed::Absent, |battery| Sensed::Known(battery.voltage())),
            draw: battery.map_or(Sensed::Absent, |_| Sensed::Known(twin.draw())),
            failing: false,
        };
        Readings {
            at: self.now,
            temperature: sensed.or(lost),
            trip: TRIP,
            clock: Some(twin.clock()),
            under_voltage: firmware.under_voltage(),
            slowed: firmware.flags() & 0b1110 != 0,
            memory: MemoryReading { used: Bytes(32 << 20), ..MemoryReading::default() },
            hardware: HardwareReading { power, ..HardwareReading::default() },
            ..Readings::default()
        }
    }

    fn note(&mut self) {
        let second = self.now.0 / 1_000_000_000;
        self.minute.ambient = self.twin.outside.ambient.0;
        self.minute.clock += self.twin.clock().get() / 60.0;
        self.minute.level = self.minute.level.max(self.budget.level);
        if second % 60 == 59 {
            self.record.minutes.push(std::mem::take(&mut self.minute));
        }
    }
}

impl Record {
    /// Judged in time, of all lanes.
    pub(crate) fn useful(&self) -> u64 {
        self.useful.iter().sum()
    }

    /// The most changes of level within any hour.
    pub(crate) fn changes_an_hour(&self) -> usize {
        let hour = Duration::from_hours(1);
        let within =
            |from: Uptime| self.changes.iter().filter(|(at, _)| *at >= from && at.since(from) < hour).count();
        self.changes.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
    }

    /// The time within which this share of the alarms that were judged were.
    pub(crate) fn alarm_quantile(&self, share: f64) -> Duration {
        let mut took = self.alarm_took.clone();
        took.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let place = (took.len() as f64 * share) as usize;
        Duration::from_micros(took.get(place.min(took.len().saturating_sub(1))).copied().unwrap_or(0))
    }
}

/// A row of a stream, which is a window, and the wall time.
pub(crate) fn row(stream: StreamId, received: Uptime) -> (SampleBatch, UtcTime) {
    let at = EventTime(EARLIEST_PLAUSIBLE.0 + i64::try_from(received.0 / 1_000).unwrap_or(0));
    let samples = vec![Sample { signal: SignalId(0), at, value: 1.0, quality: Quality::Good }];
    let wall = UtcTime { micros: at.0, quality: ClockQuality::Synced };
    (SampleBatch { stream, asset: AssetId(0), received, samples }, wall)
}

/// As the service configures it on this board, from the board's own file.
pub(crate) fn governor_config() -> GovernorConfig {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let profile = board_profile(Some("raspberry-pi-4"), &Sysfs::at(folder)).unwrap();
    GovernorConfig {
        has_sensor: true,
        ok: profile.thermal.map(|thermal| thermal.ok).unwrap(),
        memory: profile.budget.memory,
        frozen_after: Some(Duration::from_mins(10)),
        cpu: Millicores::of_cores(profile.budget.cpu),
        ..GovernorConfig::default()
    }
}

/// What the brain is told.
pub(crate) fn plan(scene: &Scene) -> PipelinePlan {
    let stream = |(index, feed): (usize, &Feed)| StreamPlan {
        window: Some(WindowConfig {
            stream: StreamId(u16::try_from(index).unwrap_or(u16::MAX)),
            channels: 1,
            length: ROW,
            lateness: Duration::ZERO,
            idle: Duration::from_hours(1),
            future_max: Duration::from_hours(24 * 365),
            period: None,
            samples_max: 16,
        }),
        model: ModelId(feed.model),
        priority: feed.priority,
        deadline: feed.deadline,
    };
    PipelinePlan {
        streams: scene.feeds.iter().enumerate().map(stream).collect(),
        distill: DistillConfig { streams: Vec::new() },
        models: Vec::new(),
        policies: Vec::new(),
        words: Vec::new(),
        epoch: 1,
        schedule: ScheduleConfig {
            pieces_max: scene.pieces_max,
            bytes_max: Bytes(24 << 20),
            batch_max: scene
                .costs
                .iter()
                .map(|cost| if cost.batches { scene.batch_max } else { 1 })
                .collect(),
            costs: scene.costs.iter().map(|cost| Some(cost.single)).collect(),
            // A piece of work stands for many of the plant's here, and a run of eight for many short runs.
            hold_up_max: Duration::MAX,
        },
    }
}
