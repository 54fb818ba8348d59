//! The outside world: every adapter, and only adapters.

mod recording;

pub use recording::{Recording, RecordingError, RecordingFormat, Row};
