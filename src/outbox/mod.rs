//! Durable queue of opaque records; knows nothing of events.

mod config;
mod cursor;
mod disk;
mod error;
mod inspect;
mod lane;
mod log;
#[expect(clippy::module_inception, reason = "the file named after the main noun, as in every room")]
mod outbox;
mod reading;
mod record;
mod recover;
mod scan;
mod segment;

pub use config::{OutboxConfig, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, WhenFull};
pub use disk::{Disk, DiskRead};
pub use error::{Action, OutboxError};
pub use inspect::{Inspection, LaneInspection, inspect, peek};
pub use lane::Lane;
pub use outbox::{Appended, LaneStat, Opened, Outbox};
pub use record::{PAYLOAD_BYTES_MAX, Record, Seq};
pub use recover::Recovery;
pub use segment::FORMAT;
