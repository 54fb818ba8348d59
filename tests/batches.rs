//! An input gets in a batch what it gets alone, whatever else is in it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tidegate::flow::Judgement;
use tidegate::infer::{BATCH_MAX, Manifest, Model, ModelInput};
use tidegate::runtime::text_row;

/// Every fixture that can be run, and the models that are shipped.
const MODELS: [&str; 14] = [
    "tests/golden/models/dense-pair",
    "tests/golden/models/embedding",
    "tests/golden/models/bytes-in",
    "tests/golden/models/signed-bytes-in",
    "tests/golden/models/with-index",
    "tests/golden/models/nan-below-zero",
    "tests/golden/models/panics-out-of-range",
    "tests/golden/models/echo",
    "models/hydraulic-condition",
    "models/failure-mode",
    "models/excavator-triage",
    "models/work-order-entities",
    "models/redactor",
    "tests/golden/models/tagger",
];

/// Largest difference of a number in a batch and alone: sums of up to 8,192 products are taken in another order.
const TOLERANCE: f32 = 1e-5;

fn load(folder: &str, batches: &[usize]) -> (Model, Vec<Vec<f64>>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let manifest = Manifest::parse(&fs::read_to_string(folder.join("manifest.toml")).unwrap()).unwrap();
    let golden = fs::read(folder.join("golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let input = |case: &serde_json::Value| match case["text"].as_str() {
        Some(text) => text_row(&manifest, text).unwrap(),
        None => serde_json::from_value(case["input"].clone()).unwrap(),
    };
    let cases = cases.iter().map(input).collect();
    let model = Model::load(Arc::new(manifest), &fs::read(folder.join("model.onnx")).unwrap(), batches);
    (model.unwrap(), cases)
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(1.0)
}

fn same(a: &[Judgement], b: &[Judgement]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            let scores =
                a.scores.len() == b.scores.len() && a.scores.iter().zip(&b.scores).all(|(a, b)| near(*a, *b));
            scores && near(a.score, b.score) && (a.label, a.verdict) == (b.label, b.verdict)
        })
}

#[test]
fn golden_vectors_give_in_a_batch_of_any_size_what_they_give_alone() {
    for name in MODELS {
        let (mut model, cases) = load(name, &[1, BATCH_MAX]);
        let tasks = model.manifest().spec().outputs.len();
        for size in 2..=BATCH_MAX {
            let same_length = cases.chunk_by(|a, b| a.len() == b.len());
            for batch in same_length.flat_map(|cases| cases.chunks(size)) {
                let batch: Vec<&[f64]> = batch.iter().map(Vec::as_slice).collect();
                let together = model.replay(&batch, &mut || false).unwrap().clone();
                for (item, row) in batch.iter().enumerate() {
                    let alone = model.replay(&[row], &mut || false).unwrap();
                    for task in 0..tasks {
                        let pairs = alone.f32(task, 0).unwrap().iter().zip(together.f32(task, item).unwrap());
                        for (a, b) in pairs {
                            assert!(near(*a, *b), "{name}: item {item} of {size}: {a} alone, {b} together");
                        }
                    }
                }
            }
        }
    }
}

/// Judges inputs one by one and together, and compares.
fn check(one: &mut Model, many: &mut Model, inputs: &[ModelInput<'_>]) -> Result<(), TestCaseError> {
    let together = many.judge_batch(inputs, &mut |_| false);
    prop_assert_eq!(together.len(), inputs.len());
    for (input, together) in inputs.iter().zip(together) {
        match (one.judge(input, &mut || false), together) {
            (Ok(alone), Ok(together)) => prop_assert!(same(&alone, &together), "{alone:?} {together:?}"),
            (alone, together) => prop_assert_eq!(alone, together),
        }
    }
    Ok(())
}

#[test]
fn any_mix_of_windows_good_bad_and_full_of_holes_is_judged_as_one_by_one() {
    let models = ["dense-pair", "nan-below-zero", "panics-out-of-range", "bytes-in", "signed-bytes-in"];
    for name in models {
        let folder = format!("tests/golden/models/{name}");
        let (one, many) = (load(&folder, &[1]).0, load(&folder, &[1, BATCH_MAX]).0);
        let width = one.manifest().input.lengths()[0];
        let (one, many) = (RefCell::new(one), RefCell::new(many));
        // Beyond the scope, missing, out of range and of the wrong length too.
        let number = prop_oneof![8 => -3.0_f32..9.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)];
        let row = (proptest::collection::vec(number, width), proptest::option::of(0.0_f32..1.0), 0..40_u8);
        let rows = proptest::collection::vec(row, 0..=BATCH_MAX + 1);
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
        let run = runner.run(&rows, |rows| {
            let inputs = rows.iter().map(|(values, completeness, odd)| {
                let values = if *odd == 0 { &values[1..] } else { values };
                ModelInput::Features { values, completeness: *completeness }
            });
            check(&mut one.borrow_mut(), &mut many.borrow_mut(), &inputs.collect::<Vec<_>>())
        });
        assert!(run.is_ok(), "{name}: {}", run.unwrap_err());
        assert_eq!(many.borrow().batch_max(), BATCH_MAX, "{name}: no row was the fault of the batch");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_mix_of_reports_short_and_long_is_judged_as_one_by_one(
        reports in proptest::collection::vec(proptest::collection::vec(-1_i64..40, 0..20), 0..=BATCH_MAX),
    ) {
        let (mut one, _) = load("tests/golden/models/embedding", &[1]);
        let (mut many, _) = load("tests/golden/models/embedding", &[1, BATCH_MAX]);
        let whole = reports.iter().map(|ids| &ids[..ids.len() / 4 * 4]);
        let inputs: Vec<_> = whole.map(|ids| ModelInput::Words { ids, known_share: None }).collect();
        check(&mut one, &mut many, &inputs)?;
    }
}
