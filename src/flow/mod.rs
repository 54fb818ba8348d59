//! What flows through the gateway: plain data with its invariants, no behaviour.
//!
//! # Never
//! No room's logic, no I/O, no clock. Raw samples and reports have no `Debug` and no `Serialize`.

mod budget;
mod event;
mod features;
mod ids;
mod inference;
mod readings;
mod report;
mod sample;
mod summary;
mod window;

pub use budget::{Admit, Budget, BudgetReason, Level, VariantRule};
pub use event::{
    Change, Entity, Event, EventId, Extracted, Facts, Local, LocalEntity, Named, Outbound, Priority,
    StreamKind, TaskResult,
};
pub use features::FeatureVector;
pub use ids::{AssetId, ModelId, SignalId, StreamId};
pub use inference::{
    Extraction, FailureReason, FoundEntity, Inference, Judgement, Outcome, Subject, Verdict, When,
};
pub use readings::{GroupMemory, HardwareReading, MemoryReading, PowerReading, PowerSource, Sensed};
pub use report::{Private, Report};
pub use sample::{BadWhy, Quality, Sample, SampleBatch};
pub use summary::{FeatureSummary, GapReason, Grain, LabelSummary, Summary, TaskSummary};
pub use window::{Completeness, Series, TimeSpan, Window};
