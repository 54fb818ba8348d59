//! What the gateway says about itself on the plant's broker: one file for each topic, and the shell that publishes them.
//!
//! # Invariants
//! What is told depends on nothing but its sources, and is retained: a subscriber that comes later sees the state as it is.

mod budget;
mod health;
mod link;
mod metrics;
mod models;
mod outbox;
mod report;
mod stamp;
#[cfg(test)]
mod tests;
mod topics;

pub(in crate::runtime) use report::{REPORT_EVERY, Sources, StatusReport};
pub(in crate::runtime) use stamp::{last_health, stamped};
pub(in crate::runtime) use topics::Topics;
