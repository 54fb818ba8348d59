//! Capacities that the wiring uses and the memory plan counts.

/// Messages between the plant's poller and the brain: a few milliseconds of work, at most 16 MiB of payload.
pub(in crate::runtime) const INPUTS_MAX: usize = 64;

/// Requests to the outbox: a disk that stalls for 5 s holds up nobody at 200 events a second. Behind that they wait:
/// events are the product, and the plant's broker keeps what is not taken.
pub(in crate::runtime) const REQUESTS_MAX: usize = 1_024;

/// Alarms on their way to the outbox, past all other requests.
pub(in crate::runtime) const URGENT_MAX: usize = 128;

/// Bytes of records on their way to the outbox: as many as requests, of 512 each, which is a rich event.
pub(in crate::runtime) const RECORDS_BYTES_MAX: usize = 512 << 10;

/// Bytes of alarms on their way there: as many as requests, of 512 each, which is also one of the longest.
pub(in crate::runtime) const URGENT_BYTES_MAX: usize = 64 << 10;

/// Most work waiting for a model: a burst of a few seconds. Less where the windows are large, see `memory`.
pub(in crate::runtime) const QUEUE_MAX: usize = 256;

/// Bytes of messages between the plant's poller and the brain: sixty-four of 16 KiB, a row of a few dozen channels each.
/// A larger one waits until the others are through and then passes alone.
pub(in crate::runtime) const INPUT_BYTES_MAX: u64 = 1 << 20;

/// Bytes of decisions kept while the plant's broker is away or slow: a thousand usual ones of 500 bytes, with room for
/// those that show a text.
pub(in crate::runtime) const DECISIONS_BYTES_MAX: u64 = 1 << 20;

/// Bytes of alarms kept while they stand, to be told again after a reconnect: 256 of 1 KiB. Of those beyond, only the
/// first of each stream is kept whole; that the others stand is known all the same.
pub(in crate::runtime) const STANDING_BYTES_MAX: u64 = 256 << 10;
