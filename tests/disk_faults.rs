//! Disks that are full, read-only, slow to recover or broken: is anything lost that was durable, is what is lost counted to
//! the record, and does everything go on when the disk does?
//!
//! `DISK_SEED=… cargo test --test disk_faults -- --nocapture` runs one seed and prints what happened.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::BTreeMap;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, UtcTime};
use tidegate::outbox::{Appended, Coarsen, DiskState, Lane, Outbox, OutboxConfig, Record, Seq, WhenFull};
use tidegate::units::Bytes;

#[path = "support/fault_disk.rs"]
mod fault_disk;
use fault_disk::{Deed, EDQUOT, EIO, ENOSPC, EROFS, Fault, FaultDisk, Planted};

const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

/// The worker asks the outbox to mend this often, and to sync.
const MEND_EVERY_MS: u64 = 2_000;
const SYNC_EVERY_MS: u64 = 200;

/// What is promised: everything is on the disk so soon after it works again.
const RESUME_MS: u64 = 5_000;

const CYCLES: u32 = 1_000;

/// Room on the disk: the outbox and as much again.
const CAPACITY: usize = 1 << 20;

fn config(when_full: WhenFull) -> OutboxConfig {
    OutboxConfig {
        segment_bytes: Bytes(4096),
        size_max: Bytes(64 * 4096),
        free_min: Bytes(8192),
        when_full,
        ..OutboxConfig::default()
    }
}

fn seed() -> u64 {
    std::env::var("DISK_SEED").map_or(0x7159, |seed| seed.parse().expect("a number"))
}

/// What should be in a lane.
#[derive(Clone, Debug, Default)]
struct Model {
    stored: BTreeMap<u64, Vec<u8>>,
    durable: u64,
    acked: u64,
}

/// Sums over a run.
#[derive(Debug, Default)]
struct Counts {
    faults: BTreeMap<&'static str, u32>,
    stored: u64,
    alarms: u64,
    dropped: u64,
    dropped_alarms: u64,
    refused: u64,
    cuts: u32,
    floods: u32,
    failed_syncs: u64,
    held_max: u64,
    slowest_resume_ms: u64,
}

/// An outbox on a disk that fails, its clock, and what should be in it.
struct World {
    disk: FaultDisk,
    outbox: Outbox<FaultDisk>,
    when_full: WhenFull,
    lanes: [Model; 3],
    now_ms: u64,
    mended_ms: u64,
    random: fastrand::Rng,
    /// Losses to be told when the outbox was opened, and those of this opening that were checked.
    gaps_opened: u64,
    checked: u64,
    /// Records refused since the last check.
    refused: u64,
    counts: Counts,
}

impl World {
    fn new(seed: u64, when_full: WhenFull, planted: Planted) -> Self {
        let disk = FaultDisk::new(CAPACITY, planted);
        let outbox = Outbox::open(disk.clone(), config(when_full), seed, NO_CLOCK).unwrap().outbox;
        Self {
            disk,
            outbox,
            when_full,
            lanes: Default::default(),
            now_ms: 0,
            mended_ms: 0,
            random: fastrand::Rng::with_seed(seed),
            gaps_opened: 0,
            checked: 0,
            refused: 0,
            counts: Counts::default(),
        }
    }

    fn gaps(&self) -> u64 {
        Lane::ALL.iter().map(|&lane| self.outbox.gaps(lane).counts.iter().sum::<u64>()).sum()
    }

    fn store(&mut self, lane: Lane, len: usize) {
        let payload: Vec<u8> = (0..len).map(|_| self.random.u8(..)).collect();
        let at = EventTime(EARLIEST_PLAUSIBLE.0 + i64::try_from(self.now_ms).unwrap() * 1_000);
        match self.outbox.append(lane, &payload, at).unwrap() {
            Appended::Stored(seq) => {
                assert!(self.lanes[lane as usize].stored.insert(seq.0, payload).is_none(), "{seq:?} twice");
                self.counts.stored += 1;
                self.counts.alarms += u64::from(lane == Lane::Alarm);
            }
            Appended::Rejected(_) => {
                self.refused += 1;
                self.counts.refused += 1;
                self.counts.dropped_alarms += u64::from(lane == Lane::Alarm);
            }
        }
    }

    /// Time passes as for the worker: sync, and now and then mend.
    fn pass(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += SYNC_EVERY_MS;
            drop(self.outbox.sync());
            if self.outbox.needs_mending() && self.now_ms >= self.mended_ms + MEND_EVERY_MS {
                self.mended_ms = self.now_ms;
                self.outbox.mend();
            }
        }
    }

    fn read(&mut self, lane: Lane) -> Vec<Record> {
        let mut records = Vec::new();
        self.outbox.read(lane, Seq(0), Seq(u64::MAX), usize::MAX, usize::MAX, &mut records).unwrap();
        records
    }

    /// Delivers a part of what can be read: from the front, or out of turn.
    fn deliver(&mut self, lane: Lane) {
        let records = self.read(lane);
        let Some(count) = records.len().checked_sub(1).map(|most| self.random.usize(..=most)) else { return };
        if self.random.u8(..4) == 0 {
            let (from, upto) = (records[count].seq, records[records.len() - 1].seq);
            // A cursor that cannot be written is written later.
            drop(self.outbox.settle(lane, from, upto));
            // Written and not durable: the outbox forgets that it was delivered out of turn, it comes again.
            let again: Vec<u64> = self.read(lane).iter().map(|record| record.seq.0).collect();
            let is_done = |seq: &u64| (from.0..=upto.0).contains(seq) && !again.contains(seq);
            self.lanes[lane as usize].stored.retain(|seq, _| !is_done(seq));
        } else {
            let upto = records[count].seq;
            drop(self.outbox.advance(lane, upto));
            let model = &mut self.lanes[lane as usize];
            model.stored.retain(|seq, _| *seq > upto.0);
            model.acked = model.acked.max(upto.0);
        }
    }

    /// Everything stored can be read, or was dropped and counted; nothing else can.
    fn check(&mut self) -> Result<(), String> {
        drop(self.outbox.sync());
        let (tally, held) = (self.outbox.tally().clone(), self.outbox.held());
        if !tally.balances(held) {
            return Err(format!("{tally:?} and {held} held do not balance"));
        }
        let mut missing = 0;
        for lane in Lane::ALL {
            let records = self.read(lane);
            let model = &mut self.lanes[lane as usize];
            let found: BTreeMap<u64, Vec<u8>> =
                records.into_iter().map(|record| (record.seq.0, record.payload)).collect();
            if let Some(seq) = found.iter().find(|(seq, bytes)| model.stored.get(*seq) != Some(*bytes)) {
                return Err(format!("{lane:?}: record {} is not what was stored, or done with", seq.0));
            }
            let lost = (model.stored.len() - found.len()) as u64;
            missing += lost;
            self.counts.dropped_alarms += if lane == Lane::Alarm { lost } else { 0 };
            model.stored = found;
            model.durable = self.outbox.durable(lane).0;
        }
        self.counts.dropped += missing;
        let dropped = tally.dropped_total() - self.checked;
        if missing + self.refused != dropped {
            return Err(format!("{missing} records missing, {} refused, {dropped} counted", self.refused));
        }
        self.refused = 0;
        self.checked += dropped;
        let untold = self.gaps();
        if untold != self.gaps_opened + self.checked {
            return Err(format!("{untold} losses to be told, not {} and {}", self.gaps_opened, self.checked));
        }
        self.counts.held_max = self.counts.held_max.max(self.outbox.held_bytes().0);
        Ok(())
    }

    /// The power goes; what is durable must be there.
    fn cut(&mut self, during: &str) -> Result<(), String> {
        for lane in Lane::ALL {
            self.lanes[lane as usize].durable = self.outbox.durable(lane).0;
        }
        let failed_syncs = self.outbox.failed_syncs();
        self.counts.failed_syncs += failed_syncs;
        self.disk.cut();
        self.disk.mend();
        let entropy = self.random.u64(..);
        let opened = Outbox::open(self.disk.clone(), config(self.when_full), entropy, NO_CLOCK);
        self.outbox = opened.map_err(|error| format!("open: {error:?}"))?.outbox;
        for lane in Lane::ALL {
            let found: BTreeMap<u64, Vec<u8>> =
                self.read(lane).into_iter().map(|record| (record.seq.0, record.payload)).collect();
            let model = &mut self.lanes[lane as usize];
            let mut due = model.stored.range(..=model.durable);
            if let Some((lost, _)) = due.find(|(seq, bytes)| found.get(*seq) != Some(*bytes)) {
                return Err(format!("{during}: {lane:?}: durable record {lost} is lost"));
            }
            // What was delivered and the cursor does not know yet comes again.
            let is_known =
                |seq: &u64, bytes: &Vec<u8>| model.stored.get(seq).is_none_or(|stored| stored == bytes);
            if let Some((seq, _)) = found.iter().find(|(seq, bytes)| !is_known(seq, bytes)) {
                return Err(format!("{during}: {lane:?}: record {seq} changed"));
            }
            model.stored = found;
        }
        (self.mended_ms, self.refused) = (self.now_ms, 0);
        self.checked = self.outbox.tally().dropped_total();
        self.gaps_opened = self.gaps() - self.checked;
        self.counts.cuts += 1;
        Ok(())
    }
}

/// Everything a disk is asked to change.
const ALL: &[Deed] = &[Deed::Create, Deed::Write, Deed::Sync, Deed::Rename, Deed::SyncDir, Deed::Remove];

/// The faults, by name; `None` is a disk that somebody else has filled.
fn fault(random: &mut fastrand::Rng) -> (&'static str, Option<Fault>) {
    const EVER: u32 = u32::MAX;
    let fault = |deeds, errno, after, times| Some(Fault { deeds, errno, after, times });
    let after = random.u32(..12);
    match random.u8(..11) {
        0 => ("full", None),
        1 => ("quota", fault(&[Deed::Create, Deed::Write], EDQUOT, 0, EVER)),
        2 => ("read-only", fault(&[Deed::Create, Deed::Write, Deed::Rename, Deed::Remove], EROFS, 0, EVER)),
        3 => ("write EIO", fault(&[Deed::Write], EIO, after, EVER)),
        4 => ("sync EIO", fault(&[Deed::Sync], EIO, after, EVER)),
        5 => ("rename EIO", fault(&[Deed::Rename], EIO, after, EVER)),
        6 => ("directory sync EIO", fault(&[Deed::SyncDir], EIO, 0, EVER)),
        7 => ("one sync EIO", fault(&[Deed::Sync], EIO, after, 1)),
        // A file system that needs room even to write in place.
        8 => ("no room to write", fault(&[Deed::Create, Deed::Write], ENOSPC, after, EVER)),
        9 => ("two syncs EIO", fault(&[Deed::Sync, Deed::SyncDir], EIO, after, 2)),
        _ => ("gone", fault(ALL, EIO, 0, EVER)),
    }
}

/// One fault: the disk fails, records come, some are delivered, the disk works again, and now and then the power goes.
fn cycle(world: &mut World, number: u32) -> Result<(), String> {
    let (name, fault) = fault(&mut world.random);
    *world.counts.faults.entry(name).or_default() += 1;
    let is_flood = number % 40 == 39;
    world.counts.floods += u32::from(is_flood);
    let (dropped_alarms, lasting) = (world.counts.dropped_alarms, fault.is_none());
    match fault {
        Some(fault) => world.disk.fail(fault),
        None => world.disk.fill(world.random.usize(..12_000)),
    }
    for _ in 0..world.random.u32(2..10) {
        for _ in 0..if is_flood { 220 } else { world.random.u32(..8) } {
            let lane = if is_flood {
                Lane::ALL[world.random.usize(1..3)]
            } else {
                Lane::ALL[world.random.usize(..3)]
            };
            let len = if is_flood { 1_200 } else { world.random.usize(1..900) };
            world.store(lane, len);
        }
        world.store(Lane::Alarm, 60);
        let turns = world.random.u64(1..20);
        world.pass(SYNC_EVERY_MS * turns);
        world.check().map_err(|fault| format!("{name}: {fault}"))?;
        let lane = world.random.usize(..3);
        world.deliver(Lane::ALL[lane]);
        world.check().map_err(|fault| format!("{name}, delivered: {fault}"))?;
    }
    if world.counts.dropped_alarms > dropped_alarms {
        return Err(format!("{name}: alarms were dropped, {lasting}"));
    }
    if world.random.u8(..4) == 0 {
        world.cut(name)?;
    }
    world.disk.mend();
    let mended = world.now_ms;
    while world.outbox.needs_mending() {
        world.pass(SYNC_EVERY_MS);
        if world.now_ms - mended > RESUME_MS {
            return Err(format!("{name}: {:?} after {RESUME_MS} ms", world.outbox.disk_state()));
        }
    }
    world.counts.slowest_resume_ms = world.counts.slowest_resume_ms.max(world.now_ms - mended);
    world.pass(SYNC_EVERY_MS);
    for lane in Lane::ALL {
        let (durable, appended) = (world.outbox.durable(lane), world.outbox.appended(lane));
        if durable != appended || world.outbox.disk_state() != DiskState::Ok {
            return Err(format!("{name}: {lane:?} durable up to {durable:?} of {appended:?}"));
        }
    }
    world.check().map_err(|fault| format!("{name}, mended: {fault}"))?;
    if world.random.u8(..4) == 0 {
        world.cut("mended")?;
        world.check().map_err(|fault| format!("{name}, cut: {fault}"))?;
    }
    for lane in Lane::ALL {
        // Most is delivered while all is well.
        drop(world.outbox.advance(lane, world.outbox.durable(lane)));
        world.lanes[lane as usize].stored.clear();
    }
    world.check().map_err(|fault| format!("{name}, emptied: {fault}"))
}

fn run(seed: u64, when_full: WhenFull, planted: Planted, cycles: u32) -> Result<World, String> {
    let mut world = World::new(seed, when_full, planted);
    for number in 0..cycles {
        cycle(&mut world, number)
            .map_err(|fault| format!("DISK_SEED={seed}, {when_full:?}, cycle {number}: {fault}"))?;
    }
    Ok(world)
}

#[test]
fn a_thousand_faults_lose_nothing_durable_no_alarm_and_no_count() {
    let seed = seed();
    for when_full in [WhenFull::DropOldest, WhenFull::RejectNew] {
        let world = run(seed, when_full, Planted::None, CYCLES).unwrap();
        let (counts, failed) = (&world.counts, world.disk.failed());
        println!("DISK seed {seed}, {when_full:?}: {CYCLES} cycles, failed {failed:?}, {counts:?}");
        assert_eq!(counts.dropped_alarms, 0);
        assert!(counts.faults.len() == 11 && counts.cuts > 100 && counts.stored > 20_000, "{counts:?}");
        assert!(counts.slowest_resume_ms <= RESUME_MS);
        assert!(counts.dropped + counts.refused > 0, "memory was never full: {counts:?}");
    }
}

/// The same world with a program that asks again after a failed sync, and believes the answer.
#[test]
fn a_sync_that_is_asked_again_and_believed_is_noticed() {
    let seed = seed();
    let Err(fault) = run(seed, WhenFull::DropOldest, Planted::RetrySync, CYCLES) else {
        panic!("nobody noticed")
    };
    println!("DISK planted: {fault}");
    assert!(fault.contains("is lost"), "{fault}");
}

/// Puts the sum of what it takes in its place.
#[derive(Default)]
struct Sum(u64, Option<EventTime>);

impl Coarsen for Sum {
    fn take(&mut self, payload: &[u8], at: EventTime) {
        self.0 += weight(payload);
        self.1.get_or_insert(at);
    }

    fn finish(&mut self, emit: &mut dyn FnMut(&[u8], EventTime)) {
        let Self(sum, at) = std::mem::take(self);
        if let Some(at) = at {
            emit(&sum.to_le_bytes(), at);
        }
    }
}

/// How many records a record stands for: for one, or for those that it is the sum of.
fn weight(payload: &[u8]) -> u64 {
    payload.try_into().map_or(1, u64::from_le_bytes)
}

/// What is in the lane, after a look at the accounts.
fn drawn(outbox: &mut Outbox<FaultDisk>, when: &str) -> Vec<Record> {
    let mut found = Vec::new();
    outbox.read(Lane::Bulk, Seq(1), Seq(u64::MAX), usize::MAX, usize::MAX, &mut found).unwrap();
    assert_eq!(found.len() as u64, outbox.held(), "{when}");
    assert!(outbox.tally().balances(outbox.held()), "{when}: {:?}, held {}", outbox.tally(), outbox.held());
    found
}

/// Draws records together while something fails, goes on until what came of it lies in a full segment, and delivers all.
fn draw_together(fault: &Fault) {
    let disk = FaultDisk::new(CAPACITY, Planted::None);
    let mut outbox = Outbox::open(disk.clone(), config(WhenFull::Coarsen), 1, NO_CLOCK).unwrap().outbox;
    let store = |outbox: &mut Outbox<FaultDisk>, records: u64| {
        for _ in 0..records {
            assert!(matches!(outbox.append(Lane::Bulk, &[7; 100], EventTime(1)), Ok(Appended::Stored(_))));
        }
    };
    let sum = |found: &[Record]| found.iter().map(|record| weight(&record.payload)).sum::<u64>();
    store(&mut outbox, 90);
    outbox.sync().unwrap();
    // Not durable yet when it begins.
    store(&mut outbox, 3);
    disk.fail(fault.clone());
    for round in 0..4 {
        drop(outbox.coarsen(Lane::Bulk, &mut Sum::default()));
        assert_eq!(sum(&drawn(&mut outbox, &format!("round {round}, {fault:?}"))), 93);
    }
    disk.mend();
    assert!(outbox.mend());
    store(&mut outbox, 57);
    outbox.sync().unwrap();
    let mut left = drawn(&mut outbox, &format!("mended, {fault:?}"));
    assert_eq!(sum(&left), 150);
    while !left.is_empty() {
        let first = left.remove(0);
        outbox.advance(Lane::Bulk, first.seq).unwrap();
        assert_eq!(drawn(&mut outbox, &format!("{:?} delivered, {fault:?}", first.seq)), left);
    }
}

#[test]
fn a_disk_that_fails_while_records_are_drawn_together_loses_none_and_keeps_the_accounts() {
    for deed in ALL.iter().map(std::slice::from_ref) {
        for (after, times) in (0..24).flat_map(|after| [(after, 1), (after, 2), (after, u32::MAX)]) {
            draw_together(&Fault { deeds: deed, errno: EIO, after, times });
        }
    }
}
