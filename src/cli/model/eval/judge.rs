//! A loaded model as the service asks it.

use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::cli::model::folder::no_such_variant;
use crate::flow::{Extraction, FailureReason, Judgement, ModelId};
use crate::infer::{ModelInput, Registry};
use crate::io::admission::Admitted;
use crate::runtime::{Pieces, Reading, TextInput, Unmarked};

/// A loaded model with what makes its inputs. As in the service, a failure puts it into quarantine.
pub(in crate::cli::model::eval) struct Judge {
    registry: Registry,
    model: ModelId,
    reading: Option<Reading>,
    made: TextInput,
    pieces: Pieces,
}

/// What a report came to.
pub(in crate::cli::model::eval) enum Answer {
    /// One judgement per task.
    Tasks(Vec<Judgement>),
    /// Entities.
    Entities(Extraction),
}

impl Judge {
    /// Loads a variant; the first one if `None` is asked for.
    pub(in crate::cli::model::eval) fn load(
        admitted: &Admitted,
        variant: Option<&str>,
    ) -> Result<Self, Failure> {
        let unknown = || Failure::Usage(no_such_variant(admitted.manifest(), variant));
        let (_, report) = admitted.variant(variant).ok_or_else(unknown)?;
        let loaded = admitted.load(variant).map_err(|error| Failure::Config(error.into()))?;
        let files = |file: &str| admitted.file(file).map(<[u8]>::to_vec);
        let reading =
            Reading::new(admitted.manifest(), &files).map_err(|error| Failure::Config(error.into()))?;
        let mut registry = Registry::new();
        let model = registry.add(loaded.ok_or_else(unknown)?, report.sha256, report.memory_bytes);
        let model = model.ok_or_else(unknown)?;
        Ok(Self { registry, model, reading, made: TextInput::default(), pieces: Pieces::default() })
    }

    /// Types of the entities it marks, those of rules included.
    pub(in crate::cli::model::eval) fn entity_types(&self) -> &[Arc<str>] {
        self.reading.as_ref().map_or(&[], Reading::entity_types)
    }

    /// Judges a window.
    pub(in crate::cli::model::eval) fn window(
        &mut self,
        values: &[f32],
        completeness: f32,
    ) -> Result<Vec<Judgement>, FailureReason> {
        self.ask(&ModelInput::Features { values, completeness: Some(completeness) })
    }

    /// Judges a report.
    pub(in crate::cli::model::eval) fn report(&mut self, text: &str) -> Result<Answer, FailureReason> {
        let Self { registry, model, reading, made, pieces } = self;
        let reading = reading.as_mut().ok_or(FailureReason::Errored)?;
        if !reading.entity_types().is_empty() {
            let unmarked = [Unmarked { text, uncertain_below: None }];
            let mut marked = pieces.mark(registry, (*model, reading), &unmarked, &mut |_| false);
            return marked.pop().ok_or(FailureReason::Errored)?.map(Answer::Entities);
        }
        reading.fill(text, made);
        let mut judged = registry.judge(*model, &[reading.input(made)], &mut |_| false);
        judged.pop().ok_or(FailureReason::Errored)?.map(Answer::Tasks)
    }

    fn ask(&mut self, input: &ModelInput<'_>) -> Result<Vec<Judgement>, FailureReason> {
        let mut judged = self.registry.judge(self.model, std::slice::from_ref(input), &mut |_| false);
        judged.pop().ok_or(FailureReason::Errored)?
    }
}
