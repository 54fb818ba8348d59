//! The shipped models out of this very program.

use crate::demo::error::DemoError;
use crate::io::scratch::Scratch;

/// A model: its name and its files.
type Embedded = (&'static str, &'static [(&'static str, &'static [u8])]);

/// A model by the name of its folder, with the files it has besides the usual three.
macro_rules! embedded {
    ($name:literal $(, $file:literal)*) => {
        ($name, &[
            ("manifest.toml", include_bytes!(concat!("../../models/", $name, "/manifest.toml"))),
            ("model.onnx", include_bytes!(concat!("../../models/", $name, "/model.onnx"))),
            ("golden.json", include_bytes!(concat!("../../models/", $name, "/golden.json"))),
            $(($file, include_bytes!(concat!("../../models/", $name, "/", $file))),)*
        ])
    };
}

/// The shipped models, one line each.
const MODELS: &[Embedded] = &[
    embedded!("hydraulic-condition"),
    embedded!("failure-mode", "known.bin", "int8-qoperator.onnx"),
    embedded!("work-order-entities", "known.bin", "vocabulary.json", "int8-dynamic.onnx"),
    embedded!("excavator-triage", "known.bin", "int8-table.onnx"),
    embedded!("redactor", "known.bin"),
];

/// Names of the shipped models.
pub(in crate::demo) fn models() -> impl Iterator<Item = &'static str> {
    MODELS.iter().map(|(model, _)| *model)
}

/// Writes the models into the scratch folder.
pub(in crate::demo) fn unpack_models(scratch: &Scratch) -> Result<(), DemoError> {
    for (model, files) in MODELS {
        for (file, bytes) in *files {
            scratch.write(&format!("models/{model}/{file}"), bytes).map_err(DemoError::Scratch)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Manifest;

    #[test]
    fn every_file_that_a_manifest_names_is_embedded() {
        for (model, files) in MODELS {
            let manifest = Manifest::parse(include_str_of(files)).unwrap();
            assert_eq!(&*manifest.name, *model);
            let graphs = manifest.variants.iter().map(|variant| &variant.file);
            let beside = manifest.companions().map(|(beside, _)| &beside.file);
            for needed in [&manifest.golden.file].into_iter().chain(graphs).chain(beside) {
                assert!(files.iter().any(|(file, _)| **file == **needed), "{model}: {needed}");
            }
        }
    }

    fn include_str_of(files: &[(&str, &'static [u8])]) -> &'static str {
        std::str::from_utf8(files[0].1).unwrap()
    }
}
