//! Feature vectors and texts to inferences (pure computation).
//!
//! A model is admitted first (digest, cost, golden vectors, in a child process), then loaded from the same bytes.
//!
//! # Never
//! No path and no file: models come as bytes. No clock: a deadline is a question the caller answers.

pub mod admission;
pub mod digest;
pub mod engine;
pub mod judge;
pub mod manifest;
pub mod model;
pub mod registry;
pub mod residency;
pub mod schedule;
pub mod tensor;
pub mod work;

pub use admission::{
    AdmissionError, AdmissionLimits, AdmissionReport, BATCH_MAX, BATCH_MIN, Encode, Excess, OutlineLimits,
    ThreadTime, VariantReport, examine,
};
pub use digest::{Digest, Digester};
pub use engine::{Draft, Engine, EngineError, Footprint, RunError, Survey, spec_at};
pub use judge::{Evidence, judge, out_of_scope};
pub use manifest::{Manifest, ManifestFault};
pub use model::{Model, ModelInput};
pub use registry::{Form, ModelState, ModelStatus, Registry, ReportCounts};
pub use residency::{Cost, Fit, Needs, Residency, Step};
pub use schedule::{BATCHES_OUT_MAX, ScheduleConfig, ScheduleCounts, Scheduler};
pub use work::{Batch, Work, WorkInput};
