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
mod arrivals;
mod certificates;
mod coarsening;
mod commands;
mod common;
mod complaints;
mod crowd;
mod decisions;
mod endpoints;
mod extraction;
mod forward;
mod gaps;
mod governor;
mod hardware;
mod infer;
mod known_time;
mod limits;
#[cfg(test)]
#[path = "link/tests.rs"]
mod link_tests;
mod memory;
mod operations;
mod options;
mod outbox;
mod plan;
mod plant;
mod power_fail;
mod reading;
mod records;
mod retry;
mod room;
#[cfg(test)]
#[path = "../../tests/support/slow_disk.rs"]
mod slow_disk;
#[cfg(test)]
mod stall_tests;
mod starts;
mod state_files;
mod status;
mod summary_ids;
mod supervisor;
mod target;
mod text_row;
mod threads;
#[cfg(test)]
#[path = "watchdog/tests.rs"]
mod watchdog_tests;
mod wiring;

pub use coarsening::{Coarsening, CoarseningCounts};
pub use commands::{
    Consumed, LinkChange, ReplayCounts, ReplayError, ReplayPlan, ReplayWatcher, Speed, SubscribeError,
    SubscribePlan, replay, subscribe,
};
pub use common::WiringError;
pub use extraction::{Pieces, Unmarked};
pub use governor::board_profile;
pub use hardware::attached;
pub use infer::{ADMISSION_MEMORY, ADMISSION_SECONDS, InferLost, ModelFault, Models, load_models};
pub use memory::{MemoryPart, least_budget, memory_plan};
pub use options::{Options, Pace};
pub use plan::{Plan, plan};
pub use reading::{Reading, ReadingError, TextInput, word_config};
pub use room::Room;
pub use summary_ids::{SUMMARY_NUMBERS_FROM, SummaryIds};
pub use supervisor::{DRAIN_TOTAL, RunError, run};
pub use text_row::text_row;
