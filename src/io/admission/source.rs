//! The folder of an admitted model, from which it is loaded whenever it is needed.
//!
//! # Invariants
//! Only bytes whose digest is the admitted one are loaded: what was examined is what runs, however often it is read.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::infer::manifest::Variant;
use crate::infer::{
    AdmissionError, AdmissionLimits, Cost, Digest, Digester, EngineError, Form, Manifest, Model,
    VariantReport,
};
use crate::io::files::{open_at_once, read_capped};

/// Bytes of a file in memory while it is checked.
const PIECE: usize = 64 << 10;

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
        source: io::Error,
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

    /// Whether the file of a variant is still the one that was admitted, without taking memory for it.
    pub fn check(&self, index: usize) -> Result<(), ReloadError> {
        let (variant, _) = self.known(index)?;
        let found = digest(&self.folder.join(&*variant.file), AdmissionLimits::default().file_bytes);
        let found =
            found.map_err(|source| ReloadError::Read { model: Arc::clone(self.manifest.id()), source })?;
        self.admitted(variant, found)
    }

    /// Reads a variant, checks that it is the one that was admitted, and loads it; with what that cost just now.
    pub fn load(&self, index: usize) -> Result<(Model, Cost), ReloadError> {
        let model = || Arc::clone(self.manifest.id());
        let (variant, report) = self.known(index)?;
        let (loaded, heap) = tidegate_alloc::measure(|| {
            let most = AdmissionLimits::default().file_bytes;
            let bytes = read_capped(&self.folder.join(&*variant.file), most)
                .map_err(|source| ReloadError::Read { model: model(), source })?;
            self.admitted(variant, Digest::of(&bytes))?;
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

    fn known(&self, index: usize) -> Result<(&Variant, &VariantReport), ReloadError> {
        let known = self.manifest.variants.get(index).zip(self.variants.get(index));
        known.ok_or_else(|| ReloadError::Variant { model: Arc::clone(self.manifest.id()), index })
    }

    fn admitted(&self, variant: &Variant, found: Digest) -> Result<(), ReloadError> {
        if found == variant.sha256 {
            return Ok(());
        }
        let (model, file) = (Arc::clone(self.manifest.id()), Arc::clone(&variant.file));
        let changed = AdmissionError::Digest { model, file, expected: variant.sha256, found };
        Err(ReloadError::Changed(changed))
    }
}

/// The digest of a plain file of at most this length.
fn digest(path: &Path, most: u64) -> io::Result<Digest> {
    let file = open_at_once(path, OpenOptions::new().read(true))?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut reader = BufReader::with_capacity(PIECE, file.take(most.saturating_add(1)));
    let (mut digester, mut length) = (Digester::default(), 0);
    loop {
        let bytes = reader.fill_buf()?;
        let taken = bytes.len();
        if taken == 0 {
            return if length > most {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(digester.finish())
            };
        }
        digester.push(bytes);
        length += taken as u64;
        reader.consume(taken);
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
