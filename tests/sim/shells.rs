//! The shells' part of the work, as in `src/runtime/`, on one thread: what comes in, models, disk, link.

use std::time::Duration;

use tidegate::clock::EventTime;
use tidegate::flow::{FailureReason, MemoryReading, Priority};
use tidegate::forward::{Day, Fetch, Loss, Moment, Settled, Token, Withheld};
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
use crate::world::{Promised, Stop, World};

/// Processor time of a judgement.
const SPENT: Duration = Duration::from_millis(1);

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
                memory: MemoryReading { used: Bytes(10 << 20), ..MemoryReading::default() },
                ..Readings::default()
            });
            gateway.pipeline.set_budget(budget);
        }
        if self.ticks.is_multiple_of(2) && gateway.outbox.needs_mending() {
            let mend = |gateway: &mut Gateway| Ok(gateway.outbox.mend());
            self.dropping(mend, DropReason::OutboxFull, |_| false)?;
            self.synced()?;
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
        let level = level && self.reference.is_plain();
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
        self.count_traffic();
        let now = self.moment();
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        if gateway.session.due(now) {
            if let Some(promised) = self.promised.take_if(|promised| promised.boot != self.boot)
                && promised.until > now.up
            {
                return Err(Stop::Violation(format!("connects {:?} early", promised.until.since(now.up))));
            }
            gateway.session.connecting(now);
            self.carried = (0, 0);
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
        self.write_note()?;
        // What waited for the grant goes now.
        self.send_all()?;
        self.put_aside()?;
        let close = self.gateway.as_mut().and_then(|gateway| gateway.session.close(now));
        if let Some(loss) = close {
            self.lose_link(loss);
        }
        self.write_note()
    }

    /// The outbox keeps what a restart must know.
    fn write_note(&mut self) -> Result<(), Stop> {
        while let Some((gateway, note)) =
            self.gateway.as_mut().and_then(|gateway| gateway.session.note().map(|note| (gateway, note)))
        {
            let written = gateway.outbox.remember(&note);
            let written = self.tolerate(written)?.is_some();
            let (boot, now) = (self.boot, self.schedule.now);
            let Some(gateway) = &mut self.gateway else { return Ok(()) };
            gateway.session.noted(written);
            self.unwritten |= !written;
            let status = gateway.session.status();
            let until = status.next_attempt.filter(|until| *until > now && status.failures > 0);
            self.promised = until.filter(|_| written).map(|until| Promised { boot, until });
        }
        Ok(())
    }

    /// Records at which the broker dies are stored elsewhere.
    fn put_aside(&mut self) -> Result<(), Stop> {
        while let Some((gateway, (lane, seq))) = self
            .gateway
            .as_mut()
            .filter(|_| self.planted != Planted::PoisonKept)
            .and_then(|gateway| gateway.session.culprit().map(|culprit| (gateway, culprit)))
        {
            let index = usize::from(lane);
            let wrong = u64::from(self.planted == Planted::NeighbourSetAside);
            let seq = seq.saturating_sub(wrong).max(1);
            self.may_drop = true;
            let stored = gateway.outbox.set_aside(Lane::ALL[index], Seq(seq));
            // Where the disk does not take it, it is dropped all the same, and counted.
            self.tolerate(stored)?;
            self.may_drop = false;
            self.reference.set_aside(index, seq, self.settings.poison)?;
            self.summary.aside += 1;
            let settled = self.gateway.as_mut().and_then(|gateway| gateway.session.set_aside(lane, seq));
            self.settle(settled)?;
        }
        Ok(())
    }

    /// Both clocks.
    pub(crate) fn moment(&self) -> Moment {
        Moment { up: self.schedule.now, utc: self.wall() }
    }

    /// Bytes pass the socket: counted for the day of the wall clock, and told to the session.
    pub(crate) fn carry(&mut self, sent: u64, received: u64) {
        self.carried.0 += sent;
        self.carried.1 += received;
        let day = Day::of(self.wall());
        *self.days.entry(day).or_default() += sent + received;
        if day != Day::UNSET
            && let Some(unset) = self.days.remove(&Day::UNSET)
        {
            // Nobody knew that it was this day.
            *self.days.entry(day).or_default() += unset;
        }
    }

    pub(crate) fn count_traffic(&mut self) {
        let now = self.moment();
        let (sent, received) = self.carried;
        if let Some(gateway) = &mut self.gateway
            && self.connection.is_some()
            && self.planted != Planted::TrafficUncounted
        {
            gateway.session.traffic(sent, received, now);
        }
    }

    pub(crate) fn feed(&mut self) {
        let now = self.schedule.now;
        let slow = if self.has(Kind::SlowModel) { 60_000 } else { 400 };
        let Some(gateway) = &mut self.gateway else { return };
        gateway.pipeline.tick(now);
        while let Some(batch) = gateway.pipeline.next_batch(now) {
            gateway.at_engine.push_back(batch);
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
        let Some(mut batch) = gateway.at_engine.pop_front() else { return Ok(()) };
        if !gateway.at_engine.is_empty() {
            self.schedule.after(self.random.u64(1..slow), Happening::Judged { boot: self.boot });
        }
        // Models here take one piece at a time.
        let work = batch.work.pop().ok_or("a batch of nothing".to_owned())?;
        gateway.pipeline.settle(batch, SPENT, now);
        let overdue = (work.deadline < now).then_some(FailureReason::Deadline);
        let outcome = judge(&work, overdue.or(fails.then_some(FailureReason::NonFinite)));
        let mut work = work;
        if let WorkInput::Window(window) = std::mem::replace(&mut work.input, WorkInput::Report) {
            gateway.pipeline.recycle(window);
        }
        let inference = inference(work, outcome, SPENT);
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
        // One lane may have failed, and the others not.
        self.tolerate(synced)?;
        self.synced()
    }

    /// More is durable than before.
    fn synced(&mut self) -> Result<(), Stop> {
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            self.reference.synced(index, gateway.outbox.durable(lane).0)?;
        }
        // The forwarder hears of it on another task, and may read more before it does.
        gateway.untold = true;
        self.schedule.after(self.random.u64(0..300), Happening::Told { boot: self.boot });
        Ok(())
    }

    pub(crate) fn told(&mut self) -> Result<(), Stop> {
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        gateway.untold = false;
        for (number, lane) in (0_u8..).zip(Lane::ALL) {
            let durable = gateway.outbox.durable(lane).0;
            self.reference.synced(usize::from(number), durable)?;
            gateway.session.durable(number, durable);
        }
        Ok(())
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
        for _ in 0..TURNS_MAX {
            let now = self.moment();
            let Some(gateway) = &mut self.gateway else { return Ok(()) };
            let Some(fetch) = gateway.session.next(now) else { return Ok(()) };
            self.send(&fetch)?;
        }
        Err(Stop::Violation("the forwarder spins".to_owned()))
    }

    pub(crate) fn send(&mut self, fetch: &Fetch) -> Result<(), Stop> {
        let (now, lane) = (self.moment(), usize::from(fetch.lane));
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let mut records = Vec::new();
        let bytes_max = usize::try_from(fetch.bytes_max).unwrap_or(usize::MAX);
        let records_max = usize::try_from(fetch.records_max).unwrap_or(usize::MAX);
        let ignored = self.planted == Planted::UptoIgnored;
        // On a disk that takes nothing more could be read, and sent; the reference knows what is durable.
        let durable = gateway.outbox.durable(Lane::ALL[lane]).0;
        let upto = if ignored { durable } else { durable.min(fetch.upto) };
        let (from, upto) = (Seq(fetch.from), Seq(upto));
        let read = gateway.outbox.read(Lane::ALL[lane], from, upto, records_max, bytes_max, &mut records);
        if self.tolerate(read)?.is_none() {
            if let Some(gateway) = &mut self.gateway {
                gateway.session.abandon(fetch, now);
            }
            return Ok(());
        }
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let Some(last) = records.last().map(|record| record.seq.0) else {
            let settled = gateway.session.skip(fetch, fetch.upto);
            return self.settle(settled);
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
        let packet = payload.len() as u64 + PUBLISH_BYTES;
        let token = match gateway.session.send(fetch, last, count, packet, now) {
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
        self.carry(packet, 0);
        self.broker.send((self.boot, token), lane, seqs, payload);
        if let Some(connection) = self.connection {
            self.sent_on.insert((self.boot, token), connection);
            self.schedule
                .after(self.random.u64(5..1_500), Happening::Arrive { boot: self.boot, connection, token });
        }
        Ok(())
    }

    /// A batch reaches the broker, unless its connection broke on the way and took it along.
    pub(crate) fn arrive(&mut self, key: (u32, u64), connection: u32) -> Result<(), Stop> {
        let (boot, token) = key;
        let broken = self.connection != Some(connection);
        let lost = self.random.bool() || self.has(Kind::Amnesia);
        if broken && lost || self.has(Kind::BrokerGone) {
            return Ok(());
        }
        if self.broker.dies(key, self.settings.poison)? {
            if !broken && self.settings.says_no {
                let refusal = Happening::Refuse { connection, token, content: true };
                self.schedule.after(self.random.u64(5..1_500), refusal);
            } else if !broken {
                self.summary.deaths += 1;
                self.lose_link(Loss::Closed);
            }
            return Ok(());
        }
        if broken {
            // It got through, and nobody hears of it.
            return Ok(self.broker.take(key, self.planted, &mut self.reference)?);
        }
        if self.has(Kind::Refusals) && self.random.bool() {
            self.schedule
                .after(self.random.u64(5..1_500), Happening::Refuse { connection, token, content: false });
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
        let now = self.moment();
        // Without a connection no acknowledgement arrives; with a later one a stale one may.
        let Some(connection) = self.connection else { return Ok(()) };
        if self.sent_on.get(&(self.boot, token)) == Some(&connection) {
            self.carry(0, PUBACK_BYTES);
            self.count_traffic();
        }
        let Some(gateway) = &mut self.gateway else { return Ok(()) };
        let packet = self.broker.packet((self.boot, token));
        if let Some(packet) = packet {
            self.reference.answered(packet.lane, &packet.seqs);
        }
        let mut settled = gateway.session.acked(Token(token), now);
        if self.planted == Planted::CursorJumps
            && let Some(packet) = packet
        {
            let lane = u8::try_from(packet.lane).unwrap();
            settled = packet.seqs.last().map(|last| Settled::Advance { lane, upto: *last });
        }
        self.settle(settled)
    }

    /// The outbox hears what is done with.
    pub(crate) fn settle(&mut self, settled: Option<Settled>) -> Result<(), Stop> {
        let told = match settled {
            None => return Ok(()),
            Some(Settled::Advance { lane, upto }) => {
                let index = usize::from(lane);
                self.reference.advance(index, upto)?;
                self.gateway.as_mut().map(|gateway| gateway.outbox.advance(Lane::ALL[index], Seq(upto)))
            }
            Some(Settled::Stretch { lane, from, upto }) => {
                let index = usize::from(lane);
                self.reference.settle(index, from, upto)?;
                self.summary.stretches += 1;
                self.gateway
                    .as_mut()
                    .map(|gateway| gateway.outbox.settle(Lane::ALL[index], Seq(from), Seq(upto)))
            }
        };
        self.tolerate(told.transpose()).map(drop)
    }

    /// The broker welcomes us; the first word on the connection is that we are there.
    pub(crate) fn welcome(&mut self, connection: u32) {
        self.carry(HELLO_BYTES, WELCOME_BYTES);
        self.count_traffic();
        let (now, boot) = (self.moment(), self.boot);
        let (receive_max, packet_max) = (self.random.u16(1..40), self.random.u32(1_000..9_000));
        let Some(gateway) = &mut self.gateway else { return };
        gateway.session.connected(now, Some(receive_max), Some(packet_max));
        if let Some(Token(token)) = gateway.session.extra(WORD_BYTES, now) {
            self.carry(WORD_BYTES, 0);
            self.sent_on.insert((boot, token), connection);
            self.schedule.after(self.random.u64(5..1_500), Happening::Ack { boot, token });
        }
    }

    pub(crate) fn lose_link(&mut self, loss: Loss) {
        self.count_traffic();
        let now = self.moment();
        if self.connection.take().is_some()
            && let Some(gateway) = &mut self.gateway
        {
            gateway.session.disconnected(now, self.random.f64(), loss);
        }
    }
}

/// Bytes around the payload of a publish, of an acknowledgement, of a handshake and of the first word.
const PUBLISH_BYTES: u64 = 30;
const PUBACK_BYTES: u64 = 4;
const HELLO_BYTES: u64 = 120;
const WELCOME_BYTES: u64 = 4;
const WORD_BYTES: u64 = 60;
