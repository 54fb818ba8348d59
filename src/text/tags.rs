//! Entities from the logits of word tags, by the best path that follows the BIO rule.
//!
//! A row of logits is O, then B and I of each type. `I` of a type may only follow `B` or `I` of it. Of all such paths the
//! one with the greatest sum of logits is taken, `outside_bias` being added to each O; temperature does not change it.
//! An entity's score is the mean over its words of the calibrated probability, softmax(logits / temperature) without the
//! bias, that the word belongs to its type: P(B) + P(I).
//!
//! # Why
//! The bias moves what is taken, not what is believed: an entity that only the bias brought in has a low score, and a
//! threshold makes the report uncertain.

use crate::text::config::{TYPES_MAX, TextError};

/// Some words in a row that are one entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaggedWords {
    /// Index of the type.
    pub kind: u16,
    /// First word.
    pub first: usize,
    /// Word after the last.
    pub end: usize,
    /// Calibrated probability, from 0 to 1.
    pub score: f32,
}

/// Decodes logits of `[words, 1 + 2 * types]`; owns the buffers, so that the steady state allocates nothing.
pub struct TagDecoder {
    types: usize,
    temperature: f32,
    outside_bias: f32,
    /// Best sum of a path that ends in each tag at the word at hand.
    best: Vec<f64>,
    next: Vec<f64>,
    /// Per word: the best tag before it, for what may follow all.
    before: Vec<usize>,
    /// Per word and type: whether the best way into I is from B, else from I.
    from_begin: Vec<bool>,
    /// The best path.
    path: Vec<usize>,
}

/// Tag of a word outside.
const OUTSIDE: usize = 0;

/// Tag of the first word of an entity.
fn begin(kind: usize) -> usize {
    1 + 2 * kind
}

/// Tag of the further words of an entity.
fn inside(kind: usize) -> usize {
    2 + 2 * kind
}

impl TagDecoder {
    /// For `types` entity types.
    ///
    /// # Errors
    /// If there is no type or more than [`TYPES_MAX`], the temperature is not above 0 or the bias is not finite.
    pub fn new(types: u16, temperature: f32, outside_bias: f32) -> Result<Self, TextError> {
        let usable = temperature > 0.0 && temperature.is_finite() && outside_bias.is_finite();
        if !usable || !(1..=TYPES_MAX).contains(&types) {
            return Err(TextError::Tags { types, temperature, outside_bias });
        }
        Ok(Self {
            types: usize::from(types),
            temperature,
            outside_bias,
            best: Vec::new(),
            next: Vec::new(),
            before: Vec::new(),
            from_begin: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Tags of a row of logits: 1 + 2 * types.
    pub fn tags(&self) -> usize {
        1 + 2 * self.types
    }

    /// Fills `found` with the entities of the rows of `logits`, one per word, in order; what is behind the last whole
    /// row is left out.
    ///
    /// Rows of padding must not be among them. A text that went through in pieces is decoded at once, from the rows of
    /// all its pieces, so that an entity may lie across their border.
    pub fn decode(&mut self, logits: &[f32], found: &mut Vec<TaggedWords>) {
        found.clear();
        self.forward(logits);
        self.backward();
        self.collect(logits, found);
    }

    /// Best sums from the first word to the last, with where they came from.
    fn forward(&mut self, logits: &[f32]) {
        self.before.clear();
        self.from_begin.clear();
        self.best.clear();
        self.next.clear();
        self.next.resize(self.tags(), 0.0);
        for row in logits.chunks_exact(self.tags()) {
            let first = self.best.is_empty();
            let before = greatest(&self.best);
            let at = |tag: usize| self.best.get(tag).copied().unwrap_or(f64::NEG_INFINITY);
            let any = if first { 0.0 } else { at(before) };
            self.before.push(before);
            for (tag, (logit, sum)) in row.iter().zip(&mut self.next).enumerate() {
                let bias = if tag == OUTSIDE { self.outside_bias } else { 0.0 };
                let way = if tag == OUTSIDE || tag % 2 == 1 {
                    any
                } else if first {
                    self.from_begin.push(true);
                    f64::NEG_INFINITY
                } else {
                    let (begun, continued) = (at(tag - 1), at(tag));
                    self.from_begin.push(begun >= continued);
                    begun.max(continued)
                };
                *sum = way + f64::from(*logit) + f64::from(bias);
            }
            if first {
                self.best.resize(self.next.len(), 0.0);
            }
            std::mem::swap(&mut self.best, &mut self.next);
        }
    }

    /// The best path, from the last word to the first.
    fn backward(&mut self) {
        self.path.clear();
        self.path.resize(self.before.len(), OUTSIDE);
        let mut tag = greatest(&self.best);
        for (word, slot) in self.path.iter_mut().enumerate().rev() {
            *slot = tag;
            tag = if tag == OUTSIDE || tag % 2 == 1 {
                self.before.get(word).copied().unwrap_or(OUTSIDE)
            } else {
                let kind = tag / 2 - 1;
                let begun = self.from_begin.get(word * self.types + kind).copied().unwrap_or(true);
                if begun { begin(kind) } else { inside(kind) }
            };
        }
    }

    /// The entities of the best path.
    fn collect(&self, logits: &[f32], found: &mut Vec<TaggedWords>) {
        for (word, (&tag, row)) in self.path.iter().zip(logits.chunks_exact(self.tags())).enumerate() {
            if tag == OUTSIDE {
                continue;
            }
            let kind = (tag - 1) / 2;
            let score = self.probability(row, kind);
            match found.last_mut() {
                Some(open) if tag == inside(kind) && open.end == word => {
                    open.end = word + 1;
                    open.score += score;
                }
                Some(_) | None => {
                    let kind = u16::try_from(kind).unwrap_or(u16::MAX);
                    found.push(TaggedWords { kind, first: word, end: word + 1, score });
                }
            }
        }
        for entity in found {
            entity.score = (entity.score / (entity.end - entity.first) as f32).min(1.0);
        }
    }

    /// Calibrated probability that a word belongs to a type.
    fn probability(&self, row: &[f32], kind: usize) -> f32 {
        let power = |logit: f32, greatest: f32| ((logit - greatest) / self.temperature).exp();
        let greatest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let all: f32 = row.iter().map(|logit| power(*logit, greatest)).sum();
        let own = row.get(begin(kind)..=inside(kind)).unwrap_or_default();
        own.iter().map(|logit| power(*logit, greatest)).sum::<f32>() / all
    }
}

/// Index of the greatest sum, the first of equals; 0 of none.
fn greatest(sums: &[f64]) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, sum) in sums.iter().enumerate() {
        if *sum > best.1 {
            best = (index, *sum);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoder(types: u16, temperature: f32, bias: f32) -> TagDecoder {
        TagDecoder::new(types, temperature, bias).unwrap()
    }

    fn entities(decoder: &mut TagDecoder, logits: &[f32]) -> Vec<(u16, usize, usize)> {
        let mut found = Vec::new();
        decoder.decode(logits, &mut found);
        found.iter().map(|entity| (entity.kind, entity.first, entity.end)).collect()
    }

    fn rows(tags: &[usize], count: usize) -> Vec<f32> {
        let row = |tag: &usize| (0..count).map(|at| if at == *tag { 4.0 } else { 0.0 }).collect::<Vec<f32>>();
        tags.iter().flat_map(row).collect()
    }

    #[test]
    fn entities_are_the_runs_of_a_begin_and_its_insides() {
        let mut decoder = decoder(2, 1.0, 0.0);
        for (tags, expect) in [
            (&[][..], &[][..]),
            (&[0, 0], &[]),
            (&[1, 2, 0, 3], &[(0, 0, 2), (1, 3, 4)]),
            (&[1, 1, 2, 3, 4], &[(0, 0, 1), (0, 1, 3), (1, 3, 5)]),
        ] {
            assert_eq!(entities(&mut decoder, &rows(tags, 5)), expect, "{tags:?}");
        }
    }

    #[test]
    fn an_inside_without_a_begin_is_repaired_and_not_believed_as_it_stands() {
        // O is far off on both words, I-0 is best on both, B-0 close behind: the path is B, I.
        let logits = [-9.0, 2.9, 3.0, -9.0, 0.0, 3.0];
        assert_eq!(entities(&mut decoder(1, 1.0, 0.0), &logits), [(0, 0, 2)]);
    }

    #[test]
    fn the_score_is_the_mean_calibrated_probability_without_the_bias() {
        let logits = [0.0, 2.0, 0.0, 0.0, 0.0, 1.0];
        let expect = |t: f32| {
            let (first, second) = (2.0_f32 / t, 1.0_f32 / t);
            let one = (first.exp() + 1.0) / (first.exp() + 2.0);
            let two = (second.exp() + 1.0) / (second.exp() + 2.0);
            f32::midpoint(one, two)
        };
        for (temperature, bias) in [(1.0, 0.0), (2.5, 0.0), (0.5, -3.0)] {
            let mut found = Vec::new();
            decoder(1, temperature, bias).decode(&logits, &mut found);
            let [entity] = found.as_slice() else { panic!("{found:?}") };
            assert!((entity.score - expect(temperature)).abs() < 1e-6, "{entity:?}");
        }
    }

    #[test]
    fn a_negative_bias_of_outside_finds_more() {
        let logits = [1.0, 0.0, 0.0];
        assert!(entities(&mut decoder(1, 1.0, 0.0), &logits).is_empty());
        assert_eq!(entities(&mut decoder(1, 1.0, -1.5), &logits), [(0, 0, 1)]);
    }

    #[test]
    fn unusable_settings_are_refused() {
        for (types, temperature, bias) in [
            (0, 1.0, 0.0),
            (TYPES_MAX + 1, 1.0, 0.0),
            (1, 0.0, 0.0),
            (1, -1.0, 0.0),
            (1, f32::NAN, 0.0),
            (1, f32::INFINITY, 0.0),
            (1, 1.0, f32::NAN),
        ] {
            assert!(TagDecoder::new(types, temperature, bias).is_err(), "{types} {temperature} {bias}");
        }
    }

    /// The greatest sum of all paths that follow the rule, by trying all.
    fn by_trial(logits: &[f32], tags: usize, bias: f32, before: usize) -> f64 {
        let Some(row) = logits.get(..tags) else { return 0.0 };
        let follows = |tag: usize| tag == 0 || tag % 2 == 1 || before == tag || before == tag - 1;
        let rest = &logits[tags..];
        (0..tags)
            .filter(|tag| follows(*tag))
            .map(|tag| {
                let own = f64::from(row[tag]) + if tag == 0 { f64::from(bias) } else { 0.0 };
                own + by_trial(rest, tags, bias, tag)
            })
            .fold(f64::NEG_INFINITY, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_path_is_the_best_of_all_that_follow_the_rule(
            types in 1_u16..3,
            words in 0_usize..6,
            bias in -3.0_f32..3.0,
            pool in prop::collection::vec(-5.0_f32..5.0, 30),
        ) {
            let mut decoder = decoder(types, 1.0, bias);
            let tags = decoder.tags();
            let logits = &pool[..words * tags];
            let mut found = Vec::new();
            decoder.decode(logits, &mut found);
            // The sum of the path as read back from the entities.
            let mut path = vec![0; words];
            for entity in &found {
                path[entity.first..entity.end].fill(inside(usize::from(entity.kind)));
                path[entity.first] = begin(usize::from(entity.kind));
            }
            let sum: f64 = path
                .iter()
                .enumerate()
                .map(|(word, tag)| f64::from(logits[word * tags + tag]) + if *tag == 0 { f64::from(bias) } else { 0.0 })
                .sum();
            prop_assert!((sum - by_trial(logits, tags, bias, 0)).abs() < 1e-4);
            prop_assert!(found.iter().all(|entity| (0.0..=1.0).contains(&entity.score)));
            prop_assert!(found.is_sorted_by(|left, right| left.end <= right.first));
        }

        #[test]
        fn any_bits_are_decoded_without_a_panic(bits in prop::collection::vec(any::<u32>(), 0..60)) {
            let logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let mut found = Vec::new();
            decoder(2, 1.0, 0.0).decode(&logits, &mut found);
            prop_assert!(found.iter().all(|entity| entity.first < entity.end && entity.end <= 12));
        }
    }
}
