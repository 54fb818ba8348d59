//! Durable queue of opaque records; knows nothing of events.
//!
//! # Invariants
//! * A record at or below [`Outbox::durable`] survives a power cut at any instant, in any byte of any write, until it is
//!   acknowledged or dropped by policy. Only durable records can be read, so nothing is ever sent that could be forgotten.
//! * `acked <= durable <= appended` in each lane, and numbers rise by one. A number that was durable, acknowledged or dropped
//!   is never given out again; the epoch rises with every opening, for ever.
//! * A segment is removed only when the cursor that passes it is durable. Losing a cursor sends records again; nothing
//!   that can be lost skips one.
//! * The files together never take more than `size_max`. Memory does not grow with the number of records.
//! * Every record is accounted for, always: received = acknowledged + dropped by reason + held.
//! * No content of the disk makes opening fail, except an intact file of a newer format.
//!
//! # Layout
//! One directory, byte by byte in `docs/outbox.md`:
//! ```text
//! epoch                            two slots: number of this opening
//! cursor-alarm  -normal  -bulk     two slots each: everything up to here is done with
//! normal-00000000000000000001.seg  header twice (lane, epoch, salt, first number), then frames
//! normal-00000000000000004711.seg  [length][crc32c][number][time][payload] …
//! ```
//! A segment is named by its first record, takes records until it is `segment_bytes` long, and is never written again. Each
//! opening starts new ones.
//!
//! # Writing
//! 1. Frame to the end of the last segment; a new segment where there is none or it is full. The old one is synced before.
//! 2. [`Outbox::sync`]: file, then directory if the file is new. Only then does `durable` move.
//! 3. No room on the disk: the torn frame is cut off, the record refused and counted, and the next one tried as if nothing had
//!    happened. An alarm takes the place of a less urgent segment instead.
//! 4. A sync failed: every later call fails. Which pages reached the medium is unknown, the kernel may have marked them clean,
//!    and a second sync that succeeds proves nothing. The process ends and the next opening reads what is there.
//!
//! # Reading and recovery
//! Frames are checked at every reading. Behind an invalid one the next valid one is searched, byte by byte; since numbers rise
//! by one, the gap says how many are lost. Recovery does the same once for everything, with a bounded buffer, then cuts the end
//! of the last segment behind its last valid frame: that was never durable. It syncs what it found, because a process that died
//! without a power cut leaves data in memory which looks durable and is not.
//!
//! # Acknowledging and dropping
//! [`Outbox::advance`] moves the cursor in memory. It is written when a segment can go, every 256 records, and at
//! [`Outbox::checkpoint`]: a cursor write costs a flash block, and a lagging one only sends twice. What is dropped (full,
//! expired) goes the same way: cursor first, so that a missing segment is never taken for damage.
//!
//! # Why
//! * *Segments, not a database*: 1.8 bytes written per payload byte (200-byte records, one sync per 32), where embedded
//!   databases write 6 and more. Flash wears by the byte.
//! * *A salt in every checksum*: what an older segment left at the same place of the medium, or a payload that looks like a
//!   frame, does not pass for a record.
//! * *The header twice*: without the salt no record of the segment can be checked, so one bad sector must not take it.
//! * *No preallocation yet*: with the file system's journal counted it saves two thirds of what small syncs write. The salt
//!   already allows for recycled files.
//! * *No memory map*: a bad sector would be a signal instead of an error.
//! * *Whole segments are dropped*, not records: making room costs one cursor write, however small the records are.

mod aside;
mod coarsen;
mod config;
mod counted;
mod cursor;
mod disk;
mod done;
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
