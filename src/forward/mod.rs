//! Delivery session to upstream (pure): when to connect, what to send next, how far the cursor may move.
//!
//! # Invariants
//! * A cursor never passes a record whose batch has not been acknowledged, whatever the order of acknowledgements.
//! * Whatever was on its way when a connection ended is sent again on the next one.
//! * Bytes sent stay within the rate and the daily budget; batches under way stay within the limit.
//!
//! # Never
//! No records, no events: this room moves numbers. The shell reads the outbox, builds batches and publishes them.

mod allowance;
mod backoff;
mod config;
mod lane;
mod link;
mod session;

pub use allowance::{Allowance, Day, Spent};
pub use backoff::Backoff;
pub use config::ForwardConfig;
pub use link::{Link, LinkState};
pub use session::{Advance, Counts, Fetch, Session, Status, Token, Withheld};
