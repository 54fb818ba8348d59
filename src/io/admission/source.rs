//! The folder of an admitted model, from which it is loaded whenever it is needed.
//!
//! # Invariants
//! Only bytes whose digest is the admitted one are loaded: what was examined is what runs, however often it is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::infer::manifest::Variant;
use crate::infer::{
    AdmissionError, AdmissionLimits, Cost, Digest, EngineError, Form, Manifest, Model, VariantReport,
};
use crate::io::files::read_capped;

/// Where an admitted model comes from, without its bytes.
#[derive(Clone, Debug)]
pub struct ModelSource {
    manifest: Arc<Manifest>,
    folder: PathBuf,
    variants: Vec<VariantReport>,
}

/// Why a model that was admitted cannot be loaded again.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such variant.
    #[error("model {model} has no variant {index}")]
    Variant {
        /// `name@version`.
        model: Arc<str>,
        /// As asked for.
        index: usize,
    },
    /// A file cannot be read.
    #[error("model {model}: load it again: keep its folder as it was at the start")]
    Read {
        /// `name@version`.
        model: Arc<str>,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not the one that was admitted.
    #[error("{0}, or restart the gateway to admit the new one")]
    Changed(AdmissionError),
    /// The engine does not take it now.
    #[error("model {model}: load it again")]
    Engine {
        /// `name@version`.
        model: Arc<str>,
        /// Why.
        #[source]
        source: EngineError,
    },
}

impl ModelSource {
    /// Of a folder that was examined, with what was found out about its variants.
    pub(crate) fn new(manifest: Arc<Manifest>, folder: PathBuf, variants: Vec<VariantReport>) -> Self {
        Self { manifest, folder, variants }
    }

    /// What the model is.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Its forms, with what they cost as admission measured it, or predicted it where nothing counts.
    pub fn forms(&self) -> Vec<Form> {
        let form = |(variant, report): (&Variant, &VariantReport)| Form {
            name: Arc::clone(&variant.name),
            sha256: variant.sha256,
            predicted: report.memory_bytes,
            cost: cost(report),
            batch_max: proven(report).into_iter().max().unwrap_or(1),
        };
        self.manifest.variants.iter().zip(&self.variants).map(form).collect()
    }

    /// Reads a variant, checks that it is the one that was admitted, and loads it; with what that cost just now.
    pub fn load(&self, index: usize) -> Result<(Model, Cost), ReloadError> {
        let model = || Arc::clone(self.manifest.id());
        let known = self.manifest.variants.get(index).zip(self.variants.get(index));
        let (variant, report) = known.ok_or_else(|| ReloadError::Variant { model: model(), index })?;
        let (loaded, heap) = tidegate_alloc::measure(|| {
            let most = AdmissionLimits::default().file_bytes;
            let bytes = read_capped(&self.folder.join(&*variant.file), most)
                .map_err(|source| ReloadError::Read { model: model(), source })?;
            let found = Digest::of(&bytes);
            if found != variant.sha256 {
                let (file, expected) = (Arc::clone(&variant.file), variant.sha256);
                let changed = AdmissionError::Digest { model: model(), file, expected, found };
                return Err(ReloadError::Changed(changed));
            }
            let loaded = Model::load(Arc::clone(&self.manifest), &bytes, &proven(report));
            drop(bytes);
            let mut loaded = loaded.map_err(|source| ReloadError::Engine { model: model(), source })?;
            loaded.warm_up();
            Ok(loaded)
        });
        let known = cost(report);
        let cost = if heap.kept == 0 {
            known
        } else {
            Cost { kept: heap.kept, peak: heap.peak, spent: known.spent }
        };
        Ok((loaded?, cost))
    }
}

/// Of our own batch sizes those it was examined at: the child is not trusted with any other, nor to take the first.
pub(in crate::io::admission) fn proven(report: &VariantReport) -> Vec<usize> {
    let own = AdmissionLimits::default().batches.into_iter().enumerate();
    let examined = own.filter(|(index, items)| *index == 0 || report.batches.contains(items));
    examined.map(|(_, items)| items).collect()
}

fn cost(report: &VariantReport) -> Cost {
    let spent = Duration::from_nanos(report.spent_nanos);
    let counted = report.memory_measured > 0;
    // Loading takes about as much again as what stays, for a moment.
    let (kept, peak) = if counted {
        (report.memory_measured, report.load_peak)
    } else {
        (report.memory_bytes, report.memory_bytes.saturating_mul(2))
    };
    Cost { kept, peak: peak.max(kept), spent }
}
