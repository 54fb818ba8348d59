//! Features must be what numpy and scipy compute: recipes and textbooks mean the same by the same name.
//!
//! `python3 tests/golden/features.py > tests/golden/features.json` writes the expected values.

use std::collections::BTreeMap;

use serde::Deserialize;
use tidegate::clock::EventTime;
use tidegate::features::{Extractor, FeatureLayout};
use tidegate::flow::{AssetId, Completeness, FeatureVector, Series, StreamId, TimeSpan, Window};

/// Share by which a value may differ: the vector is 32 bits wide, and sums are added in another order.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(flatten)]
    input: Input,
    features: BTreeMap<String, Option<f64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Written { micros: Vec<i64>, values: Vec<f32> },
    Generated { step: i64, seed: u32, count: u32 },
}

impl Input {
    fn series(self) -> Series {
        match self {
            Self::Written { micros, values } => {
                Series { at: micros.into_iter().map(EventTime).collect(), values }
            }
            Self::Generated { step, seed, count } => {
                let mut state = seed;
                let values = (0..count).map(|index| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let [_, _, low, high] = state.to_le_bytes();
                    f32::from(u16::from_le_bytes([low, high])) / 256.0 - 100.0
                        + if index / 50 % 2 == 1 { 64.0 } else { 0.0 }
                });
                let at = (0..count).map(|index| EventTime(i64::from(index) * step));
                Series { values: values.collect(), at: at.collect() }
            }
        }
    }
}

#[test]
fn features_are_those_of_numpy_and_scipy() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/features.json")).unwrap();
    assert!(cases.len() >= 15);
    let mut extractor = Extractor::new();
    let mut vector = FeatureVector::default();
    for case in cases {
        let patterns: Vec<String> = case.features.keys().map(|name| format!("x.{name}")).collect();
        let layout = FeatureLayout::resolve(&patterns, &["x".to_owned()]).unwrap();
        let series = case.input.series();
        let span = TimeSpan { from: *series.at.first().unwrap(), to: *series.at.last().unwrap() };
        let window = Window {
            stream: StreamId(0),
            asset: AssetId(0),
            span,
            completeness: Completeness::default(),
            series: vec![series],
        };
        extractor.extract(&layout, &window, &mut vector);
        let missing = case.features.values().filter(|value| value.is_none()).count();
        assert_eq!(usize::from(vector.missing), missing, "{}", case.name);
        for ((name, expect), own) in case.features.iter().zip(&vector.values) {
            let own = f64::from(*own);
            let agree = match expect {
                None => own.is_nan(),
                Some(expect) => (own - expect).abs() <= TOLERANCE * expect.abs(),
            };
            assert!(agree, "{}: {name} is {own}, expected {expect:?}", case.name);
        }
    }
}
