//! How old records are drawn together when space runs short.
//!
//! # Invariants
//! What is taken and what is given for it change places in one write of the cursor: the new records are durable before, but
//! marked as done with; then the same slot says that the old ones are done with and the new ones are not. A cut before or
//! after it leaves one of both, never both and never neither.

use crate::clock::EventTime;
use crate::outbox::cursor::DONE_RANGES_MAX;
use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::lane::Lane;
use crate::outbox::outbox::Outbox;
use crate::outbox::record::{Entry, FRAME_HEADER_BYTES, Record, Seq};
use crate::outbox::segment::Segment;
use crate::outbox::trouble::DiskState;
use crate::tally::DropReason;

/// Records read at once, and their payload: what a reader needs beside what it draws together.
const READ_RECORDS_MAX: usize = 64;
const READ_BYTES_MAX: usize = 64 << 10;

/// What is left must be at most one part in this many of what was taken; else the same bytes would be written again and
/// again for little.
const GAIN_MIN: u64 = 2;

/// A segment that gains too little alone is tried again with those behind it, so many in all: parts of the same day lie in
/// several when it is not drawn together for the first time.
const SEGMENTS_MAX: usize = 4;

/// Draws records together into fewer and shorter ones. The outbox does not know what is in them.
///
/// One value serves one segment after another: behind [`Coarsen::finish`] it is empty again.
pub trait Coarsen {
    /// Takes one record, in the order of the lane. Nothing is lost yet: if space runs out, or too little is gained, the
    /// records stay as they are.
    fn take(&mut self, payload: &[u8], at: EventTime);

    /// Gives what is left of everything taken since the last time, at least one record if any was taken: each is
    /// appended to the end of the same lane, and all of them take the place of what was taken at once, in one instant. A
    /// record that cannot be drawn together is given as it came.
    fn finish(&mut self, emit: &mut dyn FnMut(&[u8], EventTime));
}

/// What became of an attempt to draw an old segment of a lane together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Coarsened {
    /// Fewer bytes stand for the same story, durably.
    Done {
        /// Records taken.
        taken: u64,
        /// Records that stand for them now.
        emitted: u64,
    },
    /// The records would hardly become shorter. They stay, and the next attempt takes the segment behind them.
    NoGain,
    /// The lane has no sealed segment that was not tried, or the disk does not take anything now.
    Nothing,
}

/// A segment and what stands for it.
struct Drawn {
    first: u64,
    last: u64,
    records: Vec<(Box<[u8]>, EventTime)>,
}

impl<D: Disk> Outbox<D> {
    /// Draws the oldest sealed segment of a lane together that has not been found short enough before.
    ///
    /// # Errors
    /// When the disk cannot be read or written. Whatever had been reached, every record is there once.
    pub fn coarsen(&mut self, lane: Lane, coarsen: &mut dyn Coarsen) -> Result<Coarsened, OutboxError> {
        self.coarsen_beside(lane, &[], coarsen)
    }

    /// The same, leaving segments alone of which something is on its way: records from the first to the second number.
    ///
    /// # Errors
    /// As for [`Outbox::coarsen`].
    pub fn coarsen_beside(
        &mut self,
        lane: Lane,
        in_flight: &[(Seq, Seq)],
        coarsen: &mut dyn Coarsen,
    ) -> Result<Coarsened, OutboxError> {
        let tried = self.side(lane).short_upto;
        let log = self.log(lane);
        let sealed = log.segments.iter().take(log.segments.len() - usize::from(log.open));
        let on_its_way =
            |first: u64, last: u64| in_flight.iter().any(|(from, upto)| from.0 <= last && first <= upto.0);
        let fits = |segment: &&Segment| segment.unacked > 0 && !on_its_way(segment.first, segment.last);
        let mut found = sealed.into_iter().skip_while(|segment| segment.last <= tried || !fits(segment));
        let Some(first) = found.next().map(|segment| (segment.first, segment.last)) else {
            return Ok(Coarsened::Nothing);
        };
        let behind = found.take_while(fits).take(SEGMENTS_MAX - 1).last().map(|segment| segment.last);
        // One for the new records, one for the old.
        if self.state != DiskState::Ok
            || self.is_behind(lane)
            || log.done.ranges().len() + 2 > DONE_RANGES_MAX
        {
            return Ok(Coarsened::Nothing);
        }
        self.sync_lane(lane)?;
        let mut drawn = self.draw(lane, first, coarsen)?;
        if drawn.is_none()
            && let Some(last) = behind
        {
            drawn = self.draw(lane, (first.0, last), coarsen)?;
        }
        if let Some(drawn) = drawn {
            self.exchange(lane, &drawn)
        } else {
            self.side_mut(lane).short_upto = first.1;
            Ok(Coarsened::NoGain)
        }
    }

    /// Has a segment drawn together; `None` when that gains too little.
    fn draw(
        &mut self,
        lane: Lane,
        (first, last): (u64, u64),
        coarsen: &mut dyn Coarsen,
    ) -> Result<Option<Drawn>, OutboxError> {
        let (mut from, mut taken) = (first, 0);
        let mut found: Vec<Record> = Vec::new();
        loop {
            found.clear();
            let read = self.read(lane, Seq(from), Seq(last), READ_RECORDS_MAX, READ_BYTES_MAX, &mut found);
            if let Err(error) = read {
                coarsen.finish(&mut |_, _| {});
                return Err(error);
            }
            let Some(newest) = found.last().map(|record| record.seq.0) else { break };
            from = newest + 1;
            for record in &found {
                taken += record.payload.len() as u64 + FRAME_HEADER_BYTES;
                coarsen.take(&record.payload, record.at);
            }
        }
        let (mut records, mut bytes) = (Vec::new(), 0);
        coarsen.finish(&mut |payload, at| {
            bytes += payload.len() as u64 + FRAME_HEADER_BYTES;
            if bytes <= taken / GAIN_MIN {
                records.push((payload.into(), at));
            }
        });
        let is_short = bytes <= taken / GAIN_MIN && !records.is_empty();
        Ok(is_short.then_some(Drawn { first, last, records }))
    }

    /// Puts the new records in the place of the old ones.
    fn exchange(&mut self, lane: Lane, drawn: &Drawn) -> Result<Coarsened, OutboxError> {
        let count = drawn.records.len() as u64;
        let from = self.log(lane).next;
        let upto = from + count - 1;
        let before = self.log(lane).done.clone();
        let Self { disk, logs, .. } = self;
        let log = Self::log_of(logs, lane);
        log.done.insert(from, upto);
        if let Err(error) = log.save_cursor(disk, log.acked) {
            return self.withdraw(lane, upto, error);
        }
        if let Err(error) = self.append_drawn(lane, drawn, upto) {
            return self.withdraw(lane, upto, error);
        }
        let Self { disk, logs, .. } = self;
        let log = Self::log_of(logs, lane);
        let hidden = std::mem::replace(&mut log.done, before);
        log.done.insert(drawn.first.max(log.acked + 1), drawn.last);
        if let Err(error) = log.save_cursor(disk, log.acked) {
            log.done = hidden;
            return self.withdraw(lane, upto, error);
        }
        log.show(from);
        let Self { disk, buffer, logs, tally, spares, .. } = self;
        tally.received += count;
        let log = Self::log_of(logs, lane);
        let settled = log.settle(disk, buffer, drawn.first, drawn.last)?;
        tally.drop(DropReason::Coarsened, settled.records);
        tally.received += settled.forgotten;
        let collected = log.collect(disk, spares);
        self.heeded(collected)?;
        Ok(Coarsened::Done { taken: settled.records, emitted: count })
    }

    fn append_drawn(&mut self, lane: Lane, drawn: &Drawn, upto: u64) -> Result<(), OutboxError> {
        for (payload, at) in &drawn.records {
            let entry = Entry { payload, at: at.0 };
            self.find_room(lane, &entry)?;
            self.write(lane, entry)?;
        }
        self.sync_lane(lane)?;
        assert_eq!(self.log(lane).durable, upto, "the records have the numbers that were hidden");
        Ok(())
    }

    /// Leaves the old records as they are. The numbers of the new ones are not used any more: the cursor may hide them.
    fn withdraw(&mut self, lane: Lane, upto: u64, error: OutboxError) -> Result<Coarsened, OutboxError> {
        self.heed(&error);
        let side = self.side_mut(lane);
        side.next = side.next.max(upto + 1);
        drop(self.skip_to(lane, upto + 1));
        Err(error)
    }
}
