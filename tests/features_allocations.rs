//! Extracting features and encoding texts needs no memory once the buffers have seen the longest input.

use allocation_counter::measure;
use tidegate::clock::EventTime;
use tidegate::features::{Extractor, FeatureLayout};
use tidegate::flow::{AssetId, Completeness, FeatureVector, Series, StreamId, TimeSpan, Window};
use tidegate::text::{KnownGrams, NgramConfig, NgramEncoder, Split, TagDecoder, WordConfig, WordEncoder};

fn window(samples: u16) -> Window {
    let series = Series {
        at: (0..samples).map(|n| EventTime(i64::from(n) * 10_000)).collect(),
        values: (0..samples).map(|n| f32::from(n.wrapping_mul(40_503) >> 4)).collect(),
    };
    Window {
        stream: StreamId(0),
        asset: AssetId(0),
        span: TimeSpan { from: EventTime(0), to: EventTime(i64::from(samples) * 10_000) },
        completeness: Completeness::default(),
        series: vec![series; 3],
    }
}

#[test]
fn features_of_windows_of_changing_length_allocate_nothing() {
    let patterns = ["*.*", "a.band(2,10)", "*.q(0.95)"].map(str::to_owned);
    let layout = FeatureLayout::resolve(&patterns, &["a", "b", "c"].map(str::to_owned)).unwrap();
    let windows = [6000, 5999, 6001, 60, 1000, 7, 0].map(window);
    let mut extractor = Extractor::new();
    let mut vector = FeatureVector::default();
    let mut round = || windows.iter().for_each(|window| extractor.extract(&layout, window, &mut vector));
    let first = measure(&mut round);
    assert!(first.count_total > 0, "the first round makes the buffers");
    let then = measure(|| (0..10).for_each(|_| round()));
    assert_eq!(then.count_total, 0);
}

#[test]
fn vectors_of_texts_seen_before_allocate_nothing() {
    let texts = ["Pump leaks at 6,5 bar", "", "Überhitzung am Lager é ﬁ", &"worn seal 7 ".repeat(5000)];
    let mut encoder = NgramEncoder::new(NgramConfig::new(2048, 1, 4).unwrap());
    let (mut dense, mut sparse) = (Vec::new(), Vec::new());
    let mut round = || {
        for text in texts {
            encoder.encode(text, &mut dense);
            encoder.encode_sparse(text, &mut sparse);
        }
    };
    let first = measure(&mut round);
    assert!(first.count_total > 0, "the first round makes the buffers");
    let then = measure(|| (0..10).for_each(|_| round()));
    assert_eq!(then.count_total, 0);
}

#[test]
fn words_shares_and_tags_of_texts_seen_before_allocate_nothing() {
    let texts = ["Pump leaks at 6,5 bar", "", "Überhitzung am Lager é ﬁ", &"worn seal 7 ".repeat(5000)];
    let config = WordConfig::new(Split::Classes, 8192, (3, 4), 20, &[8, 64]).unwrap();
    let mut encoder = WordEncoder::new(config);
    let mut known = KnownGrams::new(vec![0x5a; 8192], 4).unwrap();
    let mut decoder = TagDecoder::new(2, 1.0, 0.0).unwrap();
    let (mut words, mut row, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let logits: Vec<f32> = (0..500_u16).map(|n| f32::from(n.wrapping_mul(40_503) >> 4)).collect();
    let mut round = || {
        for text in texts {
            encoder.split(text, &mut words);
            row.clear();
            encoder.encode(text, &words, 64, &mut row);
            known.share(text);
            decoder.decode(&logits, &mut found);
        }
    };
    let first = measure(&mut round);
    assert!(first.count_total > 0, "the first round makes the buffers");
    let then = measure(|| (0..10).for_each(|_| round()));
    assert_eq!(then.count_total, 0);
}
