//! Power loss at every operation of the outbox, and in every byte of the last write.
//!
//! A script runs against a disk with a live and a durable image. The power goes during its n-th changing operation, for
//! every n; what remains is one of many images; the outbox opens it and is compared with a plain queue. Half of the cuts are
//! followed by a second run and a second cut. The guard for: acknowledging before fsync, forgetting to sync the directory,
//! checksums without a salt, checksums not looked at.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test program")]

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime, UtcTime};
use tidegate::outbox::{Appended, Lane, Outbox, OutboxConfig, OutboxError, Record, Seq, WhenFull};
use tidegate::units::Bytes;

#[path = "support/crash_disk.rs"]
#[expect(dead_code, reason = "shared with the tests of damage and full disks")]
mod crash_disk;
use crash_disk::{Coin, CrashDisk, Lie, Remains};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A record with a payload of this length.
    Append(Lane, usize),
    Sync,
    /// Acknowledges all but this many of the durable records.
    Ack(Lane, u64),
    Checkpoint,
    Expire,
    /// The process dies and comes back; the power stays.
    Restart,
}

/// What must be true of one lane.
#[derive(Clone, Debug, Default)]
struct LaneModel {
    /// Every record that may be on disk, by number.
    appended: BTreeMap<u64, Vec<u8>>,
    durable: u64,
    /// Acknowledged or dropped, at most.
    done: u64,
    /// What the cursor durably says, at least.
    saved: u64,
}

/// The queue as it should be.
#[derive(Clone, Debug, Default)]
struct Model {
    lanes: [LaneModel; 3],
    epoch: u32,
    payloads: u64,
    /// An operation that may drop whole segments was under way when the power went.
    may_drop: bool,
}

const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

fn config() -> OutboxConfig {
    let segment_bytes = Bytes(2048);
    OutboxConfig {
        segment_bytes,
        size_max: OutboxConfig::size_min(segment_bytes),
        age_max: Duration::from_secs(100),
        when_full: WhenFull::DropOldest,
        ..OutboxConfig::default()
    }
}

/// Appends, rolls segments over, acknowledges, removes.
fn short_script() -> Vec<Op> {
    use Lane::{Alarm, Normal};
    use Op::{Ack, Append, Checkpoint, Restart, Sync};
    let mut script = vec![Append(Normal, 20), Append(Alarm, 9), Append(Normal, 1), Sync, Append(Normal, 40)];
    script.extend([Append(Normal, 500), Append(Normal, 470), Ack(Normal, 1), Append(Normal, 30), Sync]);
    script.extend([Append(Alarm, 12), Ack(Alarm, 0), Sync, Ack(Normal, 1), Checkpoint, Append(Normal, 600)]);
    script.extend([Append(Normal, 610), Sync, Ack(Normal, 0), Append(Normal, 8), Ack(Alarm, 0), Restart]);
    script.extend([Append(Alarm, 30), Ack(Normal, 0), Checkpoint, Append(Normal, 5), Sync, Append(Alarm, 3)]);
    script
}

/// Fills the outbox until segments are dropped, and lets records expire.
fn long_script(seed: u64) -> Vec<Op> {
    let mut coin = Coin(seed);
    let mut script = Vec::new();
    for _ in 0..220 {
        let lane = Lane::ALL[usize::try_from(coin.below(3)).unwrap()];
        script.push(match coin.below(40) {
            0..=27 => Op::Append(lane, 1 + usize::try_from(coin.below(900)).unwrap()),
            28..=34 => Op::Sync,
            35..=37 => Op::Ack(lane, coin.below(60)),
            38 if coin.below(3) == 0 => Op::Restart,
            38 => Op::Checkpoint,
            _ => Op::Expire,
        });
    }
    script
}

/// Random images tried for each cut; `OUTBOX_CRASH_IMAGES=400` makes a thorough night of it.
fn images(default: u64) -> u64 {
    std::env::var("OUTBOX_CRASH_IMAGES").map_or(default, |images| images.parse().expect("a number"))
}

fn index(lane: Lane) -> usize {
    Lane::ALL.iter().position(|&known| known == lane).unwrap()
}

impl Model {
    fn payload(&mut self, len: usize) -> Vec<u8> {
        self.payloads += 1;
        let mut coin = Coin(self.payloads);
        (0..len).map(|_| u8::try_from(coin.below(256)).unwrap()).collect()
    }

    fn time(&self) -> EventTime {
        EARLIEST_PLAUSIBLE.after(Duration::from_secs(self.payloads))
    }

    /// Runs one operation; the error is the power going, anything else is a violation.
    fn run(&mut self, outbox: &mut Outbox<CrashDisk>, disk: &CrashDisk, op: Op) -> Result<(), OutboxError> {
        if std::env::var("TRACE").is_ok() {
            println!(
                "{op:?} payloads {} ops {} {:?}",
                self.payloads,
                disk.operations(),
                disk.names().iter().filter(|n| n.contains("-0")).collect::<Vec<_>>()
            );
        }
        let nearly_full = outbox.used().0 + 2 * 4096 > config().size_max.0;
        self.may_drop = matches!(op, Op::Expire) || nearly_full && matches!(op, Op::Append(..));
        match op {
            Op::Append(lane, len) => {
                let (payload, at) = (self.payload(len), self.time());
                let model = &mut self.lanes[index(lane)];
                let seq = outbox.stat(lane)?.appended.0 + 1;
                model.appended.insert(seq, payload.clone());
                match outbox.append(lane, &payload, at)? {
                    Appended::Stored(stored) => assert_eq!(stored, Seq(seq)),
                    // Without power nobody can tell how much of it was written.
                    Appended::Rejected(_) if disk.is_off() => {}
                    Appended::Rejected(_) => drop(model.appended.remove(&seq)),
                }
            }
            Op::Sync => outbox.sync()?,
            Op::Ack(lane, behind) => {
                let upto = outbox.durable(lane).0.saturating_sub(behind);
                let model = &mut self.lanes[index(lane)];
                model.done = model.done.max(upto);
                outbox.advance(lane, Seq(upto))?;
            }
            Op::Checkpoint => {
                outbox.checkpoint()?;
                for lane in Lane::ALL {
                    self.lanes[index(lane)].saved = outbox.acked(lane).0;
                }
            }
            Op::Restart => {
                let opened = Outbox::open(disk.clone(), config(), 0xcafe ^ self.payloads << 8, NO_CLOCK)?;
                *outbox = opened.outbox;
                assert!(outbox.epoch() > self.epoch, "epoch {} after {}", outbox.epoch(), self.epoch);
                self.epoch = outbox.epoch();
            }
            Op::Expire => {
                let micros = self.time().0;
                outbox.expire(UtcTime { micros, quality: ClockQuality::Synced })?;
            }
        }
        for lane in Lane::ALL {
            let model = &mut self.lanes[index(lane)];
            model.durable = outbox.durable(lane).0;
            model.done = model.done.max(outbox.acked(lane).0);
        }
        assert!(outbox.tally().balances(outbox.held()), "{:?} held {}", outbox.tally(), outbox.held());
        Ok(())
    }

    /// Opens what remains and compares it with the queue. On success the queue is what was recovered.
    fn check(&mut self, disk: &CrashDisk, remains: Remains) -> Result<Outbox<CrashDisk>, String> {
        let entropy = u64::from(self.epoch) << 20 | self.payloads;
        let opened =
            Outbox::open(disk.clone(), config(), entropy, NO_CLOCK).map_err(|e| format!("open: {e:?}"))?;
        let (mut outbox, recovered) = (opened.outbox, opened.recovered);
        if outbox.epoch() <= self.epoch {
            return Err(format!("epoch {} after {}", outbox.epoch(), self.epoch));
        }
        self.epoch = outbox.epoch();
        // Sectors may come back in any order, so that holes in what was not durable look like damage.
        if !matches!(remains, Remains::Sectors(_)) && recovered.damaged_records > 0 {
            return Err(format!("damage where there is none: {recovered:?}"));
        }
        let mut count = 0;
        for lane in Lane::ALL {
            let records = read_all(&mut outbox, lane);
            count += records.len() as u64;
            self.check_lane(lane, &records)?;
            let model = &mut self.lanes[index(lane)];
            if outbox.acked(lane).0 < model.saved {
                return Err(format!("{lane:?}: the cursor fell back"));
            }
            let appended = outbox.stat(lane).unwrap().appended.0;
            if appended < model.durable.max(model.done) {
                return Err(format!("{lane:?}: number {appended} comes again"));
            }
            model.appended = records.into_iter().map(|record| (record.seq.0, record.payload)).collect();
            model.durable = outbox.durable(lane).0;
            model.done = outbox.acked(lane).0;
        }
        if count != recovered.records || count != outbox.held() || !outbox.tally().balances(count) {
            return Err(format!("{count} records read, {recovered:?}, held {}", outbox.held()));
        }
        if outbox.used().0 < disk.bytes() as u64 || outbox.used() > config().size_max {
            return Err(format!("{} on disk, {} known", disk.bytes(), outbox.used()));
        }
        Ok(outbox)
    }

    fn check_lane(&self, lane: Lane, records: &[Record]) -> Result<(), String> {
        let model = &self.lanes[index(lane)];
        let known = |record: &&Record| model.appended.get(&record.seq.0) == Some(&record.payload);
        if let Some(phantom) = records.iter().find(|record| !known(record)) {
            return Err(format!("{lane:?}: record {} was never stored", phantom.seq.0));
        }
        if !records.is_sorted_by(|a, b| a.seq < b.seq) {
            return Err(format!("{lane:?}: numbers do not rise"));
        }
        let mut due: Vec<u64> = model
            .appended
            .range(model.done + 1..)
            .map(|x| *x.0)
            .filter(|&seq| seq <= model.durable)
            .collect();
        if self.may_drop {
            let oldest = records.first().map_or(u64::MAX, |record| record.seq.0);
            due.retain(|&seq| seq >= oldest);
        }
        let found = |seq: &u64| records.binary_search_by_key(seq, |record| record.seq.0).is_ok();
        match due.iter().find(|seq| !found(seq)) {
            Some(lost) => Err(format!("{lane:?}: durable record {lost} is lost")),
            None => Ok(()),
        }
    }
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

/// Runs a script until its end or the power cut, and returns whether the outbox came to be opened at all.
fn run(disk: &CrashDisk, model: &mut Model, script: &[Op]) {
    model.may_drop = false;
    let entropy = 0xface ^ model.payloads << 8 ^ u64::from(model.epoch);
    let Ok(opened) = Outbox::open(disk.clone(), config(), entropy, NO_CLOCK) else {
        assert!(disk.is_off(), "opening fails only without power");
        return;
    };
    let mut outbox = opened.outbox;
    assert!(outbox.epoch() > model.epoch);
    model.epoch = outbox.epoch();
    for &op in script {
        if model.run(&mut outbox, disk, op).is_err() || disk.is_off() {
            assert!(disk.is_off(), "{op:?} fails only without power");
            return;
        }
    }
}

/// Cuts the power in every operation of the script; returns the images tried, or the first violation.
fn cut_everywhere(lie: Lie, script: &[Op], torn_step: usize, images: u64) -> Result<u64, String> {
    let whole = CrashDisk::new(lie);
    whole.crash_after(None);
    run(&whole, &mut Model::default(), script);
    let mut tried = 0;
    for cut in 0..whole.operations() {
        let disk = CrashDisk::new(lie);
        disk.crash_after(Some(cut));
        let mut model = Model::default();
        run(&disk, &mut model, script);
        assert!(disk.is_off());
        let mut remains = vec![Remains::Durable, Remains::Live, Remains::NamesLost, Remains::ContentsLost];
        remains.extend((0..disk.last_write_bytes()).step_by(torn_step).map(Remains::Torn));
        remains.extend((0..images).map(|seed| Remains::Sectors(seed * 1000 + cut as u64)));
        for remains in remains {
            let at = |fault| format!("cut {cut}, {remains:?}: {fault}");
            let after = disk.reboot(remains);
            let mut model = model.clone();
            drop(model.check(&after, remains).map_err(at)?);
            tried += 1;
            let Remains::Sectors(seed) = remains else { continue };
            second_cut(&after, model, script, seed).map_err(at)?;
            tried += 3;
        }
    }
    Ok(tried)
}

fn second_cut(disk: &CrashDisk, mut model: Model, script: &[Op], seed: u64) -> Result<(), String> {
    let mut coin = Coin(seed ^ 0xb0b);
    disk.crash_after(Some(usize::try_from(coin.below(24)).unwrap()));
    run(disk, &mut model, script);
    for image in 0..3 {
        let remains = Remains::Sectors(seed ^ image << 40);
        let mut model = model.clone();
        let after = disk.reboot(remains);
        let mut outbox = model.check(&after, remains).map_err(|e| format!("second: {e}"))?;
        model.run(&mut outbox, &after, Op::Append(Lane::Normal, 5)).unwrap();
        model.run(&mut outbox, &after, Op::Sync).unwrap();
    }
    Ok(())
}

#[test]
fn no_cut_loses_what_was_durable_or_invents_what_was_not() {
    let tried = cut_everywhere(Lie::None, &short_script(), 1, images(24)).unwrap();
    assert!(tried > 10_000, "{tried}");
}

#[test]
fn no_cut_breaks_an_outbox_that_is_full() {
    for seed in 0..3 {
        let tried = cut_everywhere(Lie::None, &long_script(seed), 97, images(24) / 12).unwrap();
        assert!(tried > 3_000, "{tried}");
    }
}

#[test]
fn acknowledging_before_fsync_is_noticed() {
    let fault = cut_everywhere(Lie::Sync, &short_script(), 1, 0).unwrap_err();
    assert!(fault.contains("is lost"), "{fault}");
}

#[test]
fn a_directory_that_is_never_synced_is_noticed() {
    let fault = cut_everywhere(Lie::SyncDir, &short_script(), 1, 0).unwrap_err();
    assert!(fault.contains("is lost"), "{fault}");
}
#[test]
fn zz_debug() {
    let script = long_script(0);
    let disk = CrashDisk::new(Lie::None);
    disk.crash_after(Some(69));
    let mut model = Model::default();
    run(&disk, &mut model, &script);
    let after = disk.reboot(Remains::Sectors(69));
    let dump = |d: &CrashDisk| {
        for name in d.names() {
            if name.starts_with("normal") || name.starts_with("spare") {
                println!("{name}");
                let c = d.content(&name);
                if c.len() < 1100 {
                    println!("  short {}", c.len());
                    continue;
                }
                println!("  salt {:x?} first {:?}", &c[16..24], &c[24..32]);
                let mut o = 1024;
                while o + 24 < c.len() {
                    let l = u32::from_le_bytes(c[o..o + 4].try_into().unwrap()) as usize;
                    if l == 0 || l > 1000 {
                        break;
                    }
                    println!(
                        "  {o}: len {l} seq {} {:?}",
                        u64::from_le_bytes(c[o + 8..o + 16].try_into().unwrap()),
                        &c[o + 24..(o + 34).min(c.len())]
                    );
                    o += 24 + l;
                }
            }
        }
    };
    dump(&after);
    println!("{:?}", disk.names());
    let o = model.check(&after, Remains::Sectors(69)).unwrap();
    println!(
        "durable {:?} acked {:?} {:?} used {:?}",
        o.durable(Lane::Normal),
        o.acked(Lane::Normal),
        o.done(Lane::Normal),
        o.used()
    );
    drop(o);
    let mut coin = Coin(69 ^ 0xb0b);
    let n = usize::try_from(coin.below(24)).unwrap();
    println!("second after {n}");
    after.crash_after(Some(n));
    run(&after, &mut model, &script);
    println!("{:?}", model.lanes[1].durable);
    for (k, v) in &model.lanes[1].appended {
        println!("{k} {:?}", &v[..10.min(v.len())]);
    }
    for image in 0..3 {
        let again = after.reboot(Remains::Sectors(69 ^ image << 40));
        println!("=== {image}");
        dump(&again);
        println!("{:?}", model.clone().check(&again, Remains::Sectors(69)).err());
    }
}
