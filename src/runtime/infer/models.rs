//! Admits the configured models and says which of them fit into memory. One that is refused does not stop the others.

use std::sync::Arc;

use crate::config::{Config, ModelEntry, StreamSettings};
use crate::flow::{ModelId, Priority, VariantRule};
use crate::infer::{Fit, Form, Manifest, Needs, Registry, residency};
use crate::io::admission::{Admission, ModelSource, chain};
use crate::runtime::memory::{MemoryPart, models_limit};
use crate::runtime::reading::Reading;
use crate::units::Bytes;

/// Address space of the admission child. The program itself maps about 30 MiB, and loading takes about twice the
/// largest file allowed.
pub const ADMISSION_MEMORY: Bytes = Bytes(1 << 30);

/// Longest examination of one model. Ours take well under a second; a Pi 3 is about ten times slower than a desk.
pub const ADMISSION_SECONDS: u32 = 30;

/// Why a model cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFault {
    /// Index into the configured models.
    pub index: usize,
    /// What is wrong and what to do about it.
    pub why: String,
}

/// The configured models: admitted, or refused with a reason. None is loaded yet.
pub struct Models {
    /// The engine's side, by `ModelId`.
    pub registry: Registry,
    /// What each model is; `None` where it was refused.
    pub manifests: Vec<Option<Arc<Manifest>>>,
    /// How reports are read for each; `None` where it takes features or was refused.
    pub readings: Vec<Option<Reading>>,
    /// Where each is loaded from; `None` where it was refused.
    pub sources: Vec<Option<Arc<ModelSource>>>,
    /// Why those were refused.
    pub faults: Vec<ModelFault>,
}

/// Admits each model in a child process. What was examined is loaded later, from the same bytes.
pub fn load_models(entries: &[ModelEntry]) -> std::io::Result<Models> {
    let admission = Admission::by_this_program(ADMISSION_MEMORY, ADMISSION_SECONDS)?;
    let mut models = Models::none();
    for (index, entry) in entries.iter().enumerate() {
        match admit(&admission, entry) {
            Ok((source, reading)) => models.expect(source, reading),
            Err(why) => models.refuse(index, &entry.name, why),
        }
    }
    Ok(models)
}

impl Models {
    /// Without any.
    pub fn none() -> Self {
        let (manifests, readings, sources, faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { registry: Registry::new(), manifests, readings, sources, faults }
    }

    /// The places of the configured models, all of them empty for this reason.
    pub(in crate::runtime) fn left_out(entries: &[ModelEntry], why: &str) -> Self {
        let mut models = Self::none();
        for (index, entry) in entries.iter().enumerate() {
            models.refuse(index, &entry.name, why.to_owned());
        }
        models
    }

    /// What each asks for, by [`ModelId`]: in the most urgent lane of the streams that need it.
    pub fn needs(&self, config: &Config) -> Vec<Needs> {
        let lane = |id: u16| {
            let needs_it = |stream: &&StreamSettings| [stream.model, stream.extractor].contains(&Some(id));
            let lanes = config.streams.iter().filter(needs_it).map(|stream| stream.priority);
            lanes.min().unwrap_or(Priority::Bulk)
        };
        let needs = |(id, source): (u16, &Option<Arc<ModelSource>>)| Needs {
            forms: source.iter().flat_map(|source| source.forms()).map(|form| form.cost).collect(),
            lane: lane(id),
        };
        (0_u16..).zip(&self.sources).map(needs).collect()
    }

    /// Whether they fit into what the rest of the plan leaves of the budget, and how.
    pub fn fit(&self, config: &Config) -> Fit {
        residency::plan(&self.needs(config), models_limit(config, &self.manifests))
    }

    /// `name@version`, or the configured name of one that was refused.
    pub fn name(&self, id: ModelId) -> Arc<str> {
        let status = self.registry.status().nth(id.0.into());
        status.map_or_else(|| Arc::from(""), |status| status.id)
    }

    /// For people: which form it is, if it is not the best.
    fn lesser(&self, id: ModelId, form: usize) -> String {
        let source = self.sources.get(usize::from(id.0)).and_then(Option::as_ref).filter(|_| form > 0);
        let forms = source.map(|source| source.forms()).unwrap_or_default();
        forms.get(form).map_or_else(String::new, |form| format!(" as {}", form.name))
    }

    fn expect(&mut self, source: ModelSource, reading: Option<Reading>) {
        let manifest = Arc::clone(source.manifest());
        if let Some(id) = self.registry.expect(Arc::clone(&manifest))
            && let Some(first) = source.forms().first()
        {
            self.registry.describe(id, first);
        }
        self.manifests.push(Some(manifest));
        self.readings.push(reading);
        self.sources.push(Some(Arc::new(source)));
    }

    fn refuse(&mut self, index: usize, name: &str, why: String) {
        self.registry.refuse(name, why.clone());
        self.manifests.push(None);
        self.readings.push(None);
        self.sources.push(None);
        self.faults.push(ModelFault { index, why });
    }
}

fn admit(admission: &Admission, entry: &ModelEntry) -> Result<(ModelSource, Option<Reading>), String> {
    let admitted = admission.admit(&entry.path).map_err(|error| chain(&error))?;
    if *admitted.manifest().name != *entry.name {
        let found = &admitted.manifest().name;
        return Err(format!(
            "{} holds the model {found:?}, not {:?}: correct the name or the path",
            entry.path.display(),
            entry.name
        ));
    }
    let reading = Reading::new(admitted.manifest(), &|file| admitted.file(file).map(<[u8]>::to_vec));
    let reading =
        reading.map_err(|error| format!("model {}: {}", admitted.manifest().id(), chain(&error)))?;
    Ok((admitted.source(), reading))
}

/// The lines of the memory plan for the models, where everything else takes `fixed` bytes of the budget.
pub(in crate::runtime) fn model_parts(config: &Config, models: &Models, fixed: u64) -> Vec<MemoryPart> {
    let needs = models.needs(config);
    let fit = residency::plan(&needs, config.budget.memory.0.saturating_sub(fixed));
    let part = |what: String, bytes: u64| MemoryPart { what, bytes: Bytes(bytes) };
    let (rule, turns, needed) = match fit {
        Fit::Together { needed, rule } => (rule, Vec::new(), needed),
        Fit::Turns { needed, turns, rule, .. } => (rule, turns, needed),
        Fit::Never { needed, largest } => (VariantRule::Smallest, vec![largest], needed),
    };
    let (mut parts, mut sum) = (Vec::new(), 0);
    for (id, needs) in (0_u16..).map(ModelId).zip(&needs) {
        let Some(form) = residency::choose(&needs.forms, rule) else { continue };
        let Some(cost) = needs.forms.get(form) else { continue };
        // Where not even turns help, those that stay and the one that is too large are told.
        let is_told = turns.is_empty() || needs.is_pinned();
        if is_told {
            sum += cost.kept;
            parts.push(part(format!("model {}{}", models.name(id), models.lesser(id, form)), cost.kept));
        }
    }
    let names: Vec<String> = turns.iter().map(|id| models.name(*id).to_string()).collect();
    let rest = needed.saturating_sub(sum);
    match names.as_slice() {
        [] if rest > 0 => parts.push(part("models, while one is loaded".to_owned(), rest)),
        [] => {}
        [only] => parts.push(part(format!("model {only}, while it is loaded"), rest)),
        several => parts.push(part(format!("models {} in turns: the largest", several.join(", ")), rest)),
    }
    parts
}

/// The forms of each model, by [`ModelId`].
pub(in crate::runtime) fn forms(sources: &[Option<Arc<ModelSource>>]) -> Vec<Vec<Form>> {
    sources.iter().map(|source| source.as_ref().map_or_else(Vec::new, |source| source.forms())).collect()
}
