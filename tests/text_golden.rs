//! The gateway and `models/train/ngrams.py` must give the same vectors: training and serving may not drift apart.
//!
//! `python3 models/train/ngrams.py tests/golden/ngrams.json` writes the expected vectors.

use serde::Deserialize;
use tidegate::text::{NgramConfig, NgramEncoder};

#[derive(Deserialize)]
struct Case {
    text: String,
    repeat: usize,
    dims: u32,
    n_min: u8,
    n_max: u8,
    index: Vec<u32>,
    value: Vec<f32>,
}

#[test]
fn n_grams_are_those_of_the_training_recipe() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/ngrams.json")).unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let config = NgramConfig::new(case.dims, case.n_min, case.n_max).unwrap();
        let mut sparse = Vec::new();
        NgramEncoder::new(config).encode_sparse(&case.text.repeat(case.repeat), &mut sparse);
        let name = format!("{:?} x {}", case.text, case.repeat);
        let index: Vec<u32> = sparse.iter().map(|(index, _)| *index).collect();
        assert_eq!(index, case.index, "{name}");
        for ((_, own), expect) in sparse.iter().zip(case.value) {
            assert!((own - expect).abs() <= 1e-6 * expect, "{name}: {own} instead of {expect}");
        }
    }
}
