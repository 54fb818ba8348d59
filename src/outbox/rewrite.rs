//! One lane after a failed sync.
//!
//! # Invariants
//! A file of which a write or a sync has failed is never written or synced again, and nothing that only it may hold is called
//! durable: the kernel may have dropped the data and marked it clean.

use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::log::{Log, Position};
use crate::outbox::segment::{self, Segment};
use crate::outbox::spare::Spares;
use crate::outbox::tail::Tail;

impl Log {
    /// Leaves the open segment as it is for ever and writes everything that may have been lost in it, from memory, into
    /// another file: what was not durable, and what shared a sector with it. All of it is durable then. After an error
    /// nothing has changed, and it may be tried again: another file is used each time.
    ///
    /// The caller forgets what it has buffered of the lane's files.
    pub(crate) fn rewrite<D: Disk>(
        &mut self,
        disk: &mut D,
        spares: &mut Spares,
        salt: u64,
    ) -> Result<(), OutboxError> {
        if !self.open || self.tail.pending() == 0 {
            return Ok(());
        }
        let (kept_from, first) = self.tail.first();
        let mut tail = Tail::default();
        tail.start(disk.unit(), &self.header(salt, first), first);
        for kept in self.tail.frames() {
            tail.push(salt, kept.seq, &kept.entry);
        }
        let name = segment::name(self.lane, first);
        let spare = spares.borrow(disk).map_err(OutboxError::write(&name))?;
        let written = tail
            .write(|offset, bytes| disk.write_at(&spare, offset, bytes))
            .and_then(|()| disk.sync(&spare))
            // Takes the place of the old file at once where that has nothing else: it never misses in between.
            .and_then(|()| disk.rename(&spare, &name));
        if let Err(source) = written {
            // Not to be trusted either. If it stays it is cleared when its number comes up again.
            return disk.remove(&spare).and(Err(source)).map_err(OutboxError::write(&name));
        }
        disk.sync_dir().map_err(OutboxError::sync("."))?;
        tail.settle();
        let mut segment = Segment::new(name, first, salt, spares.file_bytes());
        segment.last = self.next - 1;
        segment.len = tail.end();
        segment.synced = tail.end();
        segment.unacked = self.span(first, segment.last);
        if let Some(old) = self.segments.back_mut() {
            old.last = first - 1;
            old.len = kept_from;
            old.synced = kept_from;
            old.unacked = old.unacked.saturating_sub(segment.unacked);
            old.reusable = false;
        }
        if self.segments.back().is_some_and(|old| old.last < old.first)
            && let Some(old) = self.segments.pop_back()
        {
            self.used -= old.used();
        }
        self.used += segment.used();
        self.durable = self.durable.max(segment.last);
        self.segments.push_back(segment);
        self.tail = tail;
        self.named = true;
        self.read_hint = Position::default();
        self.oldest_hint = Position::default();
        Ok(())
    }
}
