//! One file per command.

pub mod outbox;
