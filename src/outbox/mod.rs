//! Durable queue of opaque records; knows nothing of events.
