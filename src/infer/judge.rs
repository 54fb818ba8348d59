//! Logits to judgements: calibration, thresholds, scope, completeness; and features to what a graph takes.

use crate::flow::{Judgement, Verdict};
use crate::infer::manifest::{Normalisation, Quantisation, Scope, Task};

/// Share of features that may be missing before an answer is uncertain.
///
/// A missing feature is read as the training mean; with a quarter of them gone the answer is mostly the prior.
pub const MISSING_SHARE_MAX: f32 = 0.25;

/// What is known of an input besides its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Share of the window that is real, 0 to 1; `None` for reports.
    pub completeness: Option<f32>,
    /// Share of features that are missing, 0 to 1.
    pub missing_share: f32,
    /// Mean squared normalised feature.
    pub distance: Option<f32>,
    /// Share of n-grams seen in training, 0 to 1.
    pub known_share: Option<f32>,
    /// Words of a report that were read.
    pub words: usize,
}

/// Answers one task from its logits.
pub fn judge(
    task: &Task,
    logits: &[f32],
    scope: Option<&Scope>,
    min_completeness: f32,
    evidence: &Evidence,
) -> Judgement {
    let mut scores = Vec::with_capacity(logits.len());
    softmax(logits, task.temperature, &mut scores);
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let (label, top) = best.map_or((0, 0.0), |(index, score)| (index, *score));
    let verdict = if out_of_scope(scope, evidence) {
        Verdict::OutOfScope
    } else if top < task.threshold
        || evidence.completeness.is_some_and(|share| share < min_completeness)
        || evidence.missing_share > MISSING_SHARE_MAX
    {
        Verdict::Uncertain
    } else {
        Verdict::Accepted
    };
    Judgement { label: u16::try_from(label).unwrap_or(u16::MAX), score: top, scores, verdict }
}

/// Adds normalised features to `out` and returns the mean square of those that are not missing (0 if all are).
pub fn normalise(values: &[f32], by: &Normalisation, out: &mut Vec<f32>) -> f32 {
    let (mut sum, mut count) = (0.0_f32, 0_u32);
    for ((value, mean), std) in values.iter().zip(&by.mean).zip(&by.std) {
        let scaled = ((value - mean) / std).clamp(-by.clip, by.clip);
        if scaled.is_nan() {
            out.push(0.0);
        } else {
            sum += scaled * scaled;
            count += 1;
            out.push(scaled);
        }
    }
    if count == 0 { 0.0 } else { sum / count as f32 }
}

/// One normalised feature as the byte a quantised graph takes, as a number that fits its type.
pub fn quantise(value: f32, by: Quantisation, (low, high): (i16, i16)) -> i16 {
    let steps = (value / by.scale).round() + f32::from(by.zero);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the range of a byte")]
    let byte = steps.clamp(f32::from(low), f32::from(high)) as i16;
    byte
}

/// Probabilities of logits divided by a temperature; stable for logits of any size.
fn softmax(logits: &[f32], temperature: f32, out: &mut Vec<f32>) {
    out.clear();
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    out.extend(logits.iter().map(|logit| ((logit - top) / temperature).exp()));
    let sum: f32 = out.iter().sum();
    for score in out {
        *score /= sum;
    }
}

/// Whether the input is unlike what the model was made for.
pub fn out_of_scope(scope: Option<&Scope>, evidence: &Evidence) -> bool {
    match scope {
        Some(Scope::FeatureDistance { limit }) => evidence.distance.is_some_and(|distance| distance > *limit),
        Some(Scope::KnownGrams { limit, .. }) => evidence.known_share.is_some_and(|share| share < *limit),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::digest::Digest;
    use crate::infer::manifest::FileDigest;

    fn task(temperature: f32, threshold: f32) -> Task {
        Task {
            name: "".into(),
            output: "y".into(),
            labels: vec!["a".into(), "b".into(), "c".into()],
            temperature,
            threshold,
            alarm: vec![2],
        }
    }

    fn verdict(threshold: f32, scope: Option<&Scope>, evidence: Evidence) -> Verdict {
        judge(&task(1.0, threshold), &[2.0, 0.0, 0.0], scope, 0.5, &evidence).verdict
    }

    #[test]
    fn scores_are_the_softmax_of_the_logits_over_the_temperature() {
        let one = judge(&task(1.0, 0.5), &[1.0, 2.0, 3.0], None, 0.5, &Evidence::default());
        let expected = [0.090_030_57, 0.244_728_47, 0.665_240_96];
        assert!(one.scores.iter().zip(expected).all(|(score, want)| (score - want).abs() < 1e-6));
        assert_eq!((one.label, one.verdict), (2, Verdict::Accepted));
        let flat = judge(&task(10.0, 0.5), &[1.0, 2.0, 3.0], None, 0.5, &Evidence::default());
        assert!(flat.score < 0.4 && flat.verdict == Verdict::Uncertain);
        let huge = judge(&task(1.0, 0.5), &[1e30, -1e30, 3e38], None, 0.5, &Evidence::default());
        assert_eq!((huge.label, huge.scores), (2, vec![0.0, 0.0, 1.0]));
    }

    #[test]
    fn equal_scores_give_the_first_label_so_that_runs_agree() {
        let even = judge(&task(1.0, 0.5), &[1.0, 1.0, 1.0], None, 0.5, &Evidence::default());
        assert_eq!(even.label, 0);
    }

    #[test]
    fn each_cause_of_doubt_alone_is_enough() {
        let sure = Evidence { completeness: Some(1.0), ..Evidence::default() };
        assert_eq!(verdict(0.5, None, sure), Verdict::Accepted);
        assert_eq!(verdict(0.9, None, sure), Verdict::Uncertain);
        let holes = Evidence { completeness: Some(0.49), ..sure };
        assert_eq!(verdict(0.5, None, holes), Verdict::Uncertain);
        assert_eq!(verdict(0.5, None, Evidence { missing_share: 0.25, ..sure }), Verdict::Accepted);
        assert_eq!(verdict(0.5, None, Evidence { missing_share: 0.26, ..sure }), Verdict::Uncertain);
        let near = Some(Scope::FeatureDistance { limit: 9.0 });
        assert_eq!(verdict(0.5, near.as_ref(), Evidence { distance: Some(9.0), ..sure }), Verdict::Accepted);
        assert_eq!(
            verdict(0.5, near.as_ref(), Evidence { distance: Some(9.1), ..sure }),
            Verdict::OutOfScope
        );
        assert_eq!(
            verdict(0.9, near.as_ref(), Evidence { distance: Some(9.1), ..holes }),
            Verdict::OutOfScope
        );
        let file = FileDigest { file: "known.bin".into(), sha256: Digest::of(&[]) };
        let known = Some(Scope::KnownGrams { n: 4, known: file, limit: 0.4 });
        assert_eq!(
            verdict(0.5, known.as_ref(), Evidence { known_share: Some(0.3), ..sure }),
            Verdict::OutOfScope
        );
        assert_eq!(verdict(0.5, known.as_ref(), Evidence { known_share: None, ..sure }), Verdict::Accepted);
    }

    #[test]
    fn a_feature_that_is_missing_becomes_the_mean_and_does_not_count_as_near() {
        let by = Normalisation { mean: vec![10.0, 0.0, 5.0, 1.0], std: vec![2.0, 1.0, 1.0, 1.0], clip: 8.0 };
        let mut out = Vec::new();
        let distance = normalise(&[14.0, f32::NAN, f32::INFINITY, 1.0], &by, &mut out);
        assert_eq!(out, [2.0, 0.0, 8.0, 0.0]);
        assert!((distance - (4.0 + 64.0) / 3.0).abs() < 1e-6);
        assert!(normalise(&[f32::NAN; 4], &by, &mut out).abs() < 1e-9);
        assert_eq!(out, [2.0, 0.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0], "added to the row before");
    }

    #[test]
    fn quantisation_rounds_and_saturates() {
        let by = Quantisation { dtype: crate::infer::tensor::Dtype::U8, scale: 0.1, zero: 128 };
        for (value, byte) in [(0.0, 128), (0.1, 129), (-0.26, 125), (99.0, 255), (-99.0, 0)] {
            assert_eq!(quantise(value, by, (0, 255)), byte, "{value}");
        }
    }
}
