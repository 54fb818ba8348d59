//! Durable queue of opaque records; knows nothing of events.
//!
//! # Invariants
//! * A record at or below [`Outbox::durable`] survives a power cut at any instant, in any byte of any write, until it is
//!   acknowledged or dropped by policy.
//! * `acked <= durable <= appended` in each lane, and numbers rise by one. A number that was durable, acknowledged or dropped
//!   is never given out again; the epoch rises with every opening, for ever.
//! * A segment goes only when a durable cursor says that all of it is done with. Losing a cursor sends records again; nothing
//!   that can be lost skips one.
//! * The files together never take more than `size_max`. Memory does not grow with the number of records, nor does the time
//!   that opening takes.
//! * Every record is accounted for, always: received = acknowledged + dropped by reason + held.
//! * No content of the disk makes opening fail, except an intact file of a newer format.
//!
//! # Layout
//! One directory, byte by byte in `docs/outbox.md`:
//! ```text
//! epoch                            two slots: number of this opening
//! cursor-alarm  -normal  -bulk     two slots each: what is done with, what was lost, what upstream was told of that
//! note                             two slots: opaque bytes of the caller
//! normal-00000000000000000001.seg  header twice (lane, epoch, salt, first number), then frames
//! normal-00000000000000004711.seg  [length][crc32c][number][time][payload] …
//! spare-001.seg                    a file that waits to be written again
//! aside-01                         a record that could not be delivered
//! ```
//! A segment is named by its first record and takes records until its file, which has its full length from the beginning, is
//! full. A restart goes on where the last one ends.
//!
//! # Writing
//! 1. [`Outbox::append`]: the frame goes to the tail of the lane, in memory. Where it does not fit, the tail is synced and a
//!    new segment starts: a spare gets its name, or a new file is made and filled with zeros. The header waits in the tail.
//! 2. [`Outbox::sync`]: whole sectors of the tail to the file, flush, then the directory if the name is new. Only then does
//!    `durable` move. The last sector is filled with zeros, kept, and written again with the next records.
//! 3. A write or a sync failed: the file is never touched again. Which pages reached the medium is unknown, the kernel may
//!    have marked them clean, and a second sync that succeeds proves nothing. What was not durable, and every record that
//!    shares a sector with it, is still in the tail: it goes into another file under a spare's name, is synced, and takes its
//!    place by a rename. If that fails as well it waits in memory, in bounds, with what comes after it: [`Outbox::mend`].
//! 4. No room: see [`WhenFull`]. A spare is kept for alarms, and cursors are written in place, so that both work on a full disk.
//!
//! # Reading and recovery
//! Frames are checked at every reading. Behind an invalid one the next valid one is searched, byte by byte; since numbers rise
//! by one, the gap says how many are lost. They are counted, and done with.
//!
//! Opening reads the slots and the last segment of each lane; the others are taken to hold every number up to the next
//! one's first. The last segment is synced before it is read, because a process that died without a power cut leaves data
//! in memory which looks durable and is not.
//!
//! # Done with
//! [`Outbox::advance`] moves the cursor in memory, [`Outbox::settle`] adds a range beyond it. It is written when a segment can
//! go, every 4,096 records, and at [`Outbox::checkpoint`]: a cursor write costs a sector and a flush, and a lagging one only
//! sends twice. What is dropped (full, expired) goes the same way, cursor first and the count of the lost with it, so that a
//! missing segment is always explained. Drawing old records together ([`Outbox::coarsen`]) is one write of the cursor: until
//! then it hides the new records, from then on the old ones.
//!
//! # Why
//! * *Segments, not a database*: 1.5 bytes reach the device per payload byte (200-byte records, ten per sync), journal of the
//!   file system included, where embedded databases write 6 and more. Flash wears by the byte.
//! * *Files of full length, used again, written by the sector past the page cache*: a sync changes no metadata, so the
//!   journal stays quiet, and ten records cost five sectors, not two pages.
//! * *A salt in every checksum*: what an older segment left in the same file, or a payload that looks like a frame, does not
//!   pass for a record.
//! * *The header twice*: without the salt no record of the segment can be checked, so one bad sector must not take it.
//! * *No memory map*: a bad sector would be a signal instead of an error.
//! * *Whole segments are dropped*, not records: making room costs one cursor write, however small the records are.

mod aside;
mod coarsen;
mod config;
mod counted;
mod cursor;
mod disk;
mod error;
mod finish;
mod gaps;
mod hold;
mod inspect;
mod lane;
mod log;
mod note;
#[expect(clippy::module_inception, reason = "the file named after the main noun, as in every room")]
mod outbox;
mod reading;
mod record;
mod recover;
mod rewrite;
mod room;
mod scan;
mod segment;
mod skip;
mod spare;
mod tail;
mod trouble;

pub use aside::{ASIDE_MAX, Aside, aside};
pub use coarsen::{Coarsen, Coarsened};
pub use config::{OutboxConfig, SEGMENT_BYTES_MIN, WhenFull};
pub use disk::{Disk, DiskRead};
pub use error::{Action, OutboxError};
pub use gaps::Gap;
pub use inspect::{Inspection, LaneInspection, inspect, peek};
pub use lane::Lane;
pub use note::NOTE_BYTES_MAX;
pub use outbox::{Appended, LaneStat, Opened, Outbox};
pub use record::{PAYLOAD_BYTES_MAX, Record, Seq};
pub use recover::Recovery;
pub use segment::FORMAT;
pub use trouble::DiskState;
