//! What the operator may set of the outbox.

use std::time::Duration;

use crate::outbox::hold::HELD_BYTES_MAX;
use crate::outbox::room::RESERVE_SEGMENTS;
use crate::outbox::tail::TAIL_BYTES_MAX;
use crate::units::Bytes;

/// Settings of the outbox, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Most the outbox takes on disk over all lanes, cursor files included; at least [`OutboxConfig::size_min`].
    pub size_max: Bytes,
    /// Space that stays free on the file system: with less the outbox takes no more than it has and counts as full.
    pub free_min: Bytes,
    /// Records older than this are dropped.
    pub age_max: Duration,
    /// What gives way when `size_max` is reached.
    pub when_full: WhenFull,
    /// Length at which a segment is sealed; what is dropped and removed at once.
    pub segment_bytes: Bytes,
    /// How long an appended record may wait for the sync it shares with others. Used by the shell.
    pub sync_interval: Duration,
    /// Records after which the shell syncs without waiting for the interval.
    pub batch_records_max: u32,
}

/// What happens to a record that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest segment of the least urgent lane goes, so that the new record fits. A lane never evicts a more urgent
    /// one.
    DropOldest,
    /// What is stored stays. New records are refused; two segments are kept free for alarms.
    RejectNew,
    /// Old records of the bulk lane, then of the normal lane, are drawn together into summaries before anything is
    /// dropped; when that gains too little, as for [`WhenFull::DropOldest`]. Alarms stay as they are.
    Coarsen,
}

/// Segments each lane must have room for: one to append to, one to send from.
pub(crate) const SEGMENTS_PER_LANE_MIN: u64 = 2;

/// Shortest segment that makes sense: one flash page cluster; a shorter one is mostly header.
pub const SEGMENT_BYTES_MIN: Bytes = Bytes(4 << 10);

/// What is kept in memory of a segment, its name included, rounded up.
const SEGMENT_MEMORY_BYTES: u64 = 192;

/// Segments are as long as a whole number of these.
const FLASH_PAGE_BYTES: u64 = 4 << 10;

impl OutboxConfig {
    /// The length of segments that goes with a size: a sixty-fourth of it, from 128 KiB to 1 MiB. With longer ones a small
    /// outbox would be full of segments that three lanes keep open.
    pub fn segment_bytes_for(size_max: Bytes) -> Bytes {
        Bytes((size_max.0 / 64 / FLASH_PAGE_BYTES * FLASH_PAGE_BYTES).clamp(128 << 10, 1 << 20))
    }

    /// Smallest `size_max` that goes with a segment length: two segments for each of the three lanes, the reserve of alarms
    /// and the small files.
    pub fn size_min(segment_bytes: Bytes) -> Bytes {
        Bytes(
            (segment_bytes.0.saturating_add(crate::outbox::segment::BLOCK_BYTES))
                .saturating_mul(SEGMENTS_PER_LANE_MIN * 3 + RESERVE_SEGMENTS)
                .saturating_add(crate::outbox::cursor::SMALL_FILES_BYTES),
        )
    }

    /// Memory an outbox with these settings takes at most: a frame to write, a frame to read, what is known of each full
    /// segment, what waits for its sync, and what a disk does not take.
    pub fn memory_max(&self) -> Bytes {
        let frames = 2 * u64::from(crate::outbox::PAYLOAD_BYTES_MAX) + (64 << 10);
        let waiting = HELD_BYTES_MAX + 3 * TAIL_BYTES_MAX;
        Bytes(frames + waiting + self.size_max.0.div_ceil(self.segment_bytes.0.max(1)) * SEGMENT_MEMORY_BYTES)
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self {
            size_max: Bytes(256 << 20),
            // What a small system needs to go on: a log file, a package update that can be undone.
            free_min: Bytes(16 << 20),
            age_max: Duration::from_hours(30 * 24),
            when_full: WhenFull::DropOldest,
            // The erase block of common eMMC is 0.5 to 4 MiB.
            segment_bytes: Bytes(1 << 20),
            sync_interval: Duration::from_millis(200),
            // Write amplification stops falling at 128 (1.4); more lets a flood through a slow disk: with 50 ms a sync
            // 128 were 2,500 records a second.
            batch_records_max: 1_024,
        }
    }
}
