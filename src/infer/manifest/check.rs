//! Turns a manifest as written into a valid one and collects every fault on the way.

use std::collections::BTreeSet;

use crate::flow::StreamKind;
use crate::infer::manifest::answers::{answers, scope};
use crate::infer::manifest::faults::{Faults, found};
use crate::infer::manifest::input::input;
use crate::infer::manifest::raw::{RawGolden, RawManifest, RawVariant};
use crate::infer::manifest::{Golden, MANIFEST_BYTES_MAX, Manifest, ManifestFault, Score, Training, Variant};

/// Forms of one network. Each is examined at every start; there are seven ways of the recipes to write one.
const VARIANTS_MAX: usize = 8;

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

fn manifest(mut raw: RawManifest, faults: &mut Faults) -> Manifest {
    let name = faults.word("name", raw.name.take(), "");
    let version = faults.word("version", raw.version.take(), ".+");
    let kind = match raw.kind.as_deref() {
        Some("sensor") => StreamKind::Sensor,
        Some("report") => StreamKind::Report,
        other => {
            faults.push("kind", found(other), "sensor, report");
            StreamKind::Sensor
        }
    };
    let input = input(kind, raw.input.take().unwrap_or_default(), faults);
    let (tasks, tags) = answers(&mut raw, kind, &input.encoding, faults);
    let scope = raw.scope.and_then(|raw| scope(&input.encoding, raw, faults));
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
        tags,
        scope,
        variants,
        golden,
        training,
        scores,
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
            memory_measured: raw.memory_measured,
            load_peak: raw.load_peak,
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
