//! The gateway and `models/train/words.py` and `tags.py` must say the same: training and serving may not drift apart.
//!
//! `python3 tests/golden/make_words.py tests/golden/words.json` writes the expected values.

use serde::Deserialize;
use tidegate::text::{KnownGrams, Split, TagDecoder, WordConfig, WordEncoder};

#[derive(Deserialize)]
struct Golden {
    configs: Vec<ConfigCase>,
    words: Vec<WordCase>,
    known: Vec<KnownCase>,
    tags: Vec<TagCase>,
}

#[derive(Deserialize)]
struct ConfigCase {
    split: String,
    dims: u32,
    n_min: u8,
    n_max: u8,
    grams: u8,
    lengths: Vec<usize>,
}

#[derive(Deserialize)]
struct WordCase {
    text: String,
    repeat: usize,
    config: usize,
    /// FNV-1a over the ids in decimal, each with a space behind.
    row: u32,
    width: usize,
    /// Ids of the first word.
    first: Vec<i64>,
    spans: Vec<(u32, u32)>,
}

#[derive(Deserialize)]
struct KnownCase {
    n: u8,
    bytes: usize,
    /// The bits that are set.
    set: Vec<usize>,
    /// Of the texts of the word cases, in order.
    shares: Vec<f32>,
}

#[derive(Deserialize)]
struct TagCase {
    types: u16,
    temperature: f32,
    outside_bias: f32,
    logits: Vec<f32>,
    entities: Vec<(u16, usize, usize, f32)>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/words.json")).unwrap()
}

fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[test]
fn words_and_their_ids_are_those_of_the_training_recipe() {
    let golden = golden();
    assert!(golden.words.len() >= 300 && golden.configs.len() == 6);
    for case in golden.words {
        let own = &golden.configs[case.config];
        let split = Split::named(&own.split).unwrap();
        let config =
            WordConfig::new(split, own.dims, (own.n_min, own.n_max), own.grams, &own.lengths).unwrap();
        let mut encoder = WordEncoder::new(config);
        let text = case.text.repeat(case.repeat);
        let name = format!("{:?} x {} by {}", case.text, case.repeat, own.split);
        let (mut words, mut row) = (Vec::new(), Vec::new());
        encoder.split(&text, &mut words);
        let spans: Vec<(u32, u32)> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(spans, case.spans, "{name}");
        let width = encoder.config().words_of_row(words.len());
        assert_eq!(width, case.width, "{name}");
        let cut = encoder.encode(&text, &words, width, &mut row);
        assert_eq!(cut.words, words.len().saturating_sub(width), "{name}");
        assert_eq!(row.get(..case.first.len()).unwrap(), case.first, "{name}");
        let ids: Vec<String> = row.iter().map(|id| format!("{id} ")).collect();
        assert_eq!(fnv1a(&ids.concat()), case.row, "{name}");
    }
}

#[test]
fn shares_of_known_grams_are_those_of_the_training_recipe() {
    let golden = golden();
    assert_eq!(golden.known.len(), 3);
    for case in golden.known {
        let mut bits = vec![0; case.bytes];
        for place in case.set {
            bits[place / 8] |= 1 << (place % 8);
        }
        let mut known = KnownGrams::new(bits, case.n).unwrap();
        for (own, expect) in golden.words.iter().zip(case.shares) {
            let share = known.share(&own.text);
            assert!((share - expect).abs() < 1e-6, "{:?}: {share} instead of {expect}", own.text);
        }
    }
}

#[test]
fn entities_are_those_the_training_recipe_decodes() {
    let golden = golden();
    let (mut all, mut found) = (0, Vec::new());
    for case in golden.tags {
        TagDecoder::new(case.types, case.temperature, case.outside_bias)
            .unwrap()
            .decode(&case.logits, &mut found);
        assert_eq!(found.len(), case.entities.len());
        for (own, (kind, first, end, score)) in found.iter().zip(case.entities) {
            assert_eq!((own.kind, own.first, own.end), (kind, first, end));
            assert!((own.score - score).abs() < 1e-5, "{} instead of {score}", own.score);
            all += 1;
        }
    }
    assert!(all >= 100, "{all}");
}
