//! Samples of one stream to closed windows, one source at a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::clock::{Uptime, UtcTime};
use crate::flow::{AssetId, SampleBatch, Window};
use crate::tally::{DropReason, Tally};
use crate::window::config::{SOURCES_MAX, WindowConfig};
use crate::window::counts::WindowCounts;
use crate::window::outlet::{Outlet, Room};
use crate::window::shape::Shape;
use crate::window::source::{Closing, Source, source_bytes};
use crate::window::watermark::{FutureGuard, Present};

/// Cuts the samples of one stream into windows.
///
/// After each [`push`](Self::push), [`close_due`](Self::close_due) or [`finish`](Self::finish), take the windows
/// with [`pop`](Self::pop) until there is none.
pub struct Windower {
    shape: Shape,
    idle: Duration,
    future_max: Duration,
    present: Present,
    sources: BTreeMap<AssetId, Source>,
    /// No source falls idle before this. A lower bound: looked into when it is reached, not at every sample.
    wake: Option<Uptime>,
    /// Sources that have more windows to close than may wait to be taken, and why; each goes on when those are gone.
    due: VecDeque<(AssetId, Closing)>,
    out: Outlet,
    /// Bytes a source takes before it holds a sample.
    source_bytes: u64,
}

impl Windower {
    /// Starts without sources.
    pub fn new(config: WindowConfig) -> Self {
        Self {
            shape: Shape::new(&config),
            idle: config.idle,
            future_max: config.future_max,
            present: Present::default(),
            sources: BTreeMap::new(),
            wake: None,
            due: VecDeque::new(),
            out: Outlet::default(),
            source_bytes: source_bytes(&config),
        }
    }

    /// Bytes that buffers of all sources, closed windows and those kept for reuse may take together.
    pub fn limit_bytes(&mut self, bytes: u64) {
        self.shape.bytes_max = bytes;
    }

    /// Bytes they take now.
    pub fn bytes(&self) -> u64 {
        self.out.bytes()
    }

    /// Files the samples of one message and closes the windows its newest time allows.
    ///
    /// `wall` is the gateway's clock at this moment, against which stamps from the future are held.
    pub fn push(&mut self, batch: &SampleBatch, wall: UtcTime) {
        self.settle();
        let now = batch.received;
        self.present.observe(wall, now);
        // Empty sources take at most a quarter, so that there is room for samples.
        let empty_bytes = (self.sources.len() as u64 + 1) * self.source_bytes;
        let is_full = self.sources.len() >= SOURCES_MAX || empty_bytes > self.shape.bytes_max / 4;
        let source = match self.sources.entry(batch.asset) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if is_full => {
                let count = batch.samples.len() as u64;
                self.out.tally.received += count;
                self.out.tally.drop(DropReason::SeriesLimit, count);
                return;
            }
            Entry::Vacant(entry) => {
                let source = entry.insert(Source::new(batch.asset, &self.shape));
                self.out.held_bytes += source.bytes();
                source
            }
        };
        let mut guard = FutureGuard::new(self.present.at(now), self.future_max, now);
        for sample in &batch.samples {
            let at = guard.admit(sample.at, &source.watermark);
            self.out.counts.clamped += u64::from(at != sample.at);
            source.push(*sample, at, now, &self.shape, &mut self.out);
        }
        if !source.close(Closing::Due, Room::leisure(&self.shape), &self.shape, &mut self.out) {
            self.due.push_back((batch.asset, Closing::Due));
        }
        if let Some(idle_at) = source.idle_at(self.idle) {
            self.wake = Some(self.wake.map_or(idle_at, |wake| wake.min(idle_at)));
        }
    }

    /// Closes the open windows of every source that has been silent for the idle time.
    pub fn close_due(&mut self, now: Uptime) {
        if self.wake.is_none_or(|wake| now < wake) {
            return;
        }
        self.settle();
        let mut next: Option<Uptime> = None;
        for (asset, source) in &mut self.sources {
            match source.idle_at(self.idle) {
                Some(idle_at) if idle_at <= now => {
                    let room = Room::leisure(&self.shape);
                    let done = source.close(Closing::Early, room, &self.shape, &mut self.out);
                    self.due.extend((!done).then_some((*asset, Closing::Early)));
                }
                Some(idle_at) => next = Some(next.map_or(idle_at, |next| next.min(idle_at))),
                None => {}
            }
        }
        self.wake = next;
    }

    /// When [`close_due`](Self::close_due) should be called next; may be early, never late. `None`: nothing is held.
    pub fn poll_timeout(&self) -> Option<Uptime> {
        self.wake
    }

    /// The next closed window.
    pub fn pop(&mut self) -> Option<Window> {
        while self.out.is_empty() {
            let (asset, closing) = *self.due.front()?;
            let source = self.sources.get_mut(&asset);
            if source.is_none_or(|source| {
                source.close(closing, Room::leisure(&self.shape), &self.shape, &mut self.out)
            }) {
                self.due.pop_front();
            }
        }
        self.out.take()
    }

    /// Closes every open window, partial: the input has ended.
    pub fn finish(&mut self) {
        self.settle();
        for (asset, source) in &mut self.sources {
            if !source.close(Closing::Early, Room::leisure(&self.shape), &self.shape, &mut self.out) {
                self.due.push_back((*asset, Closing::Early));
            }
        }
        self.wake = None;
    }

    /// Closes at once what was to be closed as windows are taken: whoever does not take them all gets them all the same.
    fn settle(&mut self) {
        while let Some((asset, closing)) = self.due.pop_front() {
            if let Some(source) = self.sources.get_mut(&asset) {
                source.close(closing, Room::ENDLESS, &self.shape, &mut self.out);
            }
        }
    }

    /// Takes a window that is no longer needed, so that the next one needs no memory.
    pub fn recycle(&mut self, window: Window) {
        self.out.recycle(window, &self.shape);
    }

    /// Accounts in samples.
    pub fn tally(&self) -> &Tally {
        &self.out.tally
    }

    /// What was noticed besides.
    pub fn counts(&self) -> &WindowCounts {
        &self.out.counts
    }

    /// The same, counted anew.
    #[cfg(test)]
    fn weighed(&self) -> u64 {
        self.sources.values().map(Source::bytes).sum::<u64>() + self.out.bytes() - self.out.held_bytes
    }

    /// Samples held for windows that are still open.
    pub fn held(&self) -> u64 {
        self.sources.values().map(Source::held).sum()
    }

    /// Sources seen so far.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::clock::{ClockQuality, EARLIEST_PLAUSIBLE, EventTime};
    use crate::flow::{BadWhy, Quality, Sample, SignalId, StreamId};
    use crate::window::{FUTURE_MAX, Length};

    const UNSET: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };
    const NOON: i64 = EARLIEST_PLAUSIBLE.0 + 43_200_000_000;

    fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    fn config(length: Length, lateness: u64) -> WindowConfig {
        WindowConfig {
            stream: StreamId(3),
            channels: 2,
            length,
            lateness: micros(lateness),
            idle: Duration::from_secs(5),
            future_max: FUTURE_MAX,
            period: None,
            samples_max: 1_000,
        }
    }

    fn time(length: u64, hop: u64) -> Length {
        Length::Time { length: micros(length), hop: micros(hop) }
    }

    fn count(samples: u32, hop: u32) -> Length {
        Length::Count { samples, hop }
    }

    fn batch(asset: u32, uptime: u64, samples: &[(u16, i64)]) -> SampleBatch {
        SampleBatch {
            stream: StreamId(3),
            asset: AssetId(asset),
            received: Uptime(uptime * 1_000_000_000),
            samples: samples
                .iter()
                .map(|&(signal, at)| Sample {
                    signal: SignalId(signal),
                    at: EventTime(at),
                    value: at as f32,
                    quality: Quality::Good,
                })
                .collect(),
        }
    }

    /// "asset from..to: times of channel 0 | times of channel 1", one per window.
    fn taken(windower: &mut Windower) -> Vec<String> {
        assert!(windower.tally().balances(windower.held()), "{:?}", windower.tally());
        let mut lines = Vec::new();
        while let Some(window) = windower.pop() {
            let series: Vec<String> = window.series.iter().map(|series| times(&series.at)).collect();
            let (from, to) = (window.span.from.0, window.span.to.0);
            lines.push(format!("{} {from}..{to}: {}", window.asset.0, series.join("| ")));
            windower.recycle(window);
        }
        lines
    }

    fn times(at: &[EventTime]) -> String {
        let words: Vec<String> = at.iter().map(|at| at.0.to_string() + " ").collect();
        words.concat()
    }

    /// Pushes each message (one source, wall clock unset), then finishes; what closed after each step.
    fn check(config: WindowConfig, messages: &[&[(u16, i64)]], expect: &[&[&str]]) {
        let mut windower = Windower::new(config);
        for (message, expect) in messages.iter().zip(expect) {
            windower.push(&batch(0, 1, message), UNSET);
            assert_eq!(taken(&mut windower), *expect, "after {message:?}");
        }
        windower.finish();
        let rest = expect.get(messages.len()).copied().unwrap_or_default();
        assert_eq!(taken(&mut windower), rest, "at the end");
        assert_eq!(windower.held(), 0);
    }

    #[test]
    fn a_tumbling_window_closes_when_the_watermark_reaches_its_end() {
        check(
            config(time(10, 10), 2),
            &[&[(0, 1), (1, 1)], &[(0, 9)], &[(0, 11)], &[(1, 8)], &[(0, 12)]],
            &[&[], &[], &[], &[], &["0 0..10: 1 9 | 1 8 "], &["0 10..20: 11 12 | "]],
        );
    }

    #[test]
    fn hopping_windows_share_their_samples() {
        check(
            config(time(20, 10), 0),
            &[&[(0, 5), (0, 15)], &[(0, 40)]],
            &[
                &["0 -10..10: 5 | "],
                &["0 0..20: 5 15 | ", "0 10..30: 15 | "],
                &["0 30..50: 40 | ", "0 40..60: 40 | "],
            ],
        );
    }

    #[test]
    fn samples_between_hops_belong_to_no_window() {
        let mut windower = Windower::new(config(time(3, 10), 0));
        windower.push(&batch(0, 1, &[(0, 1), (0, 5), (0, 9), (0, 12)]), UNSET);
        assert_eq!(taken(&mut windower), ["0 0..3: 1 | "]);
        assert_eq!(windower.tally().dropped(DropReason::BetweenHops), 2);
        assert_eq!(windower.held(), 1);
    }

    #[test]
    fn one_row_windows_give_a_decision_per_message() {
        check(
            config(count(1, 1), 0),
            &[&[(0, 7), (1, 7)], &[(0, 8)]],
            &[&["0 7..8: 7 | 7 "], &["0 8..9: 8 | "], &[]],
        );
    }

    #[test]
    fn count_windows_hold_rows_and_hop_by_rows() {
        check(
            config(count(3, 2), 0),
            &[&[(0, 1), (1, 1), (0, 2)], &[(0, 5), (1, 5)], &[(0, 6), (0, 9)], &[(1, 20)]],
            &[&[], &["0 1..6: 1 2 5 | 1 5 "], &["0 5..10: 5 6 9 | 5 "], &[], &["0 9..21: 9 | 20 "]],
        );
    }

    #[test]
    fn count_windows_further_apart_than_long_skip_rows() {
        let mut windower = Windower::new(config(count(2, 5), 0));
        let rows: Vec<(u16, i64)> = (1..=12).map(|at| (0, at)).collect();
        windower.push(&batch(0, 1, &rows), UNSET);
        assert_eq!(taken(&mut windower), ["0 1..3: 1 2 | ", "0 6..8: 6 7 | ", "0 11..13: 11 12 | "]);
        assert_eq!(windower.tally().dropped(DropReason::BetweenHops), 6);
    }

    #[test]
    fn the_channels_of_one_message_are_one_row_in_whatever_order_they_come() {
        check(
            config(count(2, 2), 0),
            &[&[(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]],
            &[&["0 1..3: 1 2 | 1 2 "], &["0 3..4: 3 | 3 "]],
        );
    }

    #[test]
    fn late_samples_are_counted_in_the_next_window() {
        let mut windower = Windower::new(config(time(10, 10), 0));
        windower.push(&batch(0, 1, &[(0, 5)]), UNSET);
        windower.push(&batch(0, 1, &[(0, 12)]), UNSET);
        windower.push(&batch(0, 1, &[(0, 9), (1, 3), (0, 11)]), UNSET);
        windower.push(&batch(0, 1, &[(0, 20)]), UNSET);
        assert_eq!(windower.pop().unwrap().completeness.late_dropped, 0);
        assert_eq!(windower.pop().unwrap().completeness.late_dropped, 2);
        assert_eq!(windower.tally().dropped(DropReason::Late), 2);
        assert_eq!(windower.counts().reordered, 1);
    }

    #[test]
    fn a_silent_source_gives_up_its_windows_and_another_does_not() {
        let mut windower = Windower::new(config(time(10, 10), 2));
        windower.push(&batch(1, 1, &[(0, 5)]), UNSET);
        windower.push(&batch(2, 3, &[(0, 5)]), UNSET);
        assert_eq!(windower.poll_timeout(), Some(Uptime(6_000_000_000)));
        windower.close_due(Uptime(5_999_999_999));
        assert_eq!(taken(&mut windower), Vec::<String>::new());
        windower.close_due(Uptime(6_000_000_000));
        assert_eq!(taken(&mut windower), ["1 0..10: 5 | "]);
        assert_eq!(windower.poll_timeout(), Some(Uptime(8_000_000_000)));
        // The watermark went along: what comes for the closed window is late, though within the lateness.
        windower.push(&batch(1, 7, &[(0, 9)]), UNSET);
        assert_eq!(windower.tally().dropped(DropReason::Late), 1);
        windower.close_due(Uptime(9_000_000_000));
        assert_eq!(taken(&mut windower), ["2 0..10: 5 | "]);
        assert_eq!((windower.poll_timeout(), windower.counts().partial), (None, 2));
    }

    #[test]
    fn late_samples_do_not_keep_a_window_open() {
        let mut windower = Windower::new(config(time(10, 10), 0));
        windower.push(&batch(0, 1, &[(0, 15)]), UNSET);
        windower.push(&batch(0, 5, &[(0, 3)]), UNSET);
        windower.close_due(Uptime(6_000_000_000));
        assert_eq!(taken(&mut windower), ["0 10..20: 15 | "]);
    }

    #[test]
    fn a_source_with_a_wrong_clock_does_not_touch_the_others() {
        let mut windower = Windower::new(config(time(10, 10), 0));
        windower.push(&batch(1, 1, &[(0, 4)]), UNSET);
        windower.push(&batch(2, 1, &[(0, 4_000_000_000_000_000)]), UNSET);
        windower.push(&batch(1, 1, &[(0, 5)]), UNSET);
        windower.push(&batch(1, 1, &[(0, 10)]), UNSET);
        assert_eq!(taken(&mut windower), ["1 0..10: 4 5 | "]);
        assert_eq!(windower.tally().dropped(DropReason::Late), 0);
    }

    #[test]
    fn neither_an_absurd_stamp_nor_the_gateways_clock_moves_the_watermark_ahead() {
        let second = 1_000_000;
        let mut windower = Windower::new(config(time(10_000_000, 10_000_000), 0));
        let wall = |micros| UtcTime { micros, quality: ClockQuality::Synced };
        windower.push(&batch(0, 100, &[(0, NOON)]), wall(NOON));
        windower.push(&batch(0, 101, &[(0, NOON + 3_600 * second)]), wall(NOON + second));
        assert_eq!(windower.counts().clamped, 1);
        // The gateway's clock jumps back a year: honest stamps are still believed.
        windower.push(&batch(0, 102, &[(0, NOON + 2 * second)]), wall(NOON - 31_536_000 * second));
        windower.push(&batch(0, 103, &[(0, NOON + 3 * second)]), UNSET);
        windower.finish();
        let window = windower.pop().unwrap();
        let offsets: Vec<i64> = window.series[0].at.iter().map(|at| at.0 - NOON).collect();
        assert_eq!(offsets, [0, second, 2 * second, 3 * second]);
        assert_eq!((windower.counts().clamped, windower.tally().dropped(DropReason::Late)), (1, 0));
    }

    #[test]
    fn a_jump_of_a_century_costs_one_step() {
        let century = 3_155_760_000_000_000;
        let mut windower = Windower::new(config(time(10, 10), 0));
        windower.push(&batch(0, 1, &[(0, 5)]), UNSET);
        windower.push(&batch(0, 1, &[(0, century), (0, century + 10)]), UNSET);
        assert_eq!(windower.counts().windows, 2);
        assert_eq!(windower.counts().empty, u64::try_from(century).unwrap() / 10 - 1);
    }

    #[test]
    fn unusable_values_are_counted_and_still_show_the_time() {
        let mut windower = Windower::new(config(time(10, 10), 0));
        let mut bad = batch(0, 1, &[(0, 5), (0, 6), (1, 12), (9, 7)]);
        bad.samples[1].quality = Quality::Bad(BadWhy::Missing);
        bad.samples[2].quality = Quality::Bad(BadWhy::NonFinite);
        windower.push(&bad, UNSET);
        assert_eq!(taken(&mut windower), ["0 0..10: 5 | "]);
        for reason in [DropReason::MissingValue, DropReason::NonFinite, DropReason::Malformed] {
            assert_eq!(windower.tally().dropped(reason), 1, "{reason:?}");
        }
    }

    #[test]
    fn a_message_longer_than_the_buffer_loses_nothing_that_can_close() {
        for length in [time(10, 10), count(10, 10), count(10, 3)] {
            let mut windower = Windower::new(WindowConfig { samples_max: 16, ..config(length, 0) });
            let rows: Vec<(u16, i64)> = (0..1_000).flat_map(|at| [(0, at), (1, at)]).collect();
            windower.push(&batch(0, 1, &rows), UNSET);
            let first = taken(&mut windower).into_iter().next().unwrap();
            assert_eq!(first, "0 0..10: 0 1 2 3 4 5 6 7 8 9 | 0 1 2 3 4 5 6 7 8 9 ", "{length:?}");
            windower.finish();
            taken(&mut windower);
            assert_eq!(windower.tally().passed, 2_000, "{length:?}");
        }
    }

    #[test]
    fn a_full_buffer_drops_what_comes_and_recovers() {
        let mut windower = Windower::new(WindowConfig { samples_max: 4, ..config(time(10, 10), 0) });
        windower.push(&batch(0, 1, &[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]), UNSET);
        assert_eq!((windower.held(), windower.tally().dropped(DropReason::WindowFull)), (4, 2));
        windower.push(&batch(0, 1, &[(0, 10), (0, 11)]), UNSET);
        assert_eq!(taken(&mut windower), ["0 0..10: 0 1 2 3 | "]);
        assert_eq!(windower.held(), 2);
        // Fewer than a window of rows would never close, so the limit gives way.
        let mut rows = Windower::new(WindowConfig { samples_max: 1, ..config(count(3, 3), 0) });
        rows.push(&batch(0, 1, &[(0, 1), (0, 2), (0, 3)]), UNSET);
        assert_eq!(taken(&mut rows), ["0 1..4: 1 2 3 | "]);
    }

    #[test]
    fn sources_are_bounded() {
        let mut windower = Windower::new(config(time(10, 10), 0));
        for asset in 0..5_000 {
            windower.push(&batch(asset, 1, &[(0, 1), (1, 1)]), UNSET);
        }
        assert_eq!(windower.sources(), SOURCES_MAX);
        assert_eq!(windower.tally().dropped(DropReason::SeriesLimit), 2 * (5_000 - SOURCES_MAX as u64));
        assert!(windower.tally().balances(windower.held()));
    }

    #[test]
    fn completeness_knows_what_a_gapless_window_holds() {
        // Observed: the fullest of the last eight.
        let mut windower = Windower::new(config(time(10, 10), 0));
        let mut expected = Vec::new();
        for (window, samples) in [4, 2, 3, 3, 3, 3, 3, 3, 3, 3].into_iter().enumerate() {
            let start = i64::try_from(window).unwrap() * 10;
            let rows: Vec<(u16, i64)> = (0..samples).map(|offset| (0, start + offset)).collect();
            windower.push(&batch(0, 1, &rows), UNSET);
            windower.push(&batch(0, 1, &[]), UNSET);
            expected.extend(std::iter::from_fn(|| windower.pop()).map(|closed| closed.completeness.expected));
        }
        assert_eq!(expected, [4, 4, 4, 4, 4, 4, 4, 4, 3]);
        // Configured: ten samples of each of two channels; one channel has a hole.
        let mut windower = Windower::new(WindowConfig { period: Some(micros(1)), ..config(time(10, 10), 0) });
        windower.push(&batch(0, 1, &[(0, 0), (0, 1), (0, 5), (1, 0), (1, 3), (1, 10)]), UNSET);
        let completeness = windower.pop().unwrap().completeness;
        assert_eq!((completeness.expected, completeness.present, completeness.gaps), (20, 5, 1));
    }

    /// What the windows of one source must be, by sorting and grouping everything that was not refused.
    #[derive(Default)]
    struct Reference {
        accepted: BTreeMap<(i64, u16), f32>,
        newest: Option<i64>,
        late: u64,
        duplicate: u64,
        between: u64,
    }

    type Contents = (i64, i64, Vec<(u16, i64, f32)>);

    impl Reference {
        fn push(&mut self, config: &WindowConfig, samples: &[(u16, i64)]) {
            let closed = self.closed(config);
            for &(signal, at) in samples {
                if let Length::Time { length, hop } = config.length
                    && at.rem_euclid(whole(hop)) >= whole(length)
                {
                    self.between += 1;
                } else if closed.is_some_and(|closed| at < closed) {
                    self.late += 1;
                    continue;
                } else if self.accepted.insert((at, signal), at as f32).is_some() {
                    // A value follows from its time here, so that it does not matter which one stays.
                    self.duplicate += 1;
                }
                if closed.is_none_or(|closed| at >= closed) {
                    self.newest = self.newest.max(Some(at));
                }
            }
        }

        fn rows(&self) -> Vec<i64> {
            self.accepted.keys().map(|&(at, _)| at).collect::<BTreeSet<_>>().into_iter().collect()
        }

        /// End of the last window the watermark has passed.
        fn closed(&self, config: &WindowConfig) -> Option<i64> {
            let watermark = self.newest? - whole(config.lateness);
            match config.length {
                Length::Time { length, hop } => {
                    let mut end = watermark - whole(length) - whole(hop);
                    end -= end.rem_euclid(whole(hop));
                    let ends = (0..).map(|step| end + step * whole(hop) + whole(length));
                    ends.take_while(|&end| end <= watermark).last()
                }
                Length::Count { samples, hop } => {
                    let rows = self.rows();
                    let starts = (0..rows.len()).step_by(hop as usize);
                    let closed = |end: usize| rows.get(end).is_some_and(|&row| row <= watermark);
                    let last = starts.rev().find(|start| closed(start + samples as usize - 1))?;
                    // The last row of the window, or of the rows skipped after it.
                    let reach = last + (samples as usize).max(hop as usize);
                    let after = rows[last + samples as usize - 1..reach.min(rows.len())].iter();
                    after.take_while(|&&row| row <= watermark).last().map(|row| row + 1)
                }
            }
        }

        fn windows(&self, config: &WindowConfig) -> Vec<Contents> {
            let inside = |from: i64, to: i64| {
                let range = self.accepted.range((from, 0)..(to, 0));
                (from, to, range.map(|(&(at, signal), &value)| (signal, at, value)).collect::<Vec<_>>())
            };
            match config.length {
                Length::Time { length, hop } => {
                    let starts: BTreeSet<i64> = self
                        .rows()
                        .into_iter()
                        .flat_map(|at| {
                            let last = at - at.rem_euclid(whole(hop));
                            (0..)
                                .map(move |back| last - back * whole(hop))
                                .take_while(move |from| from + whole(length) > at)
                        })
                        .collect();
                    starts.into_iter().map(|from| inside(from, from + whole(length))).collect()
                }
                Length::Count { samples, hop } => {
                    let rows = self.rows();
                    let mut windows = Vec::new();
                    let mut held = 0;
                    for start in (0..rows.len()).step_by(hop as usize) {
                        let end = (start + samples as usize).min(rows.len());
                        if end > held {
                            windows.push(inside(rows[start], rows[end - 1] + 1));
                            held = end;
                        }
                    }
                    windows
                }
            }
        }
    }

    fn whole(duration: Duration) -> i64 {
        i64::try_from(duration.as_micros()).unwrap()
    }

    fn contents(window: &Window) -> Contents {
        let mut samples = Vec::new();
        for (signal, series) in window.series.iter().enumerate() {
            assert_eq!(series.at.len(), series.values.len());
            assert!(series.at.is_sorted_by(|earlier, later| earlier < later));
            let signal = u16::try_from(signal).unwrap();
            samples.extend(series.at.iter().zip(&series.values).map(|(at, &value)| (signal, at.0, value)));
        }
        samples.sort_by_key(|&(signal, at, _)| (at, signal));
        (window.span.from.0, window.span.to.0, samples)
    }

    fn lengths() -> impl Strategy<Value = Length> {
        prop_oneof![
            (1_u64..60).prop_map(|length| time(length, length)),
            (1_u64..60, 1_u64..90).prop_map(|(length, hop)| time(length, hop)),
            (1_u32..6, 1_u32..9).prop_map(|(samples, hop)| count(samples, hop)),
        ]
    }

    /// Messages of two sources whose times move on by about `pace` a message and are shuffled by up to `spread`.
    fn messages() -> impl Strategy<Value = Vec<(u32, Vec<(u16, i64)>)>> {
        let samples = prop::collection::vec((0_u16..2, 0_i64..40), 0..8);
        (0_i64..30, prop::collection::vec((0_u32..2, samples), 0..60)).prop_map(|(pace, messages)| {
            let paced = messages.into_iter().zip(-5_i64..).map(|((asset, samples), step)| {
                (asset, samples.into_iter().map(|(signal, at)| (signal, step * pace + at)).collect())
            });
            paced.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn windows_are_what_sorting_and_grouping_gives(
            length in lengths(), lateness in 0_u64..60, messages in messages(),
        ) {
            let config = config(length, lateness);
            let mut windower = Windower::new(config);
            let mut references: BTreeMap<u32, Reference> = BTreeMap::new();
            let mut found: BTreeMap<u32, Vec<Contents>> = BTreeMap::new();
            for (asset, samples) in &messages {
                windower.push(&batch(*asset, 1, samples), UNSET);
                references.entry(*asset).or_default().push(&config, samples);
                prop_assert!(windower.tally().balances(windower.held()));
                // Taking windows late or early changes nothing.
                if samples.len() % 2 == 0 {
                    while let Some(window) = windower.pop() {
                        found.entry(window.asset.0).or_default().push(contents(&window));
                        windower.recycle(window);
                    }
                }
            }
            windower.finish();
            prop_assert!(windower.tally().balances(windower.held()));
            while let Some(window) = windower.pop() {
                found.entry(window.asset.0).or_default().push(contents(&window));
            }
            prop_assert_eq!(windower.held(), 0);
            prop_assert!(windower.tally().balances(0));
            for (asset, reference) in &references {
                let found = found.remove(asset).unwrap_or_default();
                prop_assert_eq!(found, reference.windows(&config));
            }
            let sum = |count: fn(&Reference) -> u64| references.values().map(count).sum::<u64>();
            let tally = windower.tally();
            prop_assert_eq!(tally.dropped(DropReason::Late), sum(|reference| reference.late));
            prop_assert_eq!(tally.dropped(DropReason::Duplicate), sum(|reference| reference.duplicate));
            if let Length::Time { .. } = length {
                prop_assert_eq!(tally.dropped(DropReason::BetweenHops), sum(|reference| reference.between));
            }
        }

        #[test]
        fn hostile_stamps_neither_panic_nor_grow_the_buffers(
            length in lengths(),
            lateness in any::<u64>(),
            stamps in prop::collection::vec(
                prop_oneof![any::<i64>(), -100_i64..100, NOON - 100..NOON + 100], 1..200,
            ),
            walls in prop::collection::vec(prop_oneof![any::<i64>(), NOON..NOON + 100], 1..20),
        ) {
            let config = WindowConfig { samples_max: 8, ..config(length, lateness) };
            let mut windower = Windower::new(config);
            let mut uptime = 0_u64;
            for (chunk, micros) in stamps.chunks(7).zip(walls.iter().cycle()) {
                uptime += 1;
                let samples: Vec<(u16, i64)> = chunk.iter().map(|&at| (u16::from(at % 2 == 0), at)).collect();
                let wall = UtcTime { micros: *micros, quality: ClockQuality::Unknown };
                windower.push(&batch(0, uptime, &samples), wall);
                if uptime.is_multiple_of(9) {
                    windower.close_due(Uptime(uptime * 1_000_000_000 + 5_000_000_000));
                    while windower.pop().is_some() {}
                    prop_assert_eq!(windower.held(), 0);
                }
                prop_assert!(windower.held() <= 2 * 8);
                prop_assert!(windower.tally().balances(windower.held()));
            }
            windower.finish();
            while windower.pop().is_some() {}
            prop_assert!(windower.tally().balances(0));
        }

        #[test]
        fn no_stamps_and_no_sources_take_more_than_the_limit(
            length in lengths(), limit in 4_000_u64..40_000, stamps in prop::collection::vec(any::<i16>(), 1..400),
        ) {
            let mut windower = Windower::new(config(length, 20));
            windower.limit_bytes(limit);
            let mut taken = 0;
            for (uptime, chunk) in (1..).zip(stamps.chunks(9)) {
                let asset = u32::from(chunk[0].unsigned_abs() % 40);
                let samples: Vec<(u16, i64)> = chunk.iter().map(|&at| (0, i64::from(at))).collect();
                windower.push(&batch(asset, uptime, &samples), UNSET);
                prop_assert!(windower.bytes() <= limit, "{} of {limit}", windower.bytes());
                while let Some(window) = windower.pop() {
                    prop_assert!(windower.bytes() <= limit, "{} of {limit}", windower.bytes());
                    taken += 1;
                    if taken % 2 == 0 { windower.recycle(window); }
                }
                prop_assert!(windower.bytes() <= limit, "{} of {limit}", windower.bytes());
                prop_assert_eq!(windower.bytes(), windower.weighed());
                prop_assert!(windower.tally().balances(windower.held()));
            }
        }
    }
}
