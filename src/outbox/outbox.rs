//! The three lanes together: opening, the common size limit, accounting.

use std::io;

use crate::clock::{ClockQuality, EventTime, UtcTime};
use crate::outbox::coarsen::{Coarsen, Coarsened};
use crate::outbox::config::{OutboxConfig, WhenFull};
use crate::outbox::cursor::{EPOCH_FILE, Mark, SMALL_FILES_BYTES, SlotFile};
use crate::outbox::disk::Disk;
use crate::outbox::error::{Action, OutboxError};
use crate::outbox::lane::Lane;
use crate::outbox::log::{Log, Wrote};
use crate::outbox::reading::ReadLimit;
use crate::outbox::record::{FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, Record, Seq};
use crate::outbox::recover::{Recovery, recover};
use crate::outbox::scan::ScanBuffer;
use crate::outbox::segment::{self, FRAMES_OFFSET, parse_name};
use crate::tally::{DropReason, Tally};
use crate::units::Bytes;

/// Segments kept free for alarms when new records are refused.
const ALARM_RESERVE_SEGMENTS: u64 = 2;

/// A durable queue in three lanes.
#[derive(Debug)]
pub struct Outbox<D> {
    disk: D,
    config: OutboxConfig,
    /// In the order of [`Lane::ALL`].
    logs: [Log; 3],
    epoch: u32,
    salts: u64,
    buffer: ScanBuffer,
    scratch: Vec<u8>,
    tally: Tally,
    poisoned: bool,
}

/// An outbox and what was found in it.
#[derive(Debug)]
pub struct Opened<D> {
    /// Ready for use.
    pub outbox: Outbox<D>,
    /// What an earlier run has left.
    pub recovered: Recovery,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It has a number and will be durable after the next [`Outbox::sync`].
    Stored(Seq),
    /// It was dropped and counted.
    Rejected(DropReason),
}

/// One lane in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneStat {
    /// Records not acknowledged.
    pub records: u64,
    /// Space on disk, acknowledged records of the oldest segment included.
    pub bytes: Bytes,
    /// Time of the oldest durable record that is not acknowledged.
    pub oldest: Option<EventTime>,
    /// Time of the newest record.
    pub newest: Option<EventTime>,
    /// Everything up to here is acknowledged or dropped.
    pub acked: Seq,
    /// Everything up to here survives a power cut.
    pub durable: Seq,
    /// The newest record.
    pub appended: Seq,
}

impl<D: Disk> Outbox<D> {
    /// Recovers what an earlier run has left, cuts unfinished writes, and raises the epoch durably.
    ///
    /// `entropy` makes the salts of this run differ from those of every other; it needs no secrecy.
    ///
    /// # Errors
    /// When the disk cannot be read, written or synced, when a newer tidegate wrote it, or when the size allowed is too
    /// small. Damaged content is no error.
    pub fn open(mut disk: D, config: OutboxConfig, entropy: u64) -> Result<Opened<D>, OutboxError> {
        let needed = OutboxConfig::size_min(config.segment_bytes);
        if config.size_max < needed {
            return Err(OutboxError::TooSmall { size_max: config.size_max, needed });
        }
        let mut names: Vec<_> =
            disk.list().map_err(OutboxError::List)?.iter().filter_map(|name| parse_name(name)).collect();
        names.sort_unstable();
        let mut recovered = Recovery::default();
        let mut buffer = ScanBuffer::default();
        let (mut epoch_file, mark) = SlotFile::load(&mut disk, EPOCH_FILE.to_owned())?;
        let mut epoch = mark.map_or(0, |mark| mark.epoch);
        let mut lane_log = |lane| {
            let firsts: Vec<u64> = names.iter().filter(|name| name.0 == lane).map(|name| name.1).collect();
            let lane = recover(&mut disk, &mut buffer, lane, &firsts, &mut recovered)?;
            epoch = epoch.max(lane.epoch);
            Ok::<_, OutboxError>(lane.log)
        };
        let mut logs = [lane_log(Lane::Alarm)?, lane_log(Lane::Normal)?, lane_log(Lane::Bulk)?];
        epoch = epoch.saturating_add(1);
        let mark = Mark { acked: 0, epoch };
        epoch_file.prepare(&mut disk, mark)?;
        // Into both slots, so that damage to one cannot bring an old epoch back.
        epoch_file.save(&mut disk, mark)?;
        epoch_file.save(&mut disk, mark)?;
        for log in &mut logs {
            log.epoch = epoch;
            if log.cursor.prepare(&mut disk, Mark { acked: log.acked, epoch })? {
                log.saved = log.acked;
            }
            log.collect(&mut disk)?;
        }
        disk.sync_dir().map_err(OutboxError::sync("."))?;
        let mut tally = Tally::new();
        tally.received = recovered.records + recovered.damaged_records;
        tally.drop(DropReason::Damaged, recovered.damaged_records);
        let salts = entropy ^ (u64::from(epoch) << 32);
        let (scratch, poisoned) = (Vec::new(), false);
        let outbox = Self { disk, config, logs, epoch, salts, buffer, scratch, tally, poisoned };
        Ok(Opened { outbox, recovered })
    }

    /// Number of this opening: greater than that of every earlier one, for ever. Part of event ids.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Stores a record at the end of a lane. It is not durable before [`Outbox::sync`].
    ///
    /// # Errors
    /// After a failed sync only; a full or failing disk rejects the record instead.
    pub fn append(&mut self, lane: Lane, payload: &[u8], at: EventTime) -> Result<Appended, OutboxError> {
        self.guarded(|outbox| {
            outbox.tally.received += 1;
            let appended = match outbox.try_append(lane, payload, at) {
                // No room could be made. The caller does not come again with this record: it is refused and counted.
                Err(error) if error.action() == Action::Retry => Appended::Rejected(DropReason::OutboxReject),
                appended => appended?,
            };
            if let Appended::Rejected(reason) = appended {
                outbox.tally.drop(reason, 1);
            }
            Ok(appended)
        })
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// When a sync fails: final, see [`OutboxError::action`].
    pub fn sync(&mut self) -> Result<(), OutboxError> {
        self.guarded(|outbox| {
            let mut directory = false;
            for log in &mut outbox.logs {
                directory |= log.sync(&mut outbox.disk)?;
            }
            if directory {
                outbox.disk.sync_dir().map_err(OutboxError::sync("."))?;
            }
            for log in &mut outbox.logs {
                log.synced();
            }
            Ok(())
        })
    }

    /// Appends durable records of a lane to `out`, from number `from` on: up to `records_max`, and as many as fit into
    /// `bytes_max` of payload but at least one. Numbers rise; damaged, dropped and acknowledged ones are left out.
    ///
    /// # Errors
    /// When the disk cannot be asked.
    pub fn read(
        &mut self,
        lane: Lane,
        from: Seq,
        records_max: usize,
        bytes_max: usize,
        out: &mut Vec<Record>,
    ) -> Result<(), OutboxError> {
        self.guarded(|outbox| {
            let limit = ReadLimit { records: records_max, bytes: bytes_max };
            let log = log_of(&mut outbox.logs, lane);
            let lost = log.read(&mut outbox.disk, &mut outbox.buffer, from.0, limit, out)?;
            outbox.tally.drop(DropReason::Damaged, lost);
            Ok(())
        })
    }

    /// Records that everything of a lane up to `acked` was acknowledged. Segments that this completes are removed, after
    /// the cursor is durable; otherwise the cursor is written now and then only, and a power cut sends some records twice.
    ///
    /// # Errors
    /// When the cursor cannot be written (nothing is removed then) or synced.
    pub fn advance(&mut self, lane: Lane, acked: Seq) -> Result<(), OutboxError> {
        self.guarded(|outbox| {
            let log = log_of(&mut outbox.logs, lane);
            let upto = acked.0.min(log.durable);
            outbox.tally.passed += log.pass(&mut outbox.disk, &mut outbox.buffer, upto)?;
            log.collect(&mut outbox.disk)
        })
    }

    /// Writes all cursors durably: at the orderly end, or when idle.
    ///
    /// # Errors
    /// As for [`Outbox::advance`].
    pub fn checkpoint(&mut self) -> Result<(), OutboxError> {
        self.guarded(|outbox| {
            for log in &mut outbox.logs {
                log.save_cursor(&mut outbox.disk, log.acked)?;
                log.collect(&mut outbox.disk)?;
            }
            Ok(())
        })
    }

    /// Drops durable records older than the age allowed. Does nothing while the wall clock is not set.
    ///
    /// # Errors
    /// As for [`Outbox::advance`].
    pub fn expire(&mut self, now: UtcTime) -> Result<(), OutboxError> {
        self.guarded(|outbox| {
            if now.quality == ClockQuality::Unset {
                return Ok(());
            }
            let Self { disk, buffer, logs, tally, config, .. } = outbox;
            for log in logs {
                if let Some(upto) = log.expired(disk, buffer, now.into(), config.age_max)? {
                    tally.drop(DropReason::Expired, log.pass(disk, buffer, upto)?);
                    log.collect(disk)?;
                }
            }
            Ok(())
        })
    }

    /// Draws the oldest sealed segment of a lane together, durably and at once: either all of its records are there or
    /// what `coarsen` gives for them.
    ///
    /// # Errors
    /// When the disk cannot be read; nothing has changed then.
    pub fn coarsen(&mut self, lane: Lane, coarsen: &mut dyn Coarsen) -> Result<Coarsened, OutboxError> {
        let _: (Lane, &mut dyn Coarsen) = (lane, coarsen);
        self.guarded(|_| Ok(Coarsened::Nothing))
    }

    /// Everything of a lane up to here survives a power cut.
    pub fn durable(&self, lane: Lane) -> Seq {
        Seq(self.log(lane).durable)
    }

    /// Everything of a lane up to here is done with.
    pub fn acked(&self, lane: Lane) -> Seq {
        Seq(self.log(lane).acked)
    }

    /// A lane in figures.
    ///
    /// # Errors
    /// When the disk cannot be asked for the oldest record.
    pub fn stat(&mut self, lane: Lane) -> Result<LaneStat, OutboxError> {
        self.guarded(|outbox| {
            let log = log_of(&mut outbox.logs, lane);
            Ok(LaneStat {
                records: log.held(),
                bytes: Bytes(log.used),
                oldest: log.oldest(&mut outbox.disk, &mut outbox.buffer)?,
                newest: log.newest.map(EventTime),
                acked: Seq(log.acked),
                durable: Seq(log.durable),
                appended: Seq(log.next - 1),
            })
        })
    }

    /// Space on disk over all lanes, small files included.
    pub fn used(&self) -> Bytes {
        Bytes(SMALL_FILES_BYTES + self.logs.iter().map(|log| log.used).sum::<u64>())
    }

    /// What came in (recovered records included), was acknowledged, and was dropped.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Records stored and not acknowledged, over all lanes.
    pub fn held(&self) -> u64 {
        self.logs.iter().map(Log::held).sum()
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &OutboxConfig {
        &self.config
    }

    fn try_append(&mut self, lane: Lane, payload: &[u8], at: EventTime) -> Result<Appended, OutboxError> {
        let segment_bytes = self.config.segment_bytes.0;
        let payload_bytes = payload.len() as u64;
        if payload.is_empty() {
            return Ok(Appended::Rejected(DropReason::Empty));
        }
        if payload_bytes > u64::from(PAYLOAD_BYTES_MAX)
            || FRAMES_OFFSET + FRAME_HEADER_BYTES + payload_bytes > segment_bytes
        {
            return Ok(Appended::Rejected(DropReason::Oversize));
        }
        if let Some(reason) = self.make_room(lane, payload_bytes)? {
            return Ok(Appended::Rejected(reason));
        }
        let mut wrote = self.write(lane, payload, at)?;
        // The disk is fuller than the limit knows: an alarm takes the place of something less urgent, once.
        if let Wrote::Refused(source) = &wrote
            && is_full(source)
            && lane == Lane::Alarm
            && self.config.when_full != WhenFull::RejectNew
            && self.evict_below(lane)?
        {
            wrote = self.write(lane, payload, at)?;
        }
        Ok(match wrote {
            Wrote::Stored(seq) => Appended::Stored(Seq(seq)),
            Wrote::Refused(_) => Appended::Rejected(DropReason::OutboxReject),
        })
    }

    fn write(&mut self, lane: Lane, payload: &[u8], at: EventTime) -> Result<Wrote, OutboxError> {
        let Self { disk, buffer, logs, scratch, config, salts, .. } = self;
        log_of(logs, lane).append(disk, scratch, (payload, at.0), config.segment_bytes.0, || {
            buffer.forget();
            next_salt(salts)
        })
    }

    /// Keeps the size limit; gives the reason to refuse the record when that needs it.
    fn make_room(&mut self, lane: Lane, payload_bytes: u64) -> Result<Option<DropReason>, OutboxError> {
        loop {
            let growth = self.log(lane).growth(payload_bytes, self.config.segment_bytes.0);
            if self.used().0 + growth <= self.allowed(lane) {
                return Ok(None);
            }
            let freed = match self.config.when_full {
                WhenFull::RejectNew => return Ok(Some(DropReason::OutboxReject)),
                WhenFull::DropOldest | WhenFull::Coarsen => self.evict_below(lane)? || self.evict(lane)?,
            };
            if !freed {
                return Ok(Some(DropReason::OutboxFull));
            }
        }
    }

    /// Space a lane may fill the outbox to.
    fn allowed(&self, lane: Lane) -> u64 {
        let reserve = match (self.config.when_full, lane) {
            (WhenFull::DropOldest | WhenFull::Coarsen, _) | (WhenFull::RejectNew, Lane::Alarm) => 0,
            (WhenFull::RejectNew, Lane::Normal | Lane::Bulk) => {
                let reserve = ALARM_RESERVE_SEGMENTS * segment::used(self.config.segment_bytes.0);
                reserve.saturating_sub(self.log(Lane::Alarm).used)
            }
        };
        self.config.size_max.0.saturating_sub(reserve)
    }

    /// Drops the oldest segment of the least urgent lane below `lane` that has one.
    fn evict_below(&mut self, lane: Lane) -> Result<bool, OutboxError> {
        for victim in Lane::ALL.into_iter().rev().filter(|&victim| victim > lane) {
            if self.evict(victim)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn evict(&mut self, victim: Lane) -> Result<bool, OutboxError> {
        let log = log_of(&mut self.logs, victim);
        let evicted = log.drop_oldest(&mut self.disk, &mut self.buffer)?;
        self.tally.drop(DropReason::OutboxFull, evicted.records);
        Ok(evicted.freed)
    }

    fn log(&self, lane: Lane) -> &Log {
        let [alarm, normal, bulk] = &self.logs;
        match lane {
            Lane::Alarm => alarm,
            Lane::Normal => normal,
            Lane::Bulk => bulk,
        }
    }

    /// Refuses everything after a failed sync: what the medium holds is unknown from then on.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        if self.poisoned {
            return Err(OutboxError::Poisoned);
        }
        let result = work(self);
        self.poisoned = matches!(result, Err(OutboxError::Sync { .. }));
        result
    }
}

fn log_of(logs: &mut [Log; 3], lane: Lane) -> &mut Log {
    let [alarm, normal, bulk] = logs;
    match lane {
        Lane::Alarm => alarm,
        Lane::Normal => normal,
        Lane::Bulk => bulk,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Steps a splitmix64 generator: every segment of every run has its own salt.
fn next_salt(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
