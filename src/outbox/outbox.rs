//! The three lanes together: opening, what may be asked, accounting.

use crate::clock::{ClockQuality, EventTime, UtcTime};
use crate::outbox::aside::AsideRing;
use crate::outbox::config::OutboxConfig;
use crate::outbox::counted::Counted;
use crate::outbox::cursor::{EPOCH_FILE, SMALL_FILES_BYTES, Slot, SlotFile};
use crate::outbox::disk::{Disk, DiskRead as _};
use crate::outbox::error::OutboxError;
use crate::outbox::gaps::Ledger;
use crate::outbox::hold::Hold;
use crate::outbox::lane::Lane;
use crate::outbox::log::Log;
use crate::outbox::note::Note;
use crate::outbox::reading::ReadLimit;
use crate::outbox::record::{Entry, PAYLOAD_BYTES_MAX, Record, Seq};
use crate::outbox::recover::{Recovery, recover};
use crate::outbox::scan::ScanBuffer;
use crate::outbox::segment::{FRAMES_OFFSET, parse_name};
use crate::outbox::spare::Spares;
use crate::outbox::trouble::DiskState;
use crate::ranges::Range;
use crate::tally::{DropReason, Tally};
use crate::units::Bytes;

/// A durable queue in three lanes.
#[derive(Debug)]
pub struct Outbox<D> {
    pub(crate) disk: Counted<D>,
    pub(crate) config: OutboxConfig,
    /// In the order of [`Lane::ALL`].
    pub(crate) logs: [Log; 3],
    pub(crate) sides: [Side; 3],
    pub(crate) spares: Spares,
    note: Note,
    pub(crate) aside: AsideRing,
    epoch: u32,
    pub(crate) salts: u64,
    pub(crate) buffer: ScanBuffer,
    pub(crate) tally: Tally,
    pub(crate) state: DiskState,
    pub(crate) failed_syncs: u64,
}

/// What memory has of a lane besides its log.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Records that no file has.
    pub(crate) hold: Hold,
    /// Number behind the last record that was ever in `hold`.
    pub(crate) next: u64,
    /// Everything up to here is acknowledged, if that is beyond what the log knows.
    pub(crate) acked: u64,
    /// A write or sync of the open segment has failed and what it may have lost is not in another file yet.
    pub(crate) is_broken: bool,
    /// Segments up to here are as short as they get: found when they were to be drawn together.
    pub(crate) short_upto: u64,
    pub(crate) ledger: Ledger,
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
    /// Recovers what an earlier run has left and raises the epoch durably.
    ///
    /// `entropy` makes the salts of this run differ from those of every other; it needs no secrecy. The first epoch of an
    /// empty directory comes from `now`, if that can be believed: a gateway that has lost its state does not begin again
    /// with numbers it has used.
    ///
    /// # Errors
    /// When the disk cannot be read, written or synced, when a newer tidegate wrote it, or when the size allowed is too
    /// small. Damaged content is no error.
    pub fn open(disk: D, config: OutboxConfig, entropy: u64, now: UtcTime) -> Result<Opened<D>, OutboxError> {
        let needed = OutboxConfig::size_min(config.segment_bytes);
        if config.size_max < needed {
            return Err(OutboxError::TooSmall { size_max: config.size_max, needed });
        }
        let mut disk = Counted::new(disk);
        let all = disk.list().map_err(OutboxError::List)?;
        let mut names: Vec<_> = all.iter().filter_map(|name| parse_name(name)).collect();
        names.sort_unstable();
        let mut recovered = Recovery::default();
        let mut buffer = ScanBuffer::default();
        let loaded = SlotFile::load(&mut disk, EPOCH_FILE.to_owned())?;
        let (mut epoch_file, mark) = (loaded.file, loaded.newest);
        let mut epoch = mark.map_or_else(|| first_epoch(now), |mark| mark.epoch);
        let file_bytes = config.segment_bytes.0.next_multiple_of(disk.unit());
        let spares = Spares::open(&mut disk, &all, file_bytes);
        let mut spares = spares.map_err(OutboxError::write("spare-*.seg"))?;
        let mut lane_log = |lane| {
            let firsts: Vec<u64> = names.iter().filter(|name| name.0 == lane).map(|name| name.1).collect();
            let lane = recover(&mut disk, &mut buffer, &mut spares, lane, &firsts, &mut recovered)?;
            epoch = epoch.max(lane.epoch);
            Ok::<_, OutboxError>(lane.log)
        };
        let mut logs = [lane_log(Lane::Alarm)?, lane_log(Lane::Normal)?, lane_log(Lane::Bulk)?];
        let next = |lane| match (lane, &logs) {
            (Lane::Alarm, [log, _, _]) | (Lane::Normal, [_, log, _]) | (Lane::Bulk, [_, _, log]) => log.next,
        };
        spares.drop_future(&mut disk, next).map_err(OutboxError::write("spare-*.seg"))?;
        epoch = epoch.saturating_add(1);
        let slot = Slot { acked: 0, epoch, body: Vec::new() };
        if !epoch_file.prepare(&mut disk, &slot)? {
            // Into both slots, so that damage to one cannot bring an old epoch back.
            epoch_file.save(&mut disk, &slot)?;
            epoch_file.save(&mut disk, &slot)?;
        }
        for log in &mut logs {
            log.start(&mut disk, &mut spares, epoch)?;
        }
        let note = Note::open(&mut disk, epoch)?;
        disk.sync_dir().map_err(OutboxError::sync("."))?;
        let mut tally = Tally::new();
        tally.received = recovered.records + recovered.damaged_records;
        tally.drop(DropReason::Damaged, recovered.damaged_records);
        let salts = entropy ^ (u64::from(epoch) << 32);
        let mut outbox = Self {
            aside: AsideRing::open(&mut disk),
            disk,
            config,
            logs,
            sides: <[Side; 3]>::default(),
            spares,
            note,
            epoch,
            salts,
            buffer,
            tally,
            state: DiskState::Ok,
            failed_syncs: 0,
        };
        if let Err(error) = outbox.refill_reserve() {
            // What is stored can be sent all the same.
            outbox.heed(&error);
        }
        Ok(Opened { outbox, recovered })
    }

    /// Number of this opening: greater than that of every earlier one, for ever. Part of event ids.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Stores a record at the end of a lane. It is not durable before [`Outbox::sync`]; on a disk that does not take it it
    /// waits in memory, and is durable when [`Outbox::durable`] says so.
    ///
    /// # Errors
    /// None at present: what a disk refuses is held, and what cannot be held is rejected.
    pub fn append(&mut self, lane: Lane, payload: &[u8], at: EventTime) -> Result<Appended, OutboxError> {
        Ok(self.store(lane, Entry { payload, at: at.0 }))
    }

    /// Makes everything appended durable. After a failure it is written into another file, once; if that fails as well it
    /// waits in memory for [`Outbox::mend`].
    ///
    /// # Errors
    /// When records remain that are in memory only.
    pub fn sync(&mut self) -> Result<(), OutboxError> {
        for lane in Lane::ALL {
            if !self.is_behind(lane) {
                // A failure shows in what is behind then.
                drop(self.sync_lane(lane));
            }
        }
        let records = Lane::ALL.into_iter().map(|lane| self.waiting(lane)).sum();
        if records == 0 { Ok(()) } else { Err(OutboxError::Held { disk: self.state.as_str(), records }) }
    }

    /// Appends readable records of a lane to `out`, from number `from` to `upto`: up to `records_max`, and as many as fit
    /// into `bytes_max` of payload but at least one. Numbers rise; damaged, dropped and acknowledged ones are left out.
    ///
    /// # Errors
    /// When the disk cannot be asked.
    pub fn read(
        &mut self,
        lane: Lane,
        from: Seq,
        upto: Seq,
        records_max: usize,
        bytes_max: usize,
        out: &mut Vec<Record>,
    ) -> Result<(), OutboxError> {
        let (before, in_files) = (out.len(), self.in_files(lane));
        let limit = ReadLimit { upto: upto.0.min(in_files), records: records_max, bytes: bytes_max };
        if from.0 <= limit.upto {
            let Self { disk, buffer, logs, .. } = self;
            let lost = Self::log_of(logs, lane).read(disk, buffer, from.0, limit, out)?;
            self.tally.drop(DropReason::Damaged, lost);
        }
        if self.readable(lane).0 > in_files {
            let upto = upto.0.min(self.readable(lane).0);
            let mut bytes: usize = out.iter().skip(before).map(|record| record.payload.len()).sum();
            for record in self.in_memory(lane, from.0.max(in_files + 1), upto) {
                bytes = bytes.saturating_add(record.payload.len());
                if out.len() > before && (out.len() - before >= records_max || bytes > bytes_max) {
                    break;
                }
                out.push(record);
            }
        }
        Ok(())
    }

    /// Records that everything of a lane up to `acked` was acknowledged. Segments that this completes are removed, after
    /// the cursor is durable; otherwise the cursor is written now and then only, and a power cut sends some records twice.
    ///
    /// # Errors
    /// When the cursor cannot be written or synced: nothing is removed then, and it is tried again later.
    pub fn advance(&mut self, lane: Lane, acked: Seq) -> Result<(), OutboxError> {
        let acked = acked.0.min(self.readable(lane).0);
        let Self { disk, buffer, logs, sides, tally, .. } = self;
        let (log, side) = Self::lane_of(logs, sides, lane);
        tally.passed += log.pass(disk, buffer, acked)?;
        tally.passed += side.hold.pass(acked);
        side.acked = side.acked.max(acked);
        self.safe(lane);
        self.collect(lane)
    }

    /// Records that everything of a lane from `from` to `upto` was acknowledged, while earlier records wait. Of more than
    /// eight such ranges a restart forgets the smallest: their records are sent again.
    ///
    /// # Errors
    /// As for [`Outbox::advance`].
    pub fn settle(&mut self, lane: Lane, from: Seq, upto: Seq) -> Result<(), OutboxError> {
        let upto = upto.0.min(self.readable(lane).0);
        let Self { disk, buffer, logs, sides, tally, .. } = self;
        let (log, side) = Self::lane_of(logs, sides, lane);
        let settled = log.settle(disk, buffer, from.0, upto)?;
        tally.passed += settled.records + side.hold.settle(from.0, upto);
        tally.received += settled.forgotten;
        self.collect(lane)
    }

    /// What of a lane is done with beyond [`Outbox::acked`]: first and last number of each range, rising.
    pub fn done(&self, lane: Lane) -> &[Range] {
        self.log(lane).done.ranges()
    }

    /// Keeps a note of the caller, durably, in the place of the one before. At most [`NOTE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// When it cannot be written or synced: the one before may have stayed.
    ///
    /// [`NOTE_BYTES_MAX`]: crate::outbox::NOTE_BYTES_MAX
    pub fn remember(&mut self, note: &[u8]) -> Result<(), OutboxError> {
        let saved = self.note.save(&mut self.disk, note);
        self.heeded(saved)
    }

    /// The note that was kept last, by this run or an earlier one; empty without.
    pub fn remembered(&self) -> &[u8] {
        self.note.bytes()
    }

    /// Writes all cursors durably: at the orderly end, or when idle.
    ///
    /// # Errors
    /// As for [`Outbox::advance`].
    pub fn checkpoint(&mut self) -> Result<(), OutboxError> {
        let Self { disk, logs, spares, .. } = self;
        let saved = logs.iter_mut().try_for_each(|log| {
            log.save_cursor(disk, log.acked)?;
            log.collect(disk, spares)
        });
        self.heeded(saved)
    }

    /// Everything of a lane up to here survives a power cut.
    pub fn durable(&self, lane: Lane) -> Seq {
        Seq(self.log(lane).durable)
    }

    /// Everything of a lane up to here is done with.
    pub fn acked(&self, lane: Lane) -> Seq {
        Seq(self.log(lane).acked.max(self.side(lane).acked))
    }

    /// The newest record of a lane.
    pub fn appended(&self, lane: Lane) -> Seq {
        Seq(self.log(lane).next.max(self.side(lane).next) - 1)
    }

    /// A lane in figures.
    ///
    /// # Errors
    /// When the disk cannot be asked for the oldest record.
    pub fn stat(&mut self, lane: Lane) -> Result<LaneStat, OutboxError> {
        let Self { disk, buffer, logs, .. } = self;
        let oldest = Self::log_of(logs, lane).oldest(disk, buffer)?;
        let (log, hold) = (self.log(lane), &self.side(lane).hold);
        Ok(LaneStat {
            records: log.held() + hold.waiting(),
            bytes: Bytes(log.used),
            oldest: oldest.or(hold.front().map(|held| EventTime(held.at))),
            newest: hold.back().map(|held| held.at).or(log.newest).map(EventTime),
            acked: self.acked(lane),
            durable: self.durable(lane),
            appended: self.appended(lane),
        })
    }

    /// Space on disk over all lanes, small files included; files that wait to be written again are not.
    pub fn used(&self) -> Bytes {
        Bytes(SMALL_FILES_BYTES + self.aside.used() + self.logs.iter().map(|log| log.used).sum::<u64>())
    }

    /// Bytes given to the disk since the opening.
    pub fn written(&self) -> Bytes {
        Bytes(self.disk.written)
    }

    /// What came in (recovered records included), was acknowledged, and was dropped.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Records stored and not acknowledged, over all lanes, those in memory included.
    pub fn held(&self) -> u64 {
        self.logs.iter().map(Log::held).sum::<u64>()
            + self.sides.iter().map(|side| side.hold.waiting()).sum::<u64>()
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &OutboxConfig {
        &self.config
    }

    /// Counts a record and stores it, in a file or in memory.
    fn store(&mut self, lane: Lane, entry: Entry<'_>) -> Appended {
        self.tally.received += 1;
        let stored = match self.refusal(&entry) {
            Some(reason) => Err(reason),
            None if self.is_held_back(lane) => self.keep(lane, &entry),
            None => match self.make_room(lane, &entry) {
                Ok(Some(reason)) => Err(reason),
                Ok(None) => self.write(lane, entry).or_else(|error| {
                    self.heed(&error);
                    self.keep(lane, &entry)
                }),
                Err(error) => {
                    self.heed(&error);
                    self.keep(lane, &entry)
                }
            },
        };
        match stored {
            Ok(seq) => Appended::Stored(Seq(seq)),
            Err(reason) => {
                self.lose(lane, reason, EventTime(entry.at));
                Appended::Rejected(reason)
            }
        }
    }

    /// Why a record can never be stored.
    fn refusal(&self, entry: &Entry<'_>) -> Option<DropReason> {
        if entry.payload.is_empty() {
            return Some(DropReason::Empty);
        }
        let is_long = entry.payload.len() as u64 > u64::from(PAYLOAD_BYTES_MAX)
            || FRAMES_OFFSET + entry.frame_bytes() > self.config.segment_bytes.0;
        is_long.then_some(DropReason::Oversize)
    }

    /// Takes segments out of use that are done with.
    pub(crate) fn collect(&mut self, lane: Lane) -> Result<(), OutboxError> {
        let Self { disk, logs, spares, .. } = self;
        let collected = Self::log_of(logs, lane).collect(disk, spares);
        self.heeded(collected)
    }

    pub(crate) fn log(&self, lane: Lane) -> &Log {
        let [alarm, normal, bulk] = &self.logs;
        pick(lane, (alarm, normal, bulk))
    }

    pub(crate) fn side(&self, lane: Lane) -> &Side {
        let [alarm, normal, bulk] = &self.sides;
        pick(lane, (alarm, normal, bulk))
    }

    pub(crate) fn side_mut(&mut self, lane: Lane) -> &mut Side {
        let [alarm, normal, bulk] = &mut self.sides;
        pick(lane, (alarm, normal, bulk))
    }

    pub(crate) fn log_of(logs: &mut [Log; 3], lane: Lane) -> &mut Log {
        let [alarm, normal, bulk] = logs;
        pick(lane, (alarm, normal, bulk))
    }

    pub(crate) fn lane_of<'a>(
        logs: &'a mut [Log; 3],
        sides: &'a mut [Side; 3],
        lane: Lane,
    ) -> (&'a mut Log, &'a mut Side) {
        let [alarm, normal, bulk] = sides;
        (Self::log_of(logs, lane), pick(lane, (alarm, normal, bulk)))
    }
}

fn pick<T>(lane: Lane, (alarm, normal, bulk): (T, T, T)) -> T {
    match lane {
        Lane::Alarm => alarm,
        Lane::Normal => normal,
        Lane::Bulk => bulk,
    }
}

/// The epoch before the first of a directory without one: rises with the wall clock, once in 16 seconds.
fn first_epoch(now: UtcTime) -> u32 {
    match now.quality {
        ClockQuality::Unset => 0,
        ClockQuality::Synced | ClockQuality::Unknown => {
            u32::try_from(now.micros / 16_000_000).unwrap_or_default()
        }
    }
}
