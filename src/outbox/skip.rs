//! One lane: numbers that no file will ever hold, and a cursor that is written whatever it says.

use crate::outbox::disk::Disk;
use crate::outbox::error::OutboxError;
use crate::outbox::finish::Settled;
use crate::outbox::log::Log;
use crate::outbox::scan::ScanBuffer;

impl Log {
    /// The next record gets the number `next`; those left out are done with. It starts a segment, because within one there
    /// are no holes. Everything appended must be durable.
    pub(crate) fn skip_to<D: Disk>(
        &mut self,
        disk: &mut D,
        buffer: &mut ScanBuffer,
        next: u64,
    ) -> Result<Settled, OutboxError> {
        let from = self.next;
        self.open = false;
        self.next = next;
        self.durable = self.durable.max(next - 1);
        self.settle(disk, buffer, from, next - 1)
    }

    /// Writes the cursor even if the file says the same already: the disk failed, and what it has is not known.
    pub(crate) fn rewrite_cursor<D: Disk>(&mut self, disk: &mut D) -> Result<(), OutboxError> {
        let mark = self.mark(self.acked);
        self.cursor.save(disk, &mark.to_slot())?;
        self.saved = mark;
        self.unsaved = 0;
        Ok(())
    }
}
