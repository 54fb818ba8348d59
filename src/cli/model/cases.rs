//! Inputs in the form of a golden file: as the network gets them, with or without the outputs they belong to.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::exit::Failure;
use crate::cli::model::encode::row;
use crate::infer::{BATCH_MAX, Manifest};
use crate::io::files::read_bytes;

/// Longest file of cases: 10,000 vectors of 8,192 numbers as they are usually written are 150 MB.
const CASES_BYTES_MAX: u64 = 256 << 20;

/// Inputs with the outputs they belong to.
#[derive(Default, Serialize)]
pub(in crate::cli::model) struct Cases {
    /// By task: the labels in the order of its output, so that a manifest that swaps them is found out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(in crate::cli::model) labels: BTreeMap<String, Vec<String>>,
    pub(in crate::cli::model) cases: Vec<Case>,
}

/// One input.
#[derive(Default, Serialize)]
pub(in crate::cli::model) struct Case {
    /// As the network gets it: normalised, or ids.
    pub(in crate::cli::model) input: Vec<f64>,
    /// By name of the output.
    pub(in crate::cli::model) outputs: BTreeMap<String, Vec<f64>>,
}

/// The file as it is written; what else it holds is for admission.
#[derive(Deserialize)]
struct RawCases {
    cases: Vec<RawCase>,
}

#[derive(Deserialize)]
struct RawCase {
    input: Option<Vec<f64>>,
    raw: Option<Vec<Option<f32>>>,
    text: Option<String>,
    #[serde(default)]
    outputs: BTreeMap<String, Vec<f64>>,
}

impl Cases {
    /// The golden cases of a model.
    pub(in crate::cli::model) fn golden(dir: &Path, manifest: &Manifest) -> Result<Self, Failure> {
        Self::read(&dir.join(&*manifest.golden.file), Some(manifest))
    }

    /// Cases in a file. Those that hold a text or features instead of the input need a manifest.
    pub(in crate::cli::model) fn read(path: &Path, manifest: Option<&Manifest>) -> Result<Self, Failure> {
        let bytes = read_bytes(path, CASES_BYTES_MAX).map_err(|error| Failure::Io(error.into()))?;
        let raw: RawCases = serde_json::from_slice(&bytes).map_err(|error| {
            let form = format!("{}: write {{\"cases\":[{{\"input\":[0.1,-0.4]}}]}}", path.display());
            Failure::Io(anyhow::Error::new(error).context(form))
        })?;
        let mut cases = Vec::new();
        for (index, case) in raw.cases.into_iter().enumerate() {
            let made =
                || manifest.and_then(|manifest| row(manifest, case.raw.as_deref(), case.text.as_deref()));
            let input = case.input.or_else(made);
            let missing = || {
                Failure::Io(anyhow::anyhow!(
                    "{}: case {index} has no input the network could take: a text, or features, need the folder of their model",
                    path.display()
                ))
            };
            cases.push(Case { input: input.ok_or_else(missing)?, outputs: case.outputs });
        }
        if cases.is_empty() {
            return Err(Failure::Io(anyhow::anyhow!("{}: holds no case", path.display())));
        }
        Ok(Self { labels: BTreeMap::new(), cases })
    }

    /// Rows of a length: those there are, else rows made of all cases, one after the other, so that the numbers are
    /// real ones.
    pub(in crate::cli::model) fn of_length(&self, length: usize) -> Vec<Vec<f64>> {
        let fit = self.cases.iter().filter(|case| case.input.len() == length);
        let rows: Vec<Vec<f64>> = fit.map(|case| case.input.clone()).collect();
        if !rows.is_empty() {
            return rows;
        }
        let mut numbers = self.cases.iter().flat_map(|case| case.input.iter().copied()).cycle();
        (0..BATCH_MAX).map(|_| numbers.by_ref().take(length).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_without_a_case_is_filled_from_the_others() {
        let case = |input: &[f64]| Case { input: input.to_vec(), ..Case::default() };
        let cases = Cases { cases: vec![case(&[1.0, 2.0]), case(&[3.0])], ..Cases::default() };
        assert_eq!(cases.of_length(1), [[3.0]]);
        assert_eq!(cases.of_length(4)[..2], [[1.0, 2.0, 3.0, 1.0], [2.0, 3.0, 1.0, 2.0]]);
    }
}
