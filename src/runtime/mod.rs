//! The only home of tokio and threads: one shell per task, each a loop around a pure core.
//!
//! ```text
//! plant ──inputs──► analyze ──work──► infer (thread)
//!                      ▲  └──────────────┘ results
//!                      ├──decisions──► plant broker
//!                      └──records──► outbox (thread) ◄──reads, cursors── forward ──► upstream broker
//! governor ──budget──► analyze          status: everything on MQTT
//! ```
//!
//! # Invariants
//! Every channel is bounded and its capacity stands in `wiring`. A stage ends when its input ends.

mod analyze;
mod common;
mod arrivals;
mod client;
mod crowd;
mod decisions;
mod forward;
mod governor;
mod infer;
mod memory;
mod models;
mod options;
mod outbox;
mod plan;
mod plant;
mod playlist;
mod replay;
mod retry;
mod signals;
mod status;
mod subscribe;
mod supervisor;
mod threads;
mod wiring;

pub use common::WiringError;
pub use governor::board_profile;
pub use memory::{MemoryPart, memory_plan};
pub use models::{ADMISSION_MEMORY, ADMISSION_SECONDS, ModelFault, Models, load_models};
pub use options::{Options, Pace};
pub use plan::{Plan, plan};
pub use playlist::Speed;
pub use replay::{ReplayCounts, ReplayError, ReplayPlan, ReplayWatcher, replay};
pub use subscribe::{Consumed, LinkChange, SubscribeError, SubscribePlan, subscribe};
pub use supervisor::{DRAIN_TOTAL, RunError, run};
