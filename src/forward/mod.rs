//! Delivery session to upstream (pure): when to connect, what to send next, how far the cursor may move.
//!
//! # Invariants
//! * A cursor never passes a record whose batch has not been acknowledged, whatever the order of acknowledgements.
//! * Whatever was on its way when a connection ended is sent again on the next one.
//! * Every byte on the socket, both ways, stays within the budget of the day, over restarts too; bytes sent stay within the
//!   rate; batches under way stay within the limit of the broker.
//! * Alarms go first, live records before backlog, and the backlog always moves.
//! * A record at which connections die is set aside, after three tries at the least, and nothing else is.
//!
//! # Never
//! No records, no events: this room moves numbers. The shell reads the outbox, builds batches and publishes them.
//!
//! # Files
//! `session` decides; it asks `lane` what comes next, `ledger` whether the day can pay (`cost` is the tariff), `pace` whether the
//! rate can, `estimate` what the link carries, `poison` who is under suspicion, and writes down with `note` what a restart must
//! know.

mod backoff;
mod config;
mod cost;
mod estimate;
mod lane;
mod ledger;
mod link;
mod moment;
mod note;
mod pace;
mod poison;
mod session;
mod status;

pub use backoff::Backoff;
pub use config::ForwardConfig;
pub use link::{Link, LinkState};
pub use moment::{Day, Moment};
pub use session::{LaneStart, Session};
pub use status::{Counts, Fetch, Loss, Settled, Status, Token, Withheld};
