//! The whole thing with nothing installed: brokers, a plant, a gateway, a consumer, an outage and a heat wave.
//!
//! ```text
//! rigs, reports ──► plant broker ──► gateway (runtime::run) ──► relay ──► upstream broker ──► consumer
//!                        └──► what the gateway says ──► view       └── cut by the script
//!                                      made-up Raspberry Pi 4 ──► gateway: heated by the air of the script and by its work
//! ```
//!
//! # Invariants
//! * The gateway is the service itself with a configuration as an operator would write it; only slow periods are shortened.
//! * What arrived is counted by a client of the upstream broker that knows nothing of the gateway.
//! * It ends by itself, whatever hangs.

mod board;
mod broker;
mod ear;
mod error;
mod models;
mod picture;
mod plant;
mod relay;
mod reports;
mod rig;
mod script;
mod sentences;
mod setup;
mod stage;
mod streams;
mod summary;
pub mod twin;
mod view;

pub use error::DemoError;
pub use stage::{DemoOptions, run_demo};
pub use summary::Summary;
