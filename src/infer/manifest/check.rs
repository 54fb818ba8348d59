//! Turns a manifest as written into a valid one and collects every fault on the way.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::flow::StreamKind;
use crate::infer::digest::Digest;
use crate::infer::manifest::raw::{
    RawEncoder, RawGolden, RawInput, RawManifest, RawScope, RawTask, RawVariant,
};
use crate::infer::manifest::{
    Encoding, Golden, InputLayout, MANIFEST_BYTES_MAX, Manifest, ManifestFault, Normalisation, Quantisation,
    Scope, Score, Task, Training, Variant,
};
use crate::infer::tensor::Dtype;

/// Features a model may ask for: four times the widest layout of ours.
const FEATURES_MAX: usize = 4096;
/// Labels of one task: scores of all of them are carried in every event.
const LABELS_MAX: usize = 256;
/// Tasks of one model.
const TASKS_MAX: usize = 32;
/// Forms of one network.
const VARIANTS_MAX: usize = 8;
/// Length of the n-gram vector: 64 Ki floats are 256 KiB of input per report.
const DIMS_MAX: u32 = 1 << 16;
/// Tokens of one report.
const TOKENS_MAX: usize = 4096;
/// Share of a window that must be real where the manifest does not say.
const MIN_COMPLETENESS: f32 = 0.5;
/// Clip where the manifest does not say: eight standard deviations.
const CLIP: f32 = 8.0;

/// Every fault found so far.
#[derive(Default)]
struct Faults(Vec<ManifestFault>);

impl Faults {
    fn push(&mut self, key: &str, wrong: impl Into<String>, allowed: impl Into<String>) {
        self.0.push(ManifestFault { key: key.to_owned(), wrong: wrong.into(), allowed: allowed.into() });
    }

    fn require<T>(&mut self, key: &str, value: Option<T>, allowed: &str) -> Option<T> {
        if value.is_none() {
            self.push(key, "is missing", allowed);
        }
        value
    }

    /// A non-empty text of printable characters, at most 128 bytes: what graph and label names are.
    fn name(&mut self, key: &str, value: Option<String>) -> Arc<str> {
        const ALLOWED: &str = "1 to 128 bytes without control characters";
        let value = self.require(key, value, ALLOWED).unwrap_or_default();
        if value.is_empty() || value.len() > 128 || value.chars().any(char::is_control) {
            self.push(key, format!("{:?}", shortened(&value)), ALLOWED);
        }
        value.into()
    }

    /// A word that fits in topics and file names.
    fn word(&mut self, key: &str, value: Option<String>, extra: &str) -> Arc<str> {
        let allowed = format!("1 to 64 of a-z 0-9 -{extra}");
        let value = self.require(key, value, &allowed).unwrap_or_default();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || extra.contains(c);
        if value.is_empty() || value.len() > 64 || !value.chars().all(fits) {
            self.push(key, format!("{:?}", shortened(&value)), allowed);
        }
        value.into()
    }

    /// The name of a file in the same folder.
    fn file(&mut self, key: &str, value: Option<String>) -> Arc<str> {
        const ALLOWED: &str = "the name of a file beside the manifest, of A-Z a-z 0-9 . _ -";
        let value = self.require(key, value, ALLOWED).unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if value.is_empty() || value.len() > 128 || value.starts_with('.') || !value.chars().all(fits) {
            self.push(key, format!("{:?}", shortened(&value)), ALLOWED);
        }
        value.into()
    }

    fn digest(&mut self, key: &str, value: Option<String>) -> Digest {
        const ALLOWED: &str = "64 hexadecimal digits";
        let nothing = Digest::of(&[]);
        let Some(text) = self.require(key, value, ALLOWED) else { return nothing };
        text.parse().unwrap_or_else(|_| {
            self.push(key, format!("{:?}", shortened(&text)), ALLOWED);
            nothing
        })
    }

    /// A number in `low < value <= high`, or `low <= value` if `closed`.
    fn number(
        &mut self,
        key: &str,
        value: Option<f32>,
        (low, high): (f32, f32),
        default: Option<f32>,
    ) -> f32 {
        let allowed = format!("a number from {low} to {high}");
        let Some(value) = value.or(default) else {
            self.push(key, "is missing", allowed);
            return high;
        };
        if !(low..=high).contains(&value) {
            self.push(key, format!("{value}"), allowed);
        }
        value
    }
}

/// Reads a manifest; see [`Manifest::parse`].
pub(crate) fn parse(text: &str) -> Result<Manifest, Vec<ManifestFault>> {
    let mut faults = Faults::default();
    if text.len() > MANIFEST_BYTES_MAX {
        faults.push("", format!("{} bytes", text.len()), format!("at most {MANIFEST_BYTES_MAX} bytes"));
        return Err(faults.0);
    }
    let raw: RawManifest = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            faults.push("", format!("line {line}: {}", error.message()), "TOML with the keys of a manifest");
            return Err(faults.0);
        }
    };
    let manifest = manifest(raw, &mut faults);
    if faults.0.is_empty() { Ok(manifest) } else { Err(faults.0) }
}

fn manifest(raw: RawManifest, faults: &mut Faults) -> Manifest {
    let name = faults.word("name", raw.name, "");
    let version = faults.word("version", raw.version, ".+");
    let kind = match raw.kind.as_deref() {
        Some("sensor") => StreamKind::Sensor,
        Some("report") => StreamKind::Report,
        other => {
            faults.push("kind", found(other), "sensor, report");
            StreamKind::Sensor
        }
    };
    let input = input(kind, raw.input.unwrap_or_default(), faults);
    let tasks = tasks(raw.tasks.unwrap_or_default(), faults);
    let scope = raw.scope.and_then(|raw| scope(kind, &raw, faults));
    let variants = variants(raw.variants.unwrap_or_default(), faults);
    let golden = golden(raw.golden, faults);
    let training = raw.training.map(|raw| Training {
        data: raw.data.unwrap_or_default(),
        licence: raw.licence.unwrap_or_default(),
        recipe: raw.recipe.unwrap_or_default(),
    });
    let mut scores = Vec::new();
    for (index, raw) in raw.scores.into_iter().enumerate() {
        let value = faults.require(&format!("scores[{index}].value"), raw.value, "a number");
        scores.push(Score {
            set: raw.set.unwrap_or_default(),
            task: raw.task.unwrap_or_default(),
            metric: raw.metric.unwrap_or_default(),
            value: value.unwrap_or_default(),
        });
    }
    Manifest {
        id: format!("{name}@{version}").into(),
        name,
        version,
        kind,
        description: raw.description.unwrap_or_default(),
        input,
        tasks,
        scope,
        variants,
        golden,
        training,
        scores,
    }
}

fn input(kind: StreamKind, raw: RawInput, faults: &mut Faults) -> InputLayout {
    let tensor = faults.name("input.tensor", raw.tensor.clone());
    let min_completeness =
        faults.number("input.min_completeness", raw.min_completeness, (0.0, 1.0), Some(MIN_COMPLETENESS));
    let encoding = match kind {
        StreamKind::Sensor => {
            if raw.encoder.is_some() {
                faults.push("input.encoder", "is set", "only where kind is report");
            }
            features(raw, faults)
        }
        StreamKind::Report => {
            for (key, is_set) in [
                ("features", raw.features.is_some()),
                ("channels", raw.channels.is_some()),
                ("mean", raw.mean.is_some()),
                ("std", raw.std.is_some()),
                ("dtype", raw.dtype.is_some()),
            ] {
                if is_set {
                    faults.push(&format!("input.{key}"), "is set", "only where kind is sensor");
                }
            }
            encoder(raw.encoder.unwrap_or_default(), faults)
        }
    };
    InputLayout { tensor, encoding, min_completeness }
}

fn features(raw: RawInput, faults: &mut Faults) -> Encoding {
    let channels = distinct("input.channels", raw.channels.unwrap_or_default(), (1, 1024), faults);
    let features = distinct("input.features", raw.features.unwrap_or_default(), (1, FEATURES_MAX), faults);
    let mean = raw.mean.unwrap_or_default();
    let std = raw.std.unwrap_or_default();
    for (key, column, low) in [("input.mean", &mean, f32::MIN), ("input.std", &std, f32::MIN_POSITIVE)] {
        if column.len() != features.len() {
            faults.push(
                key,
                format!("{} numbers", column.len()),
                format!("one per feature: {}", features.len()),
            );
        }
        if let Some(index) = column.iter().position(|value| !(low..=f32::MAX).contains(value)) {
            let allowed = if low > 0.0 { "a finite number above 0" } else { "a finite number" };
            faults.push(&format!("{key}[{index}]"), format!("{:?}", column.get(index)), allowed);
        }
    }
    let clip = faults.number("input.clip", raw.clip, (1.0, 1000.0), Some(CLIP));
    let dtype = match raw.dtype.as_deref() {
        None | Some("f32") => None,
        Some("i8") => Some((Dtype::I8, (-128, 127))),
        Some("u8") => Some((Dtype::U8, (0, 255))),
        other => {
            faults.push("input.dtype", found(other), "f32, i8, u8");
            None
        }
    };
    let quantisation = dtype.map(|(dtype, (low, high))| {
        let scale = faults.number("input.scale", raw.scale, (f32::MIN_POSITIVE, 1e6), None);
        let zero = raw.zero.unwrap_or(0);
        if !(low..=high).contains(&zero) {
            faults.push("input.zero", zero.to_string(), format!("{low} to {high}"));
        }
        Quantisation { dtype, scale, zero }
    });
    Encoding::Features { channels, features, normalisation: Normalisation { mean, std, clip }, quantisation }
}

fn encoder(raw: RawEncoder, faults: &mut Faults) -> Encoding {
    match raw.r#type.as_deref() {
        Some("char-ngrams") => {
            let dims = raw.dims.unwrap_or(0);
            if !dims.is_power_of_two() || !(16..=DIMS_MAX).contains(&dims) {
                let allowed = format!("a power of two from 16 to {DIMS_MAX}");
                faults.push("input.encoder.dims", dims.to_string(), allowed);
            }
            let (n_min, n_max) = (raw.n_min.unwrap_or(0), raw.n_max.unwrap_or(0));
            if n_min == 0 || n_min > n_max || n_max > 8 {
                let wrong = format!("n_min {n_min}, n_max {n_max}");
                faults.push("input.encoder", wrong, "1 <= n_min <= n_max <= 8");
            }
            Encoding::CharNgrams { dims, n_min, n_max }
        }
        Some("tokens") => {
            let lengths = raw.lengths.unwrap_or_default();
            let ascending = lengths.windows(2).all(|pair| pair.first() < pair.last());
            let fit = lengths.iter().all(|length| (1..=TOKENS_MAX).contains(length));
            if lengths.is_empty() || lengths.len() > 8 || !ascending || !fit {
                let allowed = format!("1 to 8 ascending lengths from 1 to {TOKENS_MAX}");
                faults.push("input.encoder.lengths", format!("{:?}", shortened_list(&lengths)), allowed);
            }
            let vocabulary = raw.vocabulary.unwrap_or(0);
            if vocabulary == 0 {
                faults.push("input.encoder.vocabulary", "0 or missing", "the number of token ids");
            }
            Encoding::Tokens { lengths, vocabulary }
        }
        other => {
            faults.push("input.encoder.type", found(other), "char-ngrams, tokens");
            Encoding::CharNgrams { dims: 16, n_min: 1, n_max: 1 }
        }
    }
}

fn tasks(raw: Vec<RawTask>, faults: &mut Faults) -> Vec<Task> {
    if !(1..=TASKS_MAX).contains(&raw.len()) {
        faults.push("tasks", format!("{} tasks", raw.len()), format!("1 to {TASKS_MAX}"));
    }
    let alone = raw.len() == 1;
    let mut names = BTreeSet::new();
    let mut tasks = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = |field: &str| format!("tasks[{index}].{field}");
        let name = match raw.name {
            Some(name) if alone && name.is_empty() => Arc::from(""),
            None if alone => Arc::from(""),
            name => faults.word(&key("name"), name, ""),
        };
        if !names.insert(name.clone()) {
            faults.push(&key("name"), format!("{name:?} is there twice"), "a name of its own");
        }
        let labels = distinct(&key("labels"), raw.labels.unwrap_or_default(), (2, LABELS_MAX), faults);
        let mut alarm = Vec::new();
        for label in raw.alarm {
            match labels.iter().position(|known| **known == *label).map(u16::try_from) {
                Some(Ok(position)) => alarm.push(position),
                Some(Err(_)) | None => {
                    faults.push(&key("alarm"), format!("{:?}", shortened(&label)), "labels of this task");
                }
            }
        }
        tasks.push(Task {
            name,
            output: faults.name(&key("output"), raw.output),
            labels,
            temperature: faults.number(&key("temperature"), raw.temperature, (0.001, 1000.0), Some(1.0)),
            threshold: faults.number(&key("threshold"), raw.threshold, (0.0, 1.0), None),
            alarm,
        });
    }
    tasks
}

fn scope(kind: StreamKind, raw: &RawScope, faults: &mut Faults) -> Option<Scope> {
    match (raw.kind.as_deref(), kind) {
        (Some("feature-distance"), StreamKind::Sensor) => {
            let limit = faults.number("scope.limit", raw.limit, (f32::MIN_POSITIVE, 1e6), None);
            Some(Scope::FeatureDistance { limit })
        }
        (Some("known-grams"), StreamKind::Report) => {
            Some(Scope::KnownGrams { limit: faults.number("scope.limit", raw.limit, (0.0, 1.0), None) })
        }
        (other, _) => {
            faults.push("scope.kind", found(other), "feature-distance (sensor), known-grams (report)");
            None
        }
    }
}

fn variants(raw: Vec<RawVariant>, faults: &mut Faults) -> Vec<Variant> {
    if !(1..=VARIANTS_MAX).contains(&raw.len()) {
        faults.push("variants", format!("{} variants", raw.len()), format!("1 to {VARIANTS_MAX}"));
    }
    let mut names = BTreeSet::new();
    let mut variants = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let key = |field: &str| format!("variants[{index}].{field}");
        let name = faults.word(&key("name"), raw.name, "");
        if !names.insert(name.clone()) {
            faults.push(&key("name"), format!("{name:?} is there twice"), "a name of its own");
        }
        let tolerance =
            raw.tolerance.map(|value| faults.number(&key("tolerance"), Some(value), (1e-6, 100.0), None));
        variants.push(Variant {
            name,
            file: faults.file(&key("file"), raw.file),
            sha256: faults.digest(&key("sha256"), raw.sha256),
            parameters: faults.require(&key("parameters"), raw.parameters, "a count").unwrap_or(0),
            memory_bytes: faults.require(&key("memory_bytes"), raw.memory_bytes, "bytes").unwrap_or(0),
            operations: faults.require(&key("operations"), raw.operations, "a count").unwrap_or(0),
            tolerance,
        });
    }
    variants
}

fn golden(raw: Option<RawGolden>, faults: &mut Faults) -> Golden {
    let raw = raw.unwrap_or(RawGolden { file: None, sha256: None, tolerance: None });
    Golden {
        file: faults.file("golden.file", raw.file),
        sha256: faults.digest("golden.sha256", raw.sha256),
        tolerance: faults.number("golden.tolerance", raw.tolerance, (1e-6, 100.0), None),
    }
}

/// A list of distinct names of a length from `low` to `high`.
fn distinct(key: &str, raw: Vec<String>, (low, high): (usize, usize), faults: &mut Faults) -> Vec<Arc<str>> {
    if !(low..=high).contains(&raw.len()) {
        faults.push(key, format!("{} entries", raw.len()), format!("{low} to {high}"));
    }
    let mut seen = BTreeSet::new();
    let mut names = Vec::new();
    for (index, text) in raw.into_iter().enumerate() {
        let name = faults.name(&format!("{key}[{index}]"), Some(text));
        if !seen.insert(name.clone()) {
            faults.push(&format!("{key}[{index}]"), format!("{name:?} is there twice"), "distinct names");
        }
        names.push(name);
    }
    names
}

fn found(value: Option<&str>) -> String {
    value.map_or_else(|| "is missing".to_owned(), |text| format!("{:?}", shortened(text)))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn shortened_list(list: &[usize]) -> Vec<usize> {
    list.iter().copied().take(9).collect()
}
