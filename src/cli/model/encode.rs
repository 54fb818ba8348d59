//! Features and texts to what a network gets, as the gateway makes it.

use std::sync::Arc;

use crate::cli::exit::Failure;
use crate::infer::judge::normalise;
use crate::infer::manifest::Encoding;
use crate::infer::{Manifest, ModelInput};
use crate::runtime::{Reading, TextInput};
use crate::text::WordSpan;

/// Makes inputs as a manifest asks for them.
pub(in crate::cli::model) struct Encoder {
    manifest: Arc<Manifest>,
    reading: Option<Reading>,
    made: TextInput,
    words: Vec<WordSpan>,
}

impl Encoder {
    /// For the inputs of a model; `files` gives the bytes of a file beside the manifest.
    pub(in crate::cli::model) fn new(
        manifest: &Arc<Manifest>,
        files: &dyn Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<Self, Failure> {
        let reading = Reading::new(manifest, files).map_err(|error| Failure::Config(error.into()))?;
        let manifest = Arc::clone(manifest);
        Ok(Self { manifest, reading, made: TextInput::default(), words: Vec::new() })
    }

    /// What the network gets for features (`None` where missing) or for a text, padded to a length it is loaded for;
    /// `None` if the model takes neither.
    pub(in crate::cli::model) fn row(
        &mut self,
        features: Option<&[Option<f32>]>,
        text: Option<&str>,
    ) -> Option<Vec<f64>> {
        let Encoding::Features { features: names, normalisation, .. } = &self.manifest.input.encoding else {
            return self.text_row(text?);
        };
        let values: Vec<f32> = features?.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
        let mut row = Vec::new();
        normalise(&values, normalisation, &mut row);
        (values.len() == names.len()).then(|| row.into_iter().map(f64::from).collect())
    }

    fn text_row(&mut self, text: &str) -> Option<Vec<f64>> {
        let reading = self.reading.as_mut()?;
        if self.manifest.tags.is_some() {
            // The first piece of the text.
            reading.split(text, &mut self.words);
            self.words.truncate(reading.words_max());
            let mut ids = Vec::new();
            reading.encode(text, &self.words, &mut ids);
            return Some(self.padded(&ids));
        }
        reading.fill(text, &mut self.made);
        match reading.input(&self.made) {
            ModelInput::Vector { values, .. } => Some(values.iter().map(|value| f64::from(*value)).collect()),
            ModelInput::Words { ids, .. } => Some(self.padded(ids)),
            ModelInput::Features { .. } => None,
        }
    }

    fn padded(&self, ids: &[i64]) -> Vec<f64> {
        let mut row: Vec<f64> = ids.iter().map(|id| *id as f64).collect();
        let length = self.manifest.input.lengths().into_iter().find(|length| *length >= row.len().max(1));
        row.resize(length.unwrap_or(row.len()), 0.0);
        row
    }
}
