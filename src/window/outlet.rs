//! Where closed windows wait to be taken, and where used ones come back.

use std::collections::VecDeque;

use crate::clock::EventTime;
use crate::flow::{AssetId, Completeness, Series, TimeSpan, Window};
use crate::tally::Tally;
use crate::window::counts::WindowCounts;
use crate::window::shape::Shape;

/// Used windows kept for reuse: as many as wait for inference at a time on a small gateway.
const SPARE_MAX: usize = 32;

/// Bytes of closed windows that wait to be taken before closing pauses: a few usual windows. One message may close
/// thousands, and each is a copy of its samples.
const READY_BYTES: u64 = 64 << 10;

/// One part in this many of the limit is for closed windows that wait, if that is less.
const READY_SHARE: u64 = 8;

/// One part in this many of the limit is the most that one source may take, and so the most that a window of it takes.
const SOURCE_SHARE: u64 = 4;

/// So many eighths of the limit are for buffers: with an eighth of closed windows and a window more it is all there is.
const BUFFERS_SHARE: u64 = 5;
const BUFFERS_OF: u64 = 8;

/// Closed windows in order of closing, used ones, and the accounts.
#[derive(Default)]
pub(crate) struct Outlet {
    ready: VecDeque<Window>,
    ready_bytes: u64,
    spare: Vec<Window>,
    spare_bytes: u64,
    /// Bytes of the buffers of all sources.
    pub(crate) held_bytes: u64,
    pub(crate) tally: Tally,
    pub(crate) counts: WindowCounts,
}

impl Outlet {
    /// A window whose series may still hold old samples; the caller replaces them all.
    pub(crate) fn blank(&mut self, shape: &Shape, asset: AssetId, span: TimeSpan) -> Window {
        let spare = self.spare.pop();
        self.spare_bytes = self.spare_bytes.saturating_sub(spare.as_ref().map_or(0, bytes_of));
        let mut window = spare.unwrap_or_else(|| Window {
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

    /// Puts a closed window where it is taken from.
    pub(crate) fn put(&mut self, window: Window, shape: &Shape) {
        self.ready_bytes += bytes_of(&window);
        self.ready.push_back(window);
        if self.bytes() > shape.bytes_max {
            self.spare = Vec::new();
            self.spare_bytes = 0;
        }
    }

    /// The next closed window.
    pub(crate) fn take(&mut self) -> Option<Window> {
        let window = self.ready.pop_front()?;
        self.ready_bytes = self.ready_bytes.saturating_sub(bytes_of(&window));
        Some(window)
    }

    /// Takes a used window back, if there is room for it.
    pub(crate) fn recycle(&mut self, window: Window, shape: &Shape) {
        let bytes = bytes_of(&window);
        if self.spare.len() < SPARE_MAX && self.bytes() + bytes <= shape.bytes_max {
            self.spare_bytes += bytes;
            self.spare.push(window);
        }
    }

    /// Bytes of all that the windows of the stream take.
    pub(crate) fn bytes(&self) -> u64 {
        self.held_bytes + self.ready_bytes + self.spare_bytes
    }

    /// Whether a source that takes `own` bytes may take so many more.
    pub(crate) fn grants(&self, growth: u64, own: u64, shape: &Shape) -> bool {
        own + growth <= shape.bytes_max / SOURCE_SHARE
            && self.held_bytes + growth <= shape.bytes_max / BUFFERS_OF * BUFFERS_SHARE
    }

    /// Closed windows that may wait when a buffer is full and its samples would be lost: all the room there is.
    pub(crate) fn pressed(&self, shape: &Shape) -> Room {
        Room(shape.bytes_max.saturating_sub(self.held_bytes))
    }

    /// Whether one window more may be closed.
    pub(crate) fn takes(&self, room: Room) -> bool {
        self.ready.is_empty() || self.ready_bytes < room.0
    }

    /// Whether no closed window waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}

/// Bytes of closed windows that may wait to be taken. One waits in any case.
#[derive(Clone, Copy)]
pub(crate) struct Room(u64);

impl Room {
    /// When there is no hurry: closing goes on as they are taken.
    pub(crate) fn leisure(shape: &Shape) -> Self {
        Self(READY_BYTES.min(shape.bytes_max / READY_SHARE))
    }

    /// As many as there are.
    pub(crate) const ENDLESS: Self = Self(u64::MAX);
}

fn bytes_of(window: &Window) -> u64 {
    size_of::<Window>() as u64 + window.heap_bytes()
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
