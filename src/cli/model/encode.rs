//! Features and texts to what a network gets, as the gateway makes it.

use crate::flow::{FailureReason, Judgement};
use crate::infer::judge::normalise;
use crate::infer::manifest::Encoding;
use crate::infer::{Manifest, Model, ModelInput};
use crate::text::{NgramConfig, NgramEncoder};

/// Makes inputs as a manifest asks for them.
pub(in crate::cli::model) struct Encoder<'a> {
    manifest: &'a Manifest,
    grams: Option<NgramEncoder>,
    dense: Vec<f32>,
}

impl<'a> Encoder<'a> {
    /// Judges a text.
    pub(in crate::cli::model) fn judge(
        &mut self,
        model: &mut Model,
        text: &str,
    ) -> Result<Vec<Judgement>, FailureReason> {
        let grams = self.grams.as_mut().ok_or(FailureReason::Errored)?;
        grams.encode(text, &mut self.dense);
        model.judge(&ModelInput::Vector { values: &self.dense, known_share: None }, &mut || false)
    }

    /// For the inputs of a model.
    pub(in crate::cli::model) fn new(manifest: &'a Manifest) -> Self {
        let grams = match manifest.input.encoding {
            Encoding::CharNgrams { dims, n_min, n_max } => {
                NgramConfig::new(dims, n_min, n_max).ok().map(NgramEncoder::new)
            }
            Encoding::Features { .. } | Encoding::Tokens { .. } => None,
        };
        Self { manifest, grams, dense: Vec::new() }
    }

    /// What the network gets for features (`None` where missing) or for a text; `None` if the model takes neither.
    pub(in crate::cli::model) fn row(
        &mut self,
        features: Option<&[Option<f32>]>,
        text: Option<&str>,
    ) -> Option<Vec<f64>> {
        let mut row = Vec::new();
        match &self.manifest.input.encoding {
            Encoding::Features { features: names, normalisation, .. } => {
                let values: Vec<f32> = features?.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
                if values.len() != names.len() {
                    return None;
                }
                normalise(&values, normalisation, &mut row);
            }
            Encoding::CharNgrams { .. } => self.grams.as_mut()?.encode(text?, &mut row),
            Encoding::Tokens { .. } => return None,
        }
        Some(row.into_iter().map(f64::from).collect())
    }
}
