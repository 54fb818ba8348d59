//! Whether a score means what it says: calibration error, risk and coverage.

use crate::quality::confusion::share;

/// Bins of the calibration error, as in Guo et al. 2017, "On calibration of modern neural networks".
pub const ECE_BINS: usize = 15;

/// An answer's score and whether it was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Calibrated probability of the answer, 0 to 1.
    pub score: f64,
    /// Whether the answer was right.
    pub right: bool,
}

/// What is kept and what is wrong of it, if answers below a score are not used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RiskPoint {
    /// The smallest score kept.
    pub score: f64,
    /// Share of the answers kept.
    pub coverage: f64,
    /// Share of wrong ones among them.
    pub risk: f64,
}

/// Expected calibration error: how far the mean score of a bin is from its share of right answers, over bins of
/// equal width weighted by their size; `None` without answers.
pub fn calibration_error(answers: &[Scored], bins: usize) -> Option<f64> {
    let mut gaps = vec![0.0_f64; bins.max(1)];
    for answer in answers {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to the number of bins"
        )]
        let bin = (answer.score.clamp(0.0, 1.0) * gaps.len() as f64) as usize;
        let last = gaps.len() - 1;
        if let Some(gap) = gaps.get_mut(bin.min(last)) {
            *gap += answer.score - if answer.right { 1.0 } else { 0.0 };
        }
    }
    let sum: f64 = gaps.iter().map(|gap| gap.abs()).sum();
    (!answers.is_empty()).then(|| sum / answers.len() as f64)
}

/// The risk–coverage curve, surest first: one point per score there is, because answers of equal score are kept or
/// left together.
pub fn risk_coverage(answers: &[Scored]) -> Vec<RiskPoint> {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut points, mut kept, mut wrong) = (Vec::new(), 0_u64, 0_u64);
    let total = answers.len() as u64;
    for same in sorted.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()) {
        kept += same.len() as u64;
        wrong += same.iter().filter(|answer| !answer.right).count() as u64;
        let Some(answer) = same.first() else { continue };
        points.push(RiskPoint {
            score: answer.score,
            coverage: share(kept, total).unwrap_or(0.0),
            risk: share(wrong, kept).unwrap_or(0.0),
        });
    }
    points
}

/// The largest coverage at which answers are right with this precision; 0 if there is none.
pub fn coverage_at(points: &[RiskPoint], precision: f64) -> f64 {
    let good = points.iter().filter(|point| 1.0 - point.risk >= precision);
    good.map(|point| point.coverage).fold(0.0, f64::max)
}

/// Area under the risk–coverage curve: the mean risk over all coverages, smaller is better; `None` without points.
pub fn mean_risk(points: &[RiskPoint]) -> Option<f64> {
    let mut area = 0.0;
    let mut before = 0.0;
    for point in points {
        area += point.risk * (point.coverage - before);
        before = point.coverage;
    }
    (!points.is_empty()).then_some(area)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(list: &[(f64, bool)]) -> Vec<Scored> {
        list.iter().map(|&(score, right)| Scored { score, right }).collect()
    }

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
    }

    #[test]
    fn the_calibration_error_is_the_weighted_gap_of_the_bins() {
        // Two bins: 0.2 and 0.4 with one right of two (mean 0.3, share 0.5), 0.9 and 0.7 with both (0.8, 1).
        let list = answers(&[(0.2, true), (0.4, false), (0.9, true), (0.7, true)]);
        near(calibration_error(&list, 2).unwrap(), 0.5 * 0.2 + 0.5 * 0.2);
        // In one bin the gaps add up before their size is taken.
        near(calibration_error(&list, 1).unwrap(), 0.75 - 0.55);
        assert_eq!(calibration_error(&[], 15), None);
        let certain = answers(&[(1.0, true), (1.0, true)]);
        near(calibration_error(&certain, 15).unwrap(), 0.0);
    }

    #[test]
    fn answers_of_equal_score_are_kept_or_left_together() {
        let list = answers(&[(0.5, false), (0.9, true), (0.5, true), (0.8, true)]);
        let points = risk_coverage(&list);
        let shown: Vec<_> = points.iter().map(|point| (point.score, point.coverage, point.risk)).collect();
        assert_eq!(shown, [(0.9, 0.25, 0.0), (0.8, 0.5, 0.0), (0.5, 1.0, 0.25)]);
        near(coverage_at(&points, 0.95), 0.5);
        near(coverage_at(&points, 0.75), 1.0);
        near(mean_risk(&points).unwrap(), 0.125);
        let bad = risk_coverage(&answers(&[(0.9, false), (0.1, true)]));
        near(coverage_at(&bad, 0.95), 0.0);
        assert_eq!((risk_coverage(&[]), mean_risk(&[])), (Vec::new(), None));
    }
}
