//! Where closed windows wait to be taken, and where used ones come back.

use std::collections::VecDeque;

use crate::clock::EventTime;
use crate::flow::{AssetId, Completeness, Series, TimeSpan, Window};
use crate::tally::Tally;
use crate::window::counts::WindowCounts;
use crate::window::shape::Shape;

/// Used windows kept for reuse: as many as wait for inference at a time on a small gateway.
const SPARE_MAX: usize = 32;

/// Closed windows in order of closing, used ones, and the accounts.
#[derive(Default)]
pub(crate) struct Outlet {
    pub(crate) ready: VecDeque<Window>,
    spare: Vec<Window>,
    pub(crate) tally: Tally,
    pub(crate) counts: WindowCounts,
}

impl Outlet {
    /// A window whose series may still hold old samples; the caller replaces them all.
    pub(crate) fn blank(&mut self, shape: &Shape, asset: AssetId, span: TimeSpan) -> Window {
        let mut window = self.spare.pop().unwrap_or_else(|| Window {
            stream: shape.stream,
            asset,
            span,
            completeness: Completeness::default(),
            series: Vec::new(),
        });
        window.stream = shape.stream;
        window.asset = asset;
        window.span = span;
        window.series.resize_with(shape.channels, Series::default);
        window
    }

    /// Takes a used window back.
    pub(crate) fn recycle(&mut self, window: Window) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(window);
        }
    }
}

/// Places where more than three periods lie between neighbours.
///
/// Without a configured period it is the mean distance in the series itself, which needs at least three samples.
pub(crate) fn gaps(at: &[EventTime], period: Option<i64>) -> u32 {
    let period = period.or_else(|| {
        let (first, last) = (at.first()?, at.last()?);
        let between = i64::try_from(at.len()).ok()? - 1;
        (between >= 2).then(|| last.micros_since(*first) / between)
    });
    let Some(period) = period else { return 0 };
    let wide = period.saturating_mul(3);
    let pairs = at.iter().zip(at.iter().skip(1));
    let count = pairs.filter(|(earlier, later)| later.micros_since(**earlier) > wide).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_more_than_three_periods_configured_or_observed() {
        let cases: &[(&[i64], Option<i64>, u32)] = &[
            (&[], Some(10), 0),
            (&[0], Some(10), 0),
            (&[0, 30, 60], Some(10), 0),
            (&[0, 31, 60], Some(10), 1),
            (&[0, 31, 62, 100], Some(10), 3),
            (&[0, 100], None, 0),
            (&[0, 10, 20, 30], None, 0),
            (&[0, 10, 20, 30, 40, 50, 200, 210], None, 1),
        ];
        for (at, period, expect) in cases {
            let at: Vec<_> = at.iter().map(|&at| EventTime(at)).collect();
            assert_eq!(gaps(&at, *period), *expect, "{at:?} {period:?}");
        }
    }
}
