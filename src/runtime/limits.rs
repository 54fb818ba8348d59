//! Capacities that the wiring uses and the memory plan counts.

/// Messages between the plant's poller and the brain: a few milliseconds of work, at most 16 MiB of payload.
pub(in crate::runtime) const INPUTS_MAX: usize = 64;

/// Requests to the outbox: a disk that stalls for 5 s holds up nobody at 200 events a second. Behind that they wait:
/// events are the product, and the plant's broker keeps what is not taken.
pub(in crate::runtime) const REQUESTS_MAX: usize = 1_024;

/// Alarms on their way to the outbox, past all other requests.
pub(in crate::runtime) const URGENT_MAX: usize = 128;

/// Most work waiting for a model: a burst of a few seconds. Less where the windows are large, see `memory`.
pub(in crate::runtime) const QUEUE_MAX: usize = 256;
