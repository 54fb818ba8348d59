//! Admits and loads the configured models. One that is refused does not stop the others.

use std::sync::Arc;

use crate::config::ModelEntry;
use crate::infer::{Digest, Manifest, Model, Registry};
use crate::io::admission::{Admission, chain};
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

/// The configured models: loaded, or refused with a reason.
pub struct Models {
    /// The engine's side, by `ModelId`.
    pub registry: Registry,
    /// What each model is; `None` where it was refused.
    pub manifests: Vec<Option<Arc<Manifest>>>,
    /// How reports are read for each; `None` where it takes features or was refused.
    pub readings: Vec<Option<Reading>>,
    /// Why those were refused.
    pub faults: Vec<ModelFault>,
}

/// Admits each model in a child process and loads the bytes that were examined.
pub fn load_models(entries: &[ModelEntry]) -> std::io::Result<Models> {
    let admission = Admission::by_this_program(ADMISSION_MEMORY, ADMISSION_SECONDS)?;
    let (registry, manifests, readings, faults) = (Registry::new(), Vec::new(), Vec::new(), Vec::new());
    let mut models = Models { registry, manifests, readings, faults };
    for (index, entry) in entries.iter().enumerate() {
        match load(&admission, entry) {
            Ok(Loaded { model, reading, sha256, memory_bytes }) => {
                models.manifests.push(Some(Arc::clone(model.manifest())));
                models.readings.push(reading);
                models.registry.add(model, sha256, memory_bytes);
            }
            Err(why) => {
                models.registry.refuse(&entry.name, why.clone());
                models.manifests.push(None);
                models.readings.push(None);
                models.faults.push(ModelFault { index, why });
            }
        }
    }
    Ok(models)
}

/// The places of the configured models, all of them empty for this reason.
pub(in crate::runtime) fn left_out(entries: &[ModelEntry], why: &str) -> Models {
    let (registry, manifests, readings, faults) = (Registry::new(), Vec::new(), Vec::new(), Vec::new());
    let mut models = Models { registry, manifests, readings, faults };
    for entry in entries {
        models.registry.refuse(&entry.name, why.to_owned());
        models.manifests.push(None);
        models.readings.push(None);
    }
    models
}

/// A model ready to be asked.
struct Loaded {
    model: Model,
    reading: Option<Reading>,
    sha256: Digest,
    memory_bytes: u64,
}

fn load(admission: &Admission, entry: &ModelEntry) -> Result<Loaded, String> {
    let admitted = admission.admit(&entry.path).map_err(|error| chain(&error))?;
    if *admitted.manifest().name != *entry.name {
        let found = &admitted.manifest().name;
        return Err(format!(
            "{} holds the model {found:?}, not {:?}: correct the name or the path",
            entry.path.display(),
            entry.name
        ));
    }
    let (_, variant) = admitted.variant(None).ok_or("the manifest names no variant")?;
    let (sha256, memory_bytes) = (variant.sha256, variant.memory_bytes);
    let reading = Reading::new(admitted.manifest(), &|file| admitted.file(file).map(<[u8]>::to_vec));
    let reading =
        reading.map_err(|error| format!("model {}: {}", admitted.manifest().id(), chain(&error)))?;
    match admitted.load(None) {
        Ok(Some(model)) => Ok(Loaded { model, reading, sha256, memory_bytes }),
        Ok(None) => Err("the manifest names no variant".to_owned()),
        Err(error) => Err(chain(&error)),
    }
}
