//! Model folders: which there are, their manifests, their admission.

use std::path::{Path, PathBuf};

use crate::cli::exit::Failure;
use crate::infer::manifest::Variant;
use crate::infer::{Manifest, VariantReport};
use crate::io::admission::{Admission, AdmitError, Admitted};
use crate::io::files::{file_bytes, list_folders, read_text};
use crate::runtime::{ADMISSION_MEMORY, ADMISSION_SECONDS};

/// Where packages put models.
pub(in crate::cli::model) const INSTALLED: &str = "/usr/share/tidegate/models";

/// The file that makes a folder a model.
pub(in crate::cli::model) const MANIFEST: &str = "manifest.toml";

/// The models among some folders and directly below them.
pub(in crate::cli::model) fn models_in(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut models = Vec::new();
    for folder in folders {
        if is_model(folder) {
            models.push(folder.clone());
        } else {
            let below = list_folders(folder).map_err(|error| {
                Failure::Io(
                    anyhow::Error::new(error).context("look for models; name the folder that holds them"),
                )
            })?;
            models.extend(below.into_iter().filter(|folder| is_model(folder)));
        }
    }
    Ok(models)
}

fn is_model(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file()
}

/// The manifest in a folder, or its faults in one line.
pub(in crate::cli::model) fn read_manifest(folder: &Path) -> Result<Manifest, String> {
    let path = folder.join(MANIFEST);
    let text = read_text(&path).map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    Manifest::parse(&text).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        format!("{}: {}", path.display(), faults.join("; "))
    })
}

/// Bytes of the graphs of all variants.
pub(in crate::cli::model) fn graph_bytes(folder: &Path, manifest: &Manifest) -> Result<u64, Failure> {
    let mut sum = 0;
    for variant in &manifest.variants {
        sum += file_bytes(&folder.join(&*variant.file)).map_err(|error| Failure::Io(error.into()))?;
    }
    Ok(sum)
}

/// Examines a model as the service does.
pub(in crate::cli::model) fn admit(dir: &Path) -> Result<Admitted, Failure> {
    let admission = Admission::by_this_program(ADMISSION_MEMORY, ADMISSION_SECONDS);
    let admission = admission.map_err(|error| Failure::Io(error.into()))?;
    admission.admit(dir).map_err(|error| match error {
        AdmitError::Read { .. } | AdmitError::Start { .. } => Failure::Io(error.into()),
        AdmitError::Refused { .. } | AdmitError::Died { .. } | AdmitError::Changed { .. } => {
            Failure::Config(error.into())
        }
    })
}

/// The variant of that name, or all of them, each with what its admission found.
pub(in crate::cli::model) fn variants_of<'a>(
    admitted: &'a Admitted,
    name: Option<&str>,
) -> Result<Vec<(&'a Variant, &'a VariantReport)>, Failure> {
    let manifest = admitted.manifest();
    let all = manifest.variants.iter().zip(&admitted.report().variants);
    let chosen: Vec<_> = all.filter(|(known, _)| name.is_none_or(|name| name == &*known.name)).collect();
    if chosen.is_empty() { Err(Failure::Usage(no_such_variant(manifest, name))) } else { Ok(chosen) }
}

/// What to say about a variant that is not there.
pub(in crate::cli::model) fn no_such_variant(manifest: &Manifest, name: Option<&str>) -> anyhow::Error {
    let known: Vec<&str> = manifest.variants.iter().map(|variant| &*variant.name).collect();
    let name = name.unwrap_or_default();
    anyhow::anyhow!("{} has no variant {name:?}; it has: {}", manifest.id(), known.join(" | "))
}
