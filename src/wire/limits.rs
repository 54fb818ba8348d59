//! What a reader accepts at most, so that hostile bytes cannot take memory.

/// Events in one batch.
pub const EVENTS_MAX: usize = 4096;

/// Bytes of a batch body before compression, and of one line of JSON. 256 rich events take about 10 KiB.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// How many times larger than its stored bytes a body may be. Constant columns are collapsed before compression,
/// so real batches stay below ten.
pub const RATIO_MAX: usize = 200;

/// Results, scores, features and entities of one batch, taken together; 24 to 64 bytes of memory each.
pub const ITEMS_MAX: usize = 1 << 17;

/// Tasks of one model.
pub const TASKS_MAX: usize = 64;

/// Labels of one task, features of one event, entities of one record.
pub const NAMES_MAX: usize = 4096;

/// Distinct words in one batch.
pub const WORDS_MAX: usize = 1 << 14;

/// Bytes of one word. Names of streams, models, tasks, labels, features and vocabulary are far shorter.
pub const WORD_BYTES_MAX: usize = 1024;

/// Bytes of a stored record: one event.
pub const RECORD_BYTES_MAX: usize = 1 << 16;
