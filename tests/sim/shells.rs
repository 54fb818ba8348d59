//! The shells' part of the work, as in `src/runtime/`, on one thread: what comes in, models, disk, link.

use std::time::Duration;

use tidegate::clock::EventTime;
use tidegate::flow::{FailureReason, Priority};
use tidegate::forward::{Advance, Day, Fetch, Token, Withheld};
use tidegate::governor::Readings;
use tidegate::infer::WorkInput;
use tidegate::outbox::{Action, Appended, Lane, OutboxError, Seq};
use tidegate::tally::DropReason;
use tidegate::units::{Bytes, Celsius};
use tidegate::wire::{Origin, decode_record, encode_record};

use crate::faults::{Kind, Planted};
use crate::gateway::{Gateway, inference, judge};
use crate::plant::{MESSAGE_SAMPLES, message};
use crate::schedule::Happening;
use crate::world::{Stop, WORK_IN_FLIGHT, World};

/// Batches that can be sent at one moment; more is a loop without end.
const TURNS_MAX: u32 = 10_000;

impl World {
    pub(crate) fn sensor(&mut self, stream: u16, asset: u32) {
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

    pub(crate) fn tick(&mut self) -> Result<(), Stop> {
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
    pub(crate) fn dropping<T>(
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
    pub(crate) fn pump(&mut self) -> Result<(), Stop> {
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

    pub(crate) fn feed(&mut self) {
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
    pub(crate) fn judged(&mut self) -> Result<(), Stop> {
        let (now, quality) = (self.schedule.now, self.wall().quality);
        let slow = if self.has(Kind::SlowModel) { 60_000 } else { 400 };
        let fails = self.has(Kind::BadModel) && self.random.u8(..3) == 0;
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let Some(work) = gateway.at_engine.pop_front() else { return Ok(()) };
        if !gateway.at_engine.is_empty() {
            self.schedule.after(self.random.u64(1..slow), Happening::Judged { boot: self.boot });
        }
        let overdue = (work.deadline < now).then_some(FailureReason::Deadline);
        let outcome = judge(&work, overdue.or(fails.then_some(FailureReason::NonFinite)));
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

    pub(crate) fn append(&mut self, lane: usize, payload: &[u8]) -> Result<(), Stop> {
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

    pub(crate) fn sync(&mut self) -> Result<(), Stop> {
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
            self.reference.synced(index, gateway.outbox.durable(lane).0)?;
        }
        // The forwarder hears of it on another task, and may read more before it does.
        gateway.untold = true;
        self.schedule.after(self.random.u64(0..300), Happening::Told { boot: self.boot });
        Ok(())
    }

    pub(crate) fn told(&mut self) {
        let Some(gateway) = &mut self.gateway else { return };
        gateway.untold = false;
        for (number, lane) in (0_u8..).zip(Lane::ALL) {
            gateway.session.durable(number, gateway.outbox.durable(lane).0);
        }
    }

    /// Sorts the errors of the outbox as its shell does.
    pub(crate) fn tolerate<T>(&self, result: Result<T, OutboxError>) -> Result<Option<T>, Stop> {
        match result {
            _ if self.disk.is_off() => Err(Stop::Power),
            Ok(value) => Ok(Some(value)),
            Err(error) if error.action() == Action::Retry => Ok(None),
            Err(_) => Err(Stop::Restart),
        }
    }

    pub(crate) fn send_all(&mut self) -> Result<(), Stop> {
        let day = Day::of(self.wall());
        for _ in 0..TURNS_MAX {
            let now = self.schedule.now;
            let Some(gateway) = &mut self.gateway else { return Ok(()) };
            let Some(fetch) = gateway.session.next(now, day) else { return Ok(()) };
            self.send(&fetch, day)?;
        }
        Err(Stop::Violation("the forwarder spins".to_owned()))
    }

    pub(crate) fn send(&mut self, fetch: &Fetch, day: Day) -> Result<(), Stop> {
        let (now, lane) = (self.schedule.now, usize::from(fetch.lane));
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let mut records = Vec::new();
        let bytes_max = usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX);
        let records_max = usize::try_from(fetch.records_max).unwrap_or(usize::MAX);
        let (from, upto) = (Seq(fetch.from), Seq(u64::MAX));
        let read = gateway.outbox.read(Lane::ALL[lane], from, upto, records_max, bytes_max, &mut records);
        if self.tolerate(read)?.is_none() {
            return Ok(());
        }
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let durable = gateway.outbox.durable(Lane::ALL[lane]).0;
        if self.planted != Planted::StaleDurable {
            gateway.session.durable(fetch.lane, durable);
        }
        let Some(last) = records.last().map(|record| record.seq.0) else {
            let advance = gateway.session.skip(fetch, durable, now);
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
    pub(crate) fn arrive(&mut self, key: (u32, u64), connection: u32) -> Result<(), Stop> {
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

    pub(crate) fn ack(&mut self, token: u64) -> Result<(), Stop> {
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

    pub(crate) fn advance(&mut self, advance: Option<Advance>) -> Result<(), Stop> {
        let Some(Advance { lane, upto }) = advance else { return Ok(()) };
        let index = usize::from(lane);
        self.reference.advance(index, upto)?;
        let advanced =
            self.gateway.as_mut().map(|gateway| gateway.outbox.advance(Lane::ALL[index], Seq(upto)));
        self.tolerate(advanced.transpose()).map(drop)
    }

    pub(crate) fn lose_link(&mut self) {
        if self.connection.take().is_some()
            && let Some(gateway) = &mut self.gateway
        {
            gateway.session.disconnected(self.schedule.now, self.random.f64());
        }
    }
}
