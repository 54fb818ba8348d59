//! The manifest as written: every key optional, so that all that is missing can be named at once.

use serde::Deserialize;

/// `manifest.toml`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawManifest {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) input: Option<RawInput>,
    pub(crate) tasks: Option<Vec<RawTask>>,
    pub(crate) tags: Option<RawTags>,
    pub(crate) scope: Option<RawScope>,
    pub(crate) variants: Option<Vec<RawVariant>>,
    pub(crate) golden: Option<RawGolden>,
    pub(crate) training: Option<RawTraining>,
    #[serde(default)]
    pub(crate) scores: Vec<RawScore>,
}

/// `[input]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawInput {
    pub(crate) tensor: Option<String>,
    pub(crate) dtype: Option<String>,
    pub(crate) scale: Option<f32>,
    pub(crate) zero: Option<i16>,
    pub(crate) channels: Option<Vec<String>>,
    pub(crate) features: Option<Vec<String>>,
    pub(crate) mean: Option<Vec<f32>>,
    pub(crate) std: Option<Vec<f32>>,
    pub(crate) clip: Option<f32>,
    pub(crate) min_completeness: Option<f32>,
    pub(crate) encoder: Option<RawEncoder>,
}

/// `input.encoder`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEncoder {
    pub(crate) r#type: Option<String>,
    pub(crate) dims: Option<u32>,
    pub(crate) n_min: Option<u8>,
    pub(crate) n_max: Option<u8>,
    pub(crate) split: Option<String>,
    pub(crate) grams: Option<usize>,
    pub(crate) lengths: Option<Vec<usize>>,
}

/// `[[tasks]]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTask {
    pub(crate) name: Option<String>,
    pub(crate) output: Option<String>,
    pub(crate) labels: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) alarm: Vec<String>,
    pub(crate) temperature: Option<f32>,
    pub(crate) threshold: Option<f32>,
}

/// `[tags]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTags {
    pub(crate) output: Option<String>,
    pub(crate) types: Option<Vec<String>>,
    pub(crate) temperature: Option<f32>,
    pub(crate) threshold: Option<f32>,
    pub(crate) outside_bias: Option<f32>,
    pub(crate) vocabulary: Option<RawFile>,
    #[serde(default)]
    pub(crate) rules: Vec<String>,
}

/// A file with its digest.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    pub(crate) file: Option<String>,
    pub(crate) sha256: Option<String>,
}

/// `[scope]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawScope {
    pub(crate) kind: Option<String>,
    pub(crate) n: Option<u8>,
    pub(crate) file: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) limit: Option<f32>,
    pub(crate) whitening: Option<Vec<Vec<f32>>>,
}

/// `[[variants]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVariant {
    pub(crate) name: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) parameters: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_measured: Option<u64>,
    pub(crate) load_peak: Option<u64>,
    pub(crate) operations: Option<u64>,
    pub(crate) tolerance: Option<f32>,
}

/// `[golden]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGolden {
    pub(crate) file: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) tolerance: Option<f32>,
}

/// `[training]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTraining {
    pub(crate) data: Option<String>,
    pub(crate) licence: Option<String>,
    pub(crate) recipe: Option<String>,
}

/// `[[scores]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawScore {
    pub(crate) set: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) metric: Option<String>,
    pub(crate) value: Option<f64>,
}
