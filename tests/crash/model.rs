//! The queue as it should be: what may be on disk, what must be, and what was done with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, UtcTime};
use tidegate::outbox::{
    Appended, Coarsen, Coarsened, Lane, Outbox, OutboxConfig, OutboxError, Record, Seq, WhenFull,
};
use tidegate::tally::DropReason;
use tidegate::units::Bytes;

use crate::crash_disk::{Coin, CrashDisk, Lie, Remains};

/// A board without a clock: the epochs of a test count from 1.
pub(crate) const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

/// One call of the outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A record with a payload of this length, or 4 if that is more.
    Append(Lane, usize),
    Sync,
    /// Acknowledges all but this many of the durable records.
    Ack(Lane, u64),
    /// Acknowledges so many records behind the next so many, which wait.
    Settle(Lane, u64, u64),
    Checkpoint,
    /// Keeps a note of this length.
    Remember(usize),
    Expire,
    /// Draws an old segment together.
    Coarsen(Lane),
    /// The process dies and comes back; the power stays.
    Restart,
}

/// What records drawn together begin with; their numbers in the script follow.
const SUMMARY: &[u8; 4] = b"SUMM";

/// Draws all records of a segment together into one that lists them.
#[derive(Debug, Default)]
struct Draw {
    taken: Vec<u32>,
    emitted: Vec<Vec<u8>>,
}

impl Coarsen for Draw {
    fn take(&mut self, payload: &[u8], _at: EventTime) {
        self.taken.extend(told(payload));
    }

    fn finish(&mut self, emit: &mut dyn FnMut(&[u8], EventTime)) {
        let taken = std::mem::take(&mut self.taken);
        for part in taken.chunks(9) {
            let payload =
                [&SUMMARY[..], &part.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<_>>()].concat();
            emit(&payload, EARLIEST_PLAUSIBLE);
            self.emitted.push(payload);
        }
    }
}

/// The numbers in the script of the records that a record stands for.
fn told(payload: &[u8]) -> Vec<u32> {
    let words = |bytes: &[u8]| {
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    if let Some(number) = number_of_format_1(payload) {
        return vec![number];
    }
    payload.strip_prefix(SUMMARY).map_or_else(|| words(&payload[..4]), words)
}

/// The directory of format 1 has records that say `LANE NUMBER xxx`.
fn number_of_format_1(payload: &[u8]) -> Option<u32> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    let lane = words.next()?;
    let lane = Lane::ALL.iter().position(|known| known.as_str() == lane)?;
    Some(u32::try_from(lane + 1).ok()? << 24 | words.next()?.parse::<u32>().ok()?)
}

/// What must be true of one lane.
#[derive(Clone, Debug, Default)]
struct LaneModel {
    /// Every record that may be on disk, by number.
    appended: BTreeMap<u64, Vec<u8>>,
    durable: u64,
    /// Acknowledged or dropped, at most.
    done: u64,
    /// Acknowledged beyond, at most.
    settled: BTreeSet<u64>,
    /// What the cursor durably says, at least.
    saved: u64,
    /// What it durably says beyond, at least.
    saved_beyond: BTreeSet<u64>,
}

/// The queue as it should be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    lanes: [LaneModel; 3],
    pub(crate) epoch: u32,
    pub(crate) payloads: u64,
    /// What was remembered, and what may be remembered instead.
    note: (Vec<u8>, Vec<u8>),
    /// Records of each lane that had been dropped for space or age before the last operation, and whether that may drop.
    dropped: [u64; 3],
    may_drop: bool,
    /// There may be holes.
    mixed: bool,
}

/// Short segments in little room.
pub(crate) fn config() -> OutboxConfig {
    let segment_bytes = Bytes(2048);
    OutboxConfig {
        segment_bytes,
        size_max: OutboxConfig::size_min(segment_bytes),
        age_max: Duration::from_secs(100),
        when_full: WhenFull::DropOldest,
        ..OutboxConfig::default()
    }
}

fn index(lane: Lane) -> usize {
    Lane::ALL.iter().position(|&known| known == lane).unwrap()
}

/// An empty disk.
pub(crate) fn empty(lie: Lie) -> (CrashDisk, Model) {
    (CrashDisk::new(lie), Model::default())
}

/// A disk with the directory that the last program of format 1 has left.
pub(crate) fn format_1(lie: Lie) -> (CrashDisk, Model) {
    let (disk, mut model) = empty(lie);
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/outbox-1");
    for entry in std::fs::read_dir(golden).unwrap() {
        let entry = entry.unwrap();
        disk.put(entry.file_name().to_str().unwrap(), &std::fs::read(entry.path()).unwrap());
    }
    model.epoch = 2;
    for (lane, first, last) in [(Lane::Alarm, 2, 3), (Lane::Normal, 56, 120), (Lane::Bulk, 1, 60)] {
        let payload = |number: u64| {
            let filling = usize::try_from(number * 7 % 90).unwrap();
            format!("{} {number} {}", lane.as_str(), "x".repeat(filling)).into_bytes()
        };
        let appended = (first..=last).map(|number| (number, payload(number))).collect();
        let (durable, done) = (last, first - 1);
        model.lanes[index(lane)] = LaneModel { appended, durable, done, saved: done, ..LaneModel::default() };
    }
    (disk, model)
}

impl Model {
    fn payload(&mut self, len: usize) -> Vec<u8> {
        self.payloads += 1;
        let mut coin = Coin(self.payloads);
        let mut payload = u32::try_from(self.payloads).unwrap().to_le_bytes().to_vec();
        payload.extend((4..len).map(|_| u8::try_from(coin.below(256)).unwrap()));
        payload
    }

    fn time(&self) -> EventTime {
        EARLIEST_PLAUSIBLE.after(Duration::from_secs(self.payloads))
    }

    fn open(&self, disk: &CrashDisk, entropy: u64) -> Result<Outbox<CrashDisk>, OutboxError> {
        let outbox = Outbox::open(disk.clone(), config(), entropy, NO_CLOCK)?.outbox;
        assert!(outbox.epoch() > self.epoch, "epoch {} after {}", outbox.epoch(), self.epoch);
        Ok(outbox)
    }

    /// Runs a script until its end or the power cut.
    pub(crate) fn run_all(&mut self, disk: &CrashDisk, script: &[Op]) {
        self.may_drop = false;
        let entropy = 0xface ^ self.payloads << 8 ^ u64::from(self.epoch);
        let Ok(mut outbox) = self.open(disk, entropy) else {
            assert!(disk.is_off(), "opening fails only without power");
            return;
        };
        self.epoch = outbox.epoch();
        for &op in script {
            if self.run(&mut outbox, disk, op).is_err() || disk.is_off() {
                assert!(disk.is_off(), "{op:?} fails only without power");
                return;
            }
        }
    }

    /// Runs one operation; the error is the power going, anything else is a violation.
    pub(crate) fn run(
        &mut self,
        outbox: &mut Outbox<CrashDisk>,
        disk: &CrashDisk,
        op: Op,
    ) -> Result<(), OutboxError> {
        let nearly_full = outbox.used().0 + 2 * 4096 > config().size_max.0;
        self.may_drop =
            matches!(op, Op::Expire) || nearly_full && matches!(op, Op::Append(..) | Op::Coarsen(_));
        self.dropped = Lane::ALL.map(|lane| dropped(outbox, lane));
        match op {
            Op::Append(lane, len) => self.append(outbox, disk, lane, len)?,
            Op::Sync => outbox.sync()?,
            Op::Ack(lane, behind) => {
                let upto = outbox.durable(lane).0.saturating_sub(behind);
                let model = &mut self.lanes[index(lane)];
                model.done = model.done.max(upto);
                outbox.advance(lane, Seq(upto))?;
            }
            Op::Settle(lane, skip, count) => {
                let from = outbox.acked(lane).0 + 1 + skip;
                let upto = (from + count).min(outbox.durable(lane).0);
                self.lanes[index(lane)].settled.extend(from..=upto);
                outbox.settle(lane, Seq(from), Seq(upto))?;
            }
            Op::Checkpoint => {
                outbox.checkpoint()?;
                for lane in Lane::ALL {
                    let model = &mut self.lanes[index(lane)];
                    model.saved = outbox.acked(lane).0;
                    model.saved_beyond =
                        outbox.done(lane).iter().flat_map(|range| range.0..=range.1).collect();
                }
            }
            Op::Remember(len) => {
                self.note.1 = self.payload(len);
                outbox.remember(&self.note.1)?;
                self.note.0.clone_from(&self.note.1);
            }
            Op::Coarsen(lane) => self.coarsen(outbox, lane)?,
            Op::Restart => {
                *outbox = self.open(disk, 0xcafe ^ self.payloads << 8)?;
                self.epoch = outbox.epoch();
            }
            Op::Expire => {
                let micros = self.time().0;
                outbox.expire(UtcTime { micros, quality: ClockQuality::Synced })?;
            }
        }
        self.follow(outbox);
        Ok(())
    }

    fn append(
        &mut self,
        outbox: &mut Outbox<CrashDisk>,
        disk: &CrashDisk,
        lane: Lane,
        len: usize,
    ) -> Result<(), OutboxError> {
        let (payload, at) = (self.payload(len), self.time());
        let seq = outbox.stat(lane)?.appended.0 + 1;
        self.lanes[index(lane)].appended.insert(seq, payload.clone());
        match outbox.append(lane, &payload, at)? {
            Appended::Stored(stored) => assert_eq!(stored, Seq(seq)),
            // Without power nobody can tell how much of it was written.
            Appended::Rejected(_) if disk.is_off() => {}
            Appended::Rejected(_) => drop(self.lanes[index(lane)].appended.remove(&seq)),
        }
        Ok(())
    }

    fn coarsen(&mut self, outbox: &mut Outbox<CrashDisk>, lane: Lane) -> Result<(), OutboxError> {
        let mut draw = Draw::default();
        let from = outbox.stat(lane)?.appended.0 + 1;
        let coarsened = outbox.coarsen(lane, &mut draw);
        let model = &mut self.lanes[index(lane)];
        let (numbers, emitted) = (from.., draw.emitted);
        let gone: BTreeSet<u32> = emitted.iter().flat_map(|payload| told(payload)).collect();
        if let Ok(Coarsened::Done { .. }) = coarsened {
            model.appended.retain(|_, payload| !gone.contains(&told(payload)[0]));
        }
        if !matches!(coarsened, Ok(Coarsened::NoGain | Coarsened::Nothing)) {
            // Also after an error: they may have been written.
            model.appended.extend(numbers.zip(emitted));
        }
        coarsened.map(drop)
    }

    /// Takes over what the outbox says it has promised.
    fn follow(&mut self, outbox: &Outbox<CrashDisk>) {
        for lane in Lane::ALL {
            let model = &mut self.lanes[index(lane)];
            assert!(outbox.durable(lane).0 >= model.durable, "{lane:?}: durable falls");
            model.durable = outbox.durable(lane).0;
            model.done = model.done.max(outbox.acked(lane).0);
            // Of more than eight ranges the smallest may be forgotten.
            let mut lengths: Vec<u64> = outbox.done(lane).iter().map(|range| range.1 - range.0 + 1).collect();
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            let longer_than = lengths.get(8).copied().unwrap_or(0);
            let is_done = |seq: u64| {
                let mut kept = outbox.done(lane).iter().filter(|range| range.1 - range.0 >= longer_than);
                kept.any(|range| (range.0..=range.1).contains(&seq))
            };
            model.saved_beyond.retain(|&seq| seq <= outbox.acked(lane).0 || is_done(seq));
        }
        assert!(outbox.tally().balances(outbox.held()), "{:?} held {}", outbox.tally(), outbox.held());
    }

    /// Opens what remains and compares it with the queue. On success the queue is what was recovered.
    pub(crate) fn check(&mut self, disk: &CrashDisk, remains: Remains) -> Result<Outbox<CrashDisk>, String> {
        let entropy = u64::from(self.epoch) << 20 | self.payloads;
        let opened =
            Outbox::open(disk.clone(), config(), entropy, NO_CLOCK).map_err(|e| format!("open: {e:?}"))?;
        let (mut outbox, recovered) = (opened.outbox, opened.recovered);
        if outbox.epoch() <= self.epoch {
            return Err(format!("epoch {} after {}", outbox.epoch(), self.epoch));
        }
        self.epoch = outbox.epoch();
        let mut count = 0;
        for lane in Lane::ALL {
            let records = read_all(&mut outbox, lane);
            count += records.len() as u64;
            self.check_lane(lane, &outbox, &records)?;
            let model = &mut self.lanes[index(lane)];
            model.appended = records.into_iter().map(|record| (record.seq.0, record.payload)).collect();
            model.durable = outbox.durable(lane).0;
            model.done = outbox.acked(lane).0;
        }
        // Sectors may come back in any order, so that holes in what was not durable look like damage, then and later.
        self.mixed |= matches!(remains, Remains::Sectors(_) | Remains::Pages(_));
        let damaged = outbox.tally().dropped(DropReason::Damaged);
        if damaged > 0 && !self.mixed {
            return Err(format!("damage where there is none: {damaged}, {recovered:?}"));
        }
        if count != outbox.held() || !outbox.tally().balances(count) {
            return Err(format!("{count} records read, {recovered:?}, held {}", outbox.held()));
        }
        let note = outbox.remembered();
        if note != self.note.0 && note != self.note.1 {
            return Err(format!("a note of {} bytes that was never kept", note.len()));
        }
        self.note = (note.to_vec(), note.to_vec());
        if disk.bytes() as u64 > config().size_max.0 || outbox.used() > config().size_max {
            return Err(format!("{} on disk, {} known", disk.bytes(), outbox.used()));
        }
        Ok(outbox)
    }

    fn check_lane(&self, lane: Lane, outbox: &Outbox<CrashDisk>, records: &[Record]) -> Result<(), String> {
        let model = &self.lanes[index(lane)];
        let known = |record: &&Record| model.appended.get(&record.seq.0) == Some(&record.payload);
        if let Some(phantom) = records.iter().find(|record| !known(record)) {
            return Err(format!("{lane:?}: record {} was never stored", phantom.seq.0));
        }
        if !records.is_sorted_by(|a, b| a.seq < b.seq) {
            return Err(format!("{lane:?}: numbers do not rise"));
        }
        let mut told_of = BTreeSet::new();
        for id in records.iter().flat_map(|record| told(&record.payload)) {
            if !told_of.insert(id) {
                return Err(format!("{lane:?}: {id} is told of twice"));
            }
        }
        let promised = model.appended.range(model.done + 1..=model.durable.max(model.done + 1));
        let due = promised.filter(|(seq, _)| **seq <= model.durable && !model.settled.contains(seq));
        let mut lost = due.filter(|(_, payload)| told(payload).iter().any(|id| !told_of.contains(id)));
        // Counts of what was never taken may be lost with the power; those of what was durable are not.
        let newly = dropped(outbox, lane).saturating_sub(self.dropped[index(lane)]);
        let may_lose = if self.may_drop { newly } else { 0 };
        if let Some((lost, _)) = lost.nth(usize::try_from(may_lose).unwrap()) {
            return Err(format!("{lane:?}: durable record {lost} is lost"));
        }
        if outbox.acked(lane).0 < model.saved {
            return Err(format!("{lane:?}: the cursor fell back"));
        }
        if let Some(again) = records.iter().find(|record| model.saved_beyond.contains(&record.seq.0)) {
            return Err(format!("{lane:?}: record {} was done with, durably", again.seq.0));
        }
        let durable = outbox.durable(lane).0;
        if durable < model.durable.max(model.done) {
            return Err(format!("{lane:?}: number {durable} comes again"));
        }
        Ok(())
    }
}

/// Records of a lane that were dropped for space or age.
fn dropped(outbox: &Outbox<CrashDisk>, lane: Lane) -> u64 {
    outbox.gaps(lane).counts[..2].iter().sum()
}

fn read_all(outbox: &mut Outbox<CrashDisk>, lane: Lane) -> Vec<Record> {
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    loop {
        let from = all.last().map_or(Seq(0), |record: &Record| record.seq.next());
        outbox.read(lane, from, Seq(u64::MAX), 7, 900, &mut batch).unwrap();
        if batch.is_empty() {
            return all;
        }
        all.append(&mut batch);
    }
}
