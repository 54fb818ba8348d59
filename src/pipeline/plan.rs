//! What the brain is told about each stream.

use std::time::Duration;

use crate::distill::{DistillConfig, ModelNames};
use crate::egress::{ModelWords, Policy};
use crate::flow::{ModelId, Priority};
use crate::infer::ScheduleConfig;
use crate::window::WindowConfig;

/// Everything the brain is told.
#[derive(Clone, Debug)]
pub struct PipelinePlan {
    /// Streams by `StreamId`.
    pub streams: Vec<StreamPlan>,
    /// When a change counts, by `StreamId`.
    pub distill: DistillConfig,
    /// Closed words of the models, by `ModelId`.
    pub models: Vec<ModelNames>,
    /// What may leave, by `StreamId`.
    pub policies: Vec<Policy>,
    /// Every word a model can say, for the door.
    pub words: Vec<ModelWords>,
    /// Epoch of the outbox: the first part of every event's number.
    pub epoch: u32,
    /// Room for work that waits for a model, and what is known of the models.
    pub schedule: ScheduleConfig,
}

/// What the brain is told about one stream.
#[derive(Clone, Debug)]
pub struct StreamPlan {
    /// How samples are cut into windows; `None` for reports.
    pub window: Option<WindowConfig>,
    /// Who judges it.
    pub model: ModelId,
    /// Lane.
    pub priority: Priority,
    /// Longest wait before a model must have judged it.
    pub deadline: Duration,
}
