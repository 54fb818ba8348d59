//! The configuration file: read, validated, every fault at once with its key and what is allowed.
//!
//! # Invariants
//! A [`Config`] cannot be wrong: sizes and durations are typed, names are checked, every cross-reference resolves.
//! Unknown keys are faults. Secrets are never in the file, only the paths of the files that hold them.
//!
//! # Why not serde for the file
//! A derived reader stops at its first error. A fitter on a ladder wants them all: `section` walks the parsed
//! tables, notes each fault and goes on.

mod fault;
mod gateway;
mod hardware;
mod link;
mod payload;
mod section;
mod stream;
mod tree;

pub use fault::{Fault, Faults, WHOLE_FILE};
pub use gateway::{BudgetSettings, Gateway, MEMORY_MAX, MEMORY_MIN, TemperatureLimit, ValueSource};
pub use hardware::{Device, DeviceSource};
pub use link::{LinkSettings, Plant, Upstream, UpstreamEncoding};
pub use stream::{ForwardFeature, ForwardSettings, StreamSettings, StreamSource};
pub use tree::{Config, DEFAULT_CONFIG, ModelEntry};
