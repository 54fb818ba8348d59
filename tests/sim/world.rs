//! The world around the gateway: time, power, link, plant; and the shells' part of the work, on one thread.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EventTime, UtcTime};
use tidegate::flow::{FailureReason, Priority};
use tidegate::forward::{Advance, Day, Fetch, Token, Withheld};
use tidegate::governor::Readings;
use tidegate::infer::WorkInput;
use tidegate::outbox::{Action, Appended, Lane, OutboxError, Seq};
use tidegate::tally::DropReason;
use tidegate::units::{Bytes, Celsius};
use tidegate::wire::{Origin, decode_record, encode_record};

use crate::broker::Broker;
use crate::check::check;
use crate::crash_disk::{CrashDisk, Lie, Remains};
use crate::faults::{FAULTS_END, Fault, Kind, Planted, plan};
use crate::gateway::{Gateway, Settings, inference, judge};
use crate::model::Reference;
use crate::plant::{MESSAGE_SAMPLES, message, report};
use crate::schedule::{Happening, Schedule};

/// Wall time when the world begins, in microseconds: 2026-11-20T03:00:00Z.
pub(crate) const START: i64 = 1_795_143_600_000_000;

/// After the faults everything must be delivered within so many milliseconds: six days, as a daily budget may be small.
const PATIENCE: u64 = 6 * 86_400_000;

/// Work at the engine at most, as in the shell.
const WORK_IN_FLIGHT: u64 = 4;

/// Why a happening ended early.
enum Stop {
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
    pub(crate) dropped: u64,
    pub(crate) boots: u32,
    pub(crate) connections: u32,
    pub(crate) steps: u64,
    /// Time and figures of every step, folded.
    pub(crate) trace: u64,
}

/// All of it.
pub(crate) struct World {
    schedule: Schedule,
    random: fastrand::Rng,
    settings: Settings,
    planted: Planted,
    disk: CrashDisk,
    gateway: Option<Gateway>,
    reference: Reference,
    broker: Broker,
    boot: u32,
    connections: u32,
    /// The present connection, or attempt.
    connection: Option<u32>,
    faults: Vec<Fault>,
    active: Vec<bool>,
    quiet: bool,
    temperature: f32,
    ticks: u64,
    /// An operation that may drop records is under way.
    may_drop: bool,
    summary: Summary,
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
                check(gateway, &self.reference, self.wall())?;
                self.summary.trace = (self.summary.trace ^ self.schedule.now.0 ^ gateway.outbox.used().0)
                    .wrapping_mul(0x0100_0000_01b3)
                    .wrapping_add(gateway.outbox.held());
            }
            if self.quiet && self.is_drained() {
                return self.finish();
            }
            if self.schedule.now.0 / 1_000_000 > FAULTS_END + PATIENCE {
                return Err("not everything was delivered although nothing is wrong any more".to_owned());
            }
        }
    }

    fn finish(&mut self) -> Result<Summary, String> {
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

    fn is_drained(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| {
            gateway.pipeline.queued() == 0
                && gateway.pipeline.in_flight() == 0
                && !gateway.sync_due
                && gateway.session.in_flight() == 0
                && (0..3).all(|lane| gateway.session.backlog(lane) == 0)
        })
    }

    fn wall(&self) -> UtcTime {
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

    fn has(&self, kind: Kind) -> bool {
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
            Happening::Welcome { connection } if self.connection == Some(connection) => {
                let (receive_max, packet_max) = (self.random.u16(1..40), self.random.u32(1_000..9_000));
                if let Some(gateway) = &mut self.gateway {
                    gateway.session.connected(self.schedule.now, Some(receive_max), Some(packet_max));
                }
                Ok(())
            }
            Happening::NoAnswer { connection } if self.connection == Some(connection) => {
                self.lose_link();
                Ok(())
            }
            Happening::Arrive { boot, connection, token } => self.arrive((boot, token), connection),
            Happening::Ack { boot, token } if boot == self.boot => self.ack(token),
            Happening::Refuse { connection, token } if self.connection == Some(connection) => {
                let random = self.random.f64();
                if let Some(gateway) = &mut self.gateway {
                    gateway.session.refused(Token(token), self.schedule.now, random);
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
            | Happening::Welcome { .. }
            | Happening::NoAnswer { .. }
            | Happening::Ack { .. }
            | Happening::Refuse { .. } => Ok(()),
        }
    }

    fn fault(&mut self, index: usize, begins: bool) -> Result<(), Stop> {
        self.active[index] = begins;
        match self.faults[index].kind {
            Kind::BrokerGone | Kind::Break if begins => self.lose_link(),
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
    fn cut(&mut self, again: Option<u8>) {
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

    fn down(&mut self, delay: u64) {
        self.gateway = None;
        self.connection = None;
        self.boot += 1;
        self.schedule.after(delay, Happening::Boot);
    }

    /// Opens the outbox and compares it with the reference.
    fn boot(&mut self) -> Result<(), Stop> {
        let entropy = self.random.u64(..);
        let opened = Gateway::open(&self.disk, &self.settings, entropy);
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
            let read = gateway.outbox.read(lane, Seq(0), usize::MAX, usize::MAX, &mut records);
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

    fn sensor(&mut self, stream: u16, asset: u32) {
        if self.quiet {
            return;
        }
        let period = MESSAGE_SAMPLES.unsigned_abs() * 1_000;
        self.schedule.after(period, Happening::Sensor { stream, asset });
        let (now, wall, bad) = (self.schedule.now, self.wall(), self.has(Kind::BadSamples));
        let batch = message((stream, asset), now, bad, &mut self.random);
        if let Some(gateway) = &mut self.gateway {
            gateway.pipeline.push_samples(&batch, wall);
        }
    }

    fn tick(&mut self) -> Result<(), Stop> {
        let every = if self.quiet { 20_000 } else { 1_000 };
        self.schedule.after(every, Happening::Tick { boot: self.boot });
        self.ticks += 1;
        self.temperature += if self.has(Kind::Heat) { 0.3 } else { -0.3 };
        self.temperature = self.temperature.clamp(45.0, 95.0);
        let (now, wall) = (self.schedule.now, self.wall());
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        if self.ticks.is_multiple_of(5) {
            let budget = gateway.governor.observe(Readings {
                at: now,
                temperature: Some(Celsius(self.temperature)),
                trip: Celsius(85.0),
                memory_used: Bytes(10 << 20),
            });
            gateway.pipeline.set_budget(budget);
        }
        if self.ticks.is_multiple_of(30) {
            self.dropping(|gateway| gateway.outbox.expire(wall), DropReason::Expired, |()| false)?;
        }
        if self.ticks.is_multiple_of(60) && self.gateway.as_ref().is_some_and(|gateway| !gateway.sync_due) {
            let saved = self.gateway.as_mut().map(|gateway| gateway.outbox.checkpoint());
            self.tolerate(saved.transpose())?;
        }
        Ok(())
    }

    /// Runs something that may drop stored records by policy, and tells the reference of those it has dropped.
    /// `newcomer` says whether what it counted includes a record that was never stored.
    fn dropping<T>(
        &mut self,
        work: impl FnOnce(&mut Gateway) -> Result<T, OutboxError>,
        reason: DropReason,
        newcomer: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, Stop> {
        let Some(gateway) = &mut self.gateway else { return Ok(None) };
        let cursors = |gateway: &Gateway| Lane::ALL.map(|lane| gateway.outbox.acked(lane).0);
        let (before, counted) = (cursors(gateway), gateway.outbox.tally().dropped(reason));
        let level = before.iter().zip(&self.reference.lanes).all(|(cursor, lane)| *cursor == lane.acked);
        self.may_drop = true;
        let result = work(gateway);
        let (after, counted) = (cursors(gateway), gateway.outbox.tally().dropped(reason) - counted);
        let result = self.tolerate(result)?;
        self.may_drop = false;
        let mut dropped = 0;
        for (lane, (before, after)) in before.into_iter().zip(after).enumerate() {
            if after > before {
                dropped += self.reference.dropped(lane, after);
            }
        }
        self.summary.dropped += dropped;
        let stored = counted - u64::from(result.as_ref().is_some_and(newcomer));
        if level && dropped != stored {
            return Err(Stop::Violation(format!(
                "{dropped} records dropped, {stored} counted as {reason:?}"
            )));
        }
        Ok(result)
    }

    /// What the shells do after anything has happened.
    fn pump(&mut self) -> Result<(), Stop> {
        self.feed();
        let now = self.schedule.now;
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        if gateway.session.due(now) {
            gateway.session.connecting(now);
            self.connections += 1;
            self.connection = Some(self.connections);
            let connection = self.connections;
            if self.has(Kind::BrokerGone) {
                self.schedule.after(self.random.u64(10..8_000), Happening::NoAnswer { connection });
            } else {
                self.schedule.after(self.random.u64(10..2_000), Happening::Welcome { connection });
            }
        }
        self.send_all()?;
        if self.gateway.as_ref().is_some_and(|gateway| gateway.session.overdue(now)) {
            self.lose_link();
        }
        Ok(())
    }

    fn feed(&mut self) {
        let now = self.schedule.now;
        let slow = if self.has(Kind::SlowModel) { 60_000 } else { 400 };
        let Some(gateway) = &mut self.gateway else { return };
        gateway.pipeline.tick(now);
        while gateway.pipeline.in_flight() < WORK_IN_FLIGHT {
            let Some(work) = gateway.pipeline.next_work(now) else { return };
            gateway.at_engine.push_back(work);
            if gateway.at_engine.len() == 1 {
                self.schedule.after(self.random.u64(1..slow), Happening::Judged { boot: self.boot });
            }
        }
    }

    /// The engine has finished: the decision is made, and what may leave is stored.
    fn judged(&mut self) -> Result<(), Stop> {
        let (now, quality) = (self.schedule.now, self.wall().quality);
        let slow = if self.has(Kind::SlowModel) { 60_000 } else { 400 };
        let fails = self.has(Kind::BadModel) && self.random.u8(..3) == 0;
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let Some(work) = gateway.at_engine.pop_front() else { return Ok(()) };
        if !gateway.at_engine.is_empty() {
            self.schedule.after(self.random.u64(1..slow), Happening::Judged { boot: self.boot });
        }
        let late = (work.deadline < now).then_some(FailureReason::Deadline);
        let (outcome, _) = judge(&work, late.or(fails.then_some(FailureReason::NonFinite)));
        let mut work = work;
        if let WorkInput::Window(window) = std::mem::replace(&mut work.input, WorkInput::Report) {
            gateway.pipeline.recycle(window);
        }
        let inference = inference(work, outcome, Duration::from_millis(1));
        let Some(event) = gateway.pipeline.resolve(inference, quality) else { return Ok(()) };
        let Some(outbound) = gateway.pipeline.pass(&event) else { return Ok(()) };
        let mut payload = Vec::new();
        encode_record(&outbound, &mut payload).map_err(|error| format!("encode a record: {error}"))?;
        let lane = match outbound.facts().priority {
            Priority::Alarm => 0,
            Priority::Normal => 1,
            Priority::Bulk => 2,
        };
        self.reference.give(lane, outbound.facts(), &payload)?;
        self.append(lane, &payload)
    }

    fn append(&mut self, lane: usize, payload: &[u8]) -> Result<(), Stop> {
        if self.planted == Planted::DroppedInSilence && self.reference.lanes[lane].appended % 9 == 8 {
            self.reference.rejected(lane);
            return Ok(());
        }
        let at = EventTime::from(self.wall());
        let append = |gateway: &mut Gateway| gateway.outbox.append(Lane::ALL[lane], payload, at);
        let full = |appended: &Appended| *appended == Appended::Rejected(DropReason::OutboxFull);
        let appended = self.dropping(append, DropReason::OutboxFull, full)?;
        match appended {
            Some(Appended::Stored(seq)) => self.reference.stored(lane, seq.0)?,
            Some(Appended::Rejected(_)) | None => {
                self.reference.rejected(lane);
                return Ok(());
            }
        }
        let batch_records_max = self.settings.outbox.batch_records_max;
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        gateway.unsynced += 1;
        let full = gateway.unsynced >= batch_records_max;
        if !std::mem::replace(&mut gateway.sync_due, true) {
            let interval = u64::try_from(self.settings.outbox.sync_interval.as_millis()).unwrap();
            self.schedule.after(interval, Happening::Sync { boot: self.boot });
        }
        if full { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> Result<(), Stop> {
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        if !std::mem::replace(&mut gateway.sync_due, false) {
            return Ok(());
        }
        gateway.unsynced = 0;
        let synced = gateway.outbox.sync();
        if self.tolerate(synced)?.is_none() {
            return Ok(());
        }
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            let durable = gateway.outbox.durable(lane).0;
            self.reference.synced(index, durable)?;
            gateway.session.durable(u8::try_from(index).unwrap(), durable);
        }
        Ok(())
    }

    /// Sorts the errors of the outbox as its shell does.
    fn tolerate<T>(&self, result: Result<T, OutboxError>) -> Result<Option<T>, Stop> {
        match result {
            _ if self.disk.is_off() => Err(Stop::Power),
            Ok(value) => Ok(Some(value)),
            Err(error) if error.action() == Action::Retry => Ok(None),
            Err(_) => Err(Stop::Restart),
        }
    }

    fn send_all(&mut self) -> Result<(), Stop> {
        let day = Day::of(self.wall());
        loop {
            let now = self.schedule.now;
            let Some(gateway) = &mut self.gateway else { return Ok(()) };
            let Some(fetch) = gateway.session.next(now, day) else { return Ok(()) };
            self.send(&fetch, day)?;
        }
    }

    fn send(&mut self, fetch: &Fetch, day: Day) -> Result<(), Stop> {
        let (now, lane) = (self.schedule.now, usize::from(fetch.lane));
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let mut records = Vec::new();
        let bytes_max = usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX);
        let records_max = usize::try_from(fetch.records_max).unwrap_or(usize::MAX);
        let read =
            gateway.outbox.read(Lane::ALL[lane], Seq(fetch.from), records_max, bytes_max, &mut records);
        if self.tolerate(read)?.is_none() {
            return Ok(());
        }
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let Some(last) = records.last().map(|record| record.seq.0) else {
            let advance = gateway.session.skip(fetch, gateway.outbox.durable(Lane::ALL[lane]).0, now);
            return self.advance(advance);
        };
        let seqs: Vec<_> = records.iter().map(|record| record.seq.0).collect();
        self.reference.sent(lane, &seqs)?;
        let events =
            records.iter().map(|record| decode_record(&record.payload)).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| format!("a stored record: {error}"))?;
        let mut payload = Vec::new();
        let origin = Origin { site: "sim".into(), gateway: "one".into() };
        let encoded = gateway.encoder.encode(&origin, &events, &mut payload);
        encoded.map_err(|error| format!("encode a batch: {error}"))?;
        let count = u32::try_from(events.len()).unwrap();
        let token = match gateway.session.send(fetch, last, count, payload.len() as u64, now, day) {
            Ok(Token(token)) => token,
            Err(Withheld::Undeliverable) => {
                return Err(Stop::Violation("a record is undeliverable".to_owned()));
            }
            Err(Withheld::Stale | Withheld::Daily | Withheld::TooLarge) => return Ok(()),
        };
        // Now and then the client is full.
        if self.random.u8(..50) == 0 {
            gateway.session.unsent(Token(token), now);
            return Ok(());
        }
        self.broker.send((self.boot, token), lane, seqs, payload);
        if let Some(connection) = self.connection {
            self.schedule
                .after(self.random.u64(5..1_500), Happening::Arrive { boot: self.boot, connection, token });
        }
        Ok(())
    }

    /// A batch reaches the broker, unless its connection broke on the way and took it along.
    fn arrive(&mut self, key: (u32, u64), connection: u32) -> Result<(), Stop> {
        let (boot, token) = key;
        let broken = self.connection != Some(connection);
        if broken && self.random.bool() || self.has(Kind::BrokerGone) {
            return Ok(());
        }
        if broken {
            // It got through, and nobody hears of it.
            return Ok(self.broker.take(key, self.planted, &mut self.reference)?);
        }
        if self.has(Kind::Refusals) && self.random.bool() {
            self.schedule.after(self.random.u64(5..1_500), Happening::Refuse { connection, token });
            return Ok(());
        }
        self.broker.take(key, self.planted, &mut self.reference)?;
        let delay = self.random.u64(5..1_500);
        if !self.has(Kind::BadAcks) {
            self.schedule.after(delay, Happening::Ack { boot, token });
            return Ok(());
        }
        let copies: &[u64] = match self.random.u8(..4) {
            0 => &[],
            1 => &[0, 0],
            2 => &[90_000],
            _ => &[0],
        };
        for late in copies {
            self.schedule.after(delay + late, Happening::Ack { boot, token });
        }
        Ok(())
    }

    fn ack(&mut self, token: u64) -> Result<(), Stop> {
        let now = self.schedule.now;
        // Without a connection no acknowledgement arrives; with a later one a stale one may.
        let (Some(gateway), Some(_)) = (&mut self.gateway, self.connection) else { return Ok(()) };
        let Some(packet) = self.broker.packet((self.boot, token)) else { return Ok(()) };
        self.reference.answered(packet.lane, &packet.seqs);
        let mut advance = gateway.session.acked(Token(token), now);
        if self.planted == Planted::CursorJumps {
            let lane = u8::try_from(packet.lane).unwrap();
            advance = packet.seqs.last().map(|last| Advance { lane, upto: *last });
        }
        self.advance(advance)
    }

    fn advance(&mut self, advance: Option<Advance>) -> Result<(), Stop> {
        let Some(Advance { lane, upto }) = advance else { return Ok(()) };
        let index = usize::from(lane);
        self.reference.advance(index, upto)?;
        let advanced =
            self.gateway.as_mut().map(|gateway| gateway.outbox.advance(Lane::ALL[index], Seq(upto)));
        self.tolerate(advanced.transpose()).map(drop)
    }

    fn lose_link(&mut self) {
        if self.connection.take().is_some()
            && let Some(gateway) = &mut self.gateway
        {
            gateway.session.disconnected(self.schedule.now, self.random.f64());
        }
    }
}

/// Microseconds of an uptime.
pub(crate) fn micros(uptime: tidegate::clock::Uptime) -> i64 {
    i64::try_from(uptime.0 / 1_000).unwrap()
}
