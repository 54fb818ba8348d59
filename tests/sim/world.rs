//! The world around the gateway: time, power, faults, and the comparison after each boot.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::clock::Uptime;
use tidegate::clock::{ClockQuality, UtcTime};
use tidegate::forward::{Day, Loss, Token};
use tidegate::outbox::{Lane, Seq};
use tidegate::tally::{DropReason, Stage};

use crate::broker::Broker;
use crate::check::check;
use crate::crash_disk::{CrashDisk, Lie, Remains};
use crate::faults::{FAULTS_END, Fault, Kind, Planted, plan};
use crate::gateway::{Gateway, Settings};
use crate::model::Reference;
use crate::plant::report;
use crate::schedule::{Happening, Schedule};

/// Wall time when the world begins, in microseconds: 2026-11-20T03:00:00Z.
pub(crate) const START: i64 = 1_795_143_600_000_000;

/// After the faults everything must be delivered within so many milliseconds: six days, as a daily budget may be small.
const PATIENCE: u64 = 6 * 86_400_000;

/// Why a happening ended early.
pub(crate) enum Stop {
    /// The power went.
    Power,
    /// The process ends and is started again.
    Restart,
    /// A check failed.
    Violation(String),
}

impl From<String> for Stop {
    fn from(violation: String) -> Self {
        Self::Violation(violation)
    }
}

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) given: usize,
    pub(crate) must: usize,
    pub(crate) delivered: usize,
    pub(crate) twice: usize,
    /// Records set aside, and connections at which the broker died.
    pub(crate) aside: u64,
    pub(crate) deaths: u64,
    /// Stretches that went before older records of their lane.
    pub(crate) stretches: u64,
    /// Bytes of the dearest day against its budget, in thousandths.
    pub(crate) day_used: u64,
    pub(crate) dropped: u64,
    pub(crate) boots: u32,
    pub(crate) connections: u32,
    pub(crate) steps: u64,
    /// Bit for bit the reasons for which something was dropped, in order of declaration.
    pub(crate) reasons: u64,
    /// Time and figures of every step, folded.
    pub(crate) trace: u64,
}

/// When the next attempt to connect is due, written down.
#[derive(Clone, Copy)]
pub(crate) struct Promised {
    pub(crate) boot: u32,
    pub(crate) until: Uptime,
}

/// All of it.
pub(crate) struct World {
    pub(crate) schedule: Schedule,
    pub(crate) random: fastrand::Rng,
    pub(crate) settings: Settings,
    pub(crate) planted: Planted,
    pub(crate) disk: CrashDisk,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) reference: Reference,
    pub(crate) broker: Broker,
    pub(crate) boot: u32,
    pub(crate) connections: u32,
    /// The present connection, or attempt.
    pub(crate) connection: Option<u32>,
    /// Bytes it has carried, sent and received, and those of each day.
    pub(crate) carried: (u64, u64),
    pub(crate) days: BTreeMap<Day, u64>,
    /// The connection each message went on.
    pub(crate) sent_on: BTreeMap<(u32, u64), u32>,
    pub(crate) promised: Option<Promised>,
    /// A note could not be written: the budget may be spent twice.
    pub(crate) unwritten: bool,
    pub(crate) faults: Vec<Fault>,
    pub(crate) active: Vec<bool>,
    pub(crate) quiet: bool,
    pub(crate) temperature: f32,
    pub(crate) ticks: u64,
    /// An operation that may drop records is under way.
    pub(crate) may_drop: bool,
    pub(crate) summary: Summary,
}

/// Runs one seed to its end.
pub(crate) fn run(seed: u64, planted: Planted) -> Result<Summary, String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let settings = Settings::of(&mut random);
    let faults = plan(&mut random);
    let lie = match planted {
        Planted::SyncIgnored => Lie::Sync,
        Planted::DirectoryIgnored => Lie::SyncDir,
        Planted::Nothing
        | Planted::AckWithoutDelivery
        | Planted::CursorJumps
        | Planted::EpochForgotten
        | Planted::UptoIgnored
        | Planted::NoteForgotten
        | Planted::TrafficUncounted
        | Planted::PoisonKept
        | Planted::NeighbourSetAside
        | Planted::DroppedInSilence => Lie::None,
    };
    let mut world = World {
        schedule: Schedule::new(random.fork()),
        settings,
        planted,
        disk: CrashDisk::new(lie),
        gateway: None,
        reference: Reference::default(),
        broker: Broker::default(),
        boot: 0,
        connections: 0,
        connection: None,
        carried: (0, 0),
        days: BTreeMap::new(),
        sent_on: BTreeMap::new(),
        promised: None,
        unwritten: false,
        active: vec![false; faults.len()],
        faults,
        quiet: false,
        temperature: 45.0,
        ticks: 0,
        may_drop: false,
        summary: Summary::default(),
        random,
    };
    world.begin();
    world
        .run()
        .map_err(|violation| format!("{violation} at {:?}", Duration::from_nanos(world.schedule.now.0)))
}

impl World {
    fn begin(&mut self) {
        self.schedule.after(0, Happening::Boot);
        for (index, fault) in self.faults.iter().enumerate() {
            self.schedule.after(fault.from, Happening::Fault { index, begins: true });
            self.schedule.after(fault.to, Happening::Fault { index, begins: false });
        }
        for (stream, asset) in [(0, 0), (1, 0), (1, 1)] {
            self.schedule.after(self.random.u64(0..5_000), Happening::Sensor { stream, asset });
        }
        self.schedule.after(7_000, Happening::Report);
        self.schedule.after(FAULTS_END + 90_000, Happening::Quiet);
    }

    fn run(&mut self) -> Result<Summary, String> {
        loop {
            let happening = self.schedule.next().ok_or("nothing happens any more")?;
            self.summary.steps += 1;
            let outcome = self.happen(happening).and_then(|()| self.pump());
            match outcome {
                _ if self.disk.is_off() => self.cut(None),
                Ok(()) => {}
                Err(Stop::Power) => self.cut(None),
                Err(Stop::Restart) => self.down(2_000),
                Err(Stop::Violation(violation)) => return Err(violation),
            }
            if let Some(gateway) = &self.gateway {
                check(gateway, &self.reference).map_err(|error| {
                    format!("{error} after {happening:?}, {:?}", self.kinds().collect::<Vec<_>>())
                })?;
                self.summary.trace = (self.summary.trace ^ self.schedule.now.0 ^ gateway.outbox.used().0)
                    .wrapping_mul(0x0100_0000_01b3)
                    .wrapping_add(gateway.outbox.held());
            }
            self.check_budget()?;
            if self.quiet && self.is_drained() {
                return self.finish();
            }
            if self.schedule.now.0 / 1_000_000 > FAULTS_END + PATIENCE {
                // Nothing is condemned without another record of its lane that arrives: the last one waits for the next.
                let condemned =
                    self.gateway.as_ref().is_some_and(|gateway| gateway.session.culprit().is_some());
                if !condemned && self.reference.waits_for_poison(self.settings.poison) {
                    return self.finish();
                }
                let status = self.gateway.as_ref().map(|gateway| {
                    (gateway.session.status(), [0, 1, 2].map(|lane| gateway.session.backlog(lane)))
                });
                return Err(format!(
                    "not everything was delivered although nothing is wrong any more: {status:?}"
                ));
            }
        }
    }

    /// No day has cost more than it may, whatever the clock did.
    fn check_budget(&mut self) -> Result<(), String> {
        let Some(daily) = self.settings.forward.daily.filter(|_| !self.unwritten) else { return Ok(()) };
        let Some((day, bytes)) = self.days.iter().max_by_key(|(_, bytes)| **bytes) else { return Ok(()) };
        self.summary.day_used = self.summary.day_used.max(bytes * 1_000 / daily.0);
        if *bytes > daily.0 {
            return Err(format!("{bytes} bytes on {day:?}, allowed are {daily}"));
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Summary, String> {
        self.note_reasons();
        self.reference.complete()?;
        let (must, given) = self.reference.counts();
        let found = &self.reference.found;
        Ok(Summary {
            must,
            given,
            delivered: found.len(),
            twice: found.values().filter(|times| **times > 1).count(),
            boots: self.boot,
            connections: self.connections,
            ..self.summary
        })
    }

    fn note_reasons(&mut self) {
        let Some(gateway) = &self.gateway else { return };
        let mut tally = gateway.outbox.tally().clone();
        for stage in [Stage::Window, Stage::Infer, Stage::Distill, Stage::Egress] {
            tally.add(&gateway.pipeline.count(stage).0);
        }
        for (bit, reason) in DropReason::ALL.iter().enumerate() {
            self.summary.reasons |= u64::from(tally.dropped(*reason) > 0) << bit;
        }
    }

    fn is_drained(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| {
            gateway.pipeline.queued() == 0
                && gateway.pipeline.in_flight() == 0
                && !gateway.sync_due
                && !gateway.untold
                && gateway.session.in_flight() == 0
                && (0..3).all(|lane| gateway.session.backlog(lane) == 0)
        })
    }

    pub(crate) fn wall(&self) -> UtcTime {
        let offset: i64 =
            self.kinds().map(|kind| if let Kind::Clock(seconds) = kind { seconds } else { 0 }).sum();
        if self.has(Kind::ClockUnset) {
            return UtcTime { micros: micros(self.schedule.now), quality: ClockQuality::Unset };
        }
        let quality = if offset == 0 { ClockQuality::Synced } else { ClockQuality::Unknown };
        UtcTime { micros: START + micros(self.schedule.now) + offset * 1_000_000, quality }
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.faults.iter().zip(&self.active).filter(|(_, active)| **active).map(|(fault, _)| fault.kind)
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.kinds().any(|active| active == kind)
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Stop> {
        match happening {
            Happening::Boot if self.gateway.is_none() => self.boot(),
            Happening::Tick { boot } if boot == self.boot => self.tick(),
            Happening::Sensor { stream, asset } => {
                self.sensor(stream, asset);
                Ok(())
            }
            Happening::Report => {
                if !self.quiet {
                    self.schedule.after(self.random.u64(5_000..40_000), Happening::Report);
                    let report = report(self.schedule.now);
                    if let Some(gateway) = &mut self.gateway {
                        gateway.pipeline.push_report(report);
                    }
                }
                Ok(())
            }
            Happening::Judged { boot } if boot == self.boot => self.judged(),
            Happening::Sync { boot } if boot == self.boot => self.sync(),
            Happening::Told { boot } if boot == self.boot => {
                self.told()?;
                Ok(())
            }
            Happening::Welcome { connection } if self.connection == Some(connection) => {
                self.welcome(connection);
                Ok(())
            }
            Happening::NoAnswer { connection } if self.connection == Some(connection) => {
                self.lose_link(Loss::Unreachable);
                Ok(())
            }
            Happening::Arrive { boot, connection, token } => self.arrive((boot, token), connection),
            Happening::Ack { boot, token } if boot == self.boot => self.ack(token),
            Happening::Refuse { connection, token, content } if self.connection == Some(connection) => {
                let (random, now) = (self.random.f64(), self.moment());
                if let Some(gateway) = &mut self.gateway {
                    gateway.session.refused(Token(token), now, random, content);
                }
                Ok(())
            }
            Happening::Fault { index, begins } => self.fault(index, begins),
            Happening::Quiet => {
                self.quiet = true;
                let now = self.schedule.now;
                if let Some(gateway) = &mut self.gateway {
                    gateway.pipeline.finish(now);
                }
                Ok(())
            }
            // Of a boot or a connection that is no more.
            Happening::Boot
            | Happening::Tick { .. }
            | Happening::Judged { .. }
            | Happening::Sync { .. }
            | Happening::Told { .. }
            | Happening::Welcome { .. }
            | Happening::NoAnswer { .. }
            | Happening::Ack { .. }
            | Happening::Refuse { .. } => Ok(()),
        }
    }

    fn fault(&mut self, index: usize, begins: bool) -> Result<(), Stop> {
        self.active[index] = begins;
        match self.faults[index].kind {
            Kind::BrokerGone | Kind::Break if begins => self.lose_link(Loss::Closed),
            Kind::DiskFull => {
                let room = self.disk.bytes() + self.random.usize(0..3_000);
                self.disk.set_capacity(self.has(Kind::DiskFull).then_some(room));
            }
            Kind::SyncFails => self.disk.fail_sync(begins),
            Kind::PowerCut { operations: 0, again } if begins => self.cut(again),
            Kind::PowerCut { operations, .. } => {
                self.disk.crash_after(begins.then_some(usize::from(operations)));
            }
            Kind::Killed if begins => return Err(Stop::Restart),
            Kind::BrokerGone
            | Kind::Break
            | Kind::Killed
            | Kind::BadAcks
            | Kind::Refusals
            | Kind::Amnesia
            | Kind::Clock(_)
            | Kind::ClockUnset
            | Kind::Heat
            | Kind::SlowModel
            | Kind::BadModel
            | Kind::BadSamples => {}
        }
        Ok(())
    }

    /// The power goes: memory is lost, and of the disk one of many images remains.
    pub(crate) fn cut(&mut self, again: Option<u8>) {
        let remains = match self.random.u8(..6) {
            0 => Remains::Durable,
            1 => Remains::Live,
            2 => Remains::Torn(self.random.usize(..=self.disk.last_write_bytes())),
            3 => Remains::NamesLost,
            4 => Remains::ContentsLost,
            _ => Remains::Sectors(self.random.u64(..)),
        };
        self.disk = self.disk.reboot(remains);
        self.disk.crash_after(again.map(usize::from));
        self.disk.fail_sync(self.has(Kind::SyncFails));
        let room = self.disk.bytes() + self.random.usize(0..3_000);
        self.disk.set_capacity(self.has(Kind::DiskFull).then_some(room));
        let delay = self.random.u64(1_000..60_000);
        self.down(delay);
    }

    pub(crate) fn down(&mut self, delay: u64) {
        self.note_reasons();
        self.gateway = None;
        self.connection = None;
        self.boot += 1;
        self.schedule.after(delay, Happening::Boot);
    }

    /// Opens the outbox and compares it with the reference.
    fn boot(&mut self) -> Result<(), Stop> {
        let entropy = self.random.u64(..);
        let forget = self.planted == Planted::NoteForgotten;
        let opened = Gateway::open(&self.disk, &self.settings, entropy, self.moment(), forget);
        let mut gateway = match opened {
            Ok(gateway) => gateway,
            Err(_) if self.disk.is_off() => return Err(Stop::Power),
            Err(_) => {
                // The disk is full or failing; the supervisor of the system tries again.
                self.down(5_000);
                return Ok(());
            }
        };
        let epoch = gateway.outbox.epoch();
        if epoch <= self.reference.epoch {
            return Err(Stop::Violation(format!("epoch {epoch} after {}", self.reference.epoch)));
        }
        self.reference.epoch = epoch;
        if self.planted == Planted::EpochForgotten {
            gateway.pipeline = tidegate::pipeline::Pipeline::new(crate::gateway::plan(&self.settings, 1));
        }
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            let mut records = Vec::new();
            let read = gateway.outbox.read(lane, Seq(0), Seq(u64::MAX), usize::MAX, usize::MAX, &mut records);
            read.map_err(|error| format!("read after boot: {error}"))?;
            let stat = gateway.outbox.stat(lane).map_err(|error| format!("stat after boot: {error}"))?;
            let found: BTreeMap<_, _> =
                records.into_iter().map(|record| (record.seq.0, record.payload)).collect();
            let figures = (stat.acked.0, stat.durable.0, stat.appended.0);
            self.reference.reopened(index, &found, figures, self.may_drop)?;
        }
        self.may_drop = false;
        self.gateway = Some(gateway);
        self.schedule.after(0, Happening::Tick { boot: self.boot });
        Ok(())
    }
}

/// Microseconds of an uptime.
pub(crate) fn micros(uptime: Uptime) -> i64 {
    i64::try_from(uptime.0 / 1_000).unwrap()
}
