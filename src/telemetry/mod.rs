//! Counters, logs and progress.
