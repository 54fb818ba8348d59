//! The samples of one source until their windows close.

use std::collections::VecDeque;
use std::time::Duration;

use heapless::HistoryBuf;

use crate::clock::{EventTime, Uptime};
use crate::flow::{AssetId, BadWhy, Completeness, Quality, Sample, TimeSpan};
use crate::tally::DropReason;
use crate::window::column::{Column, Filed, deque_bytes, deque_growth, grow};
use crate::window::config::WindowConfig;
use crate::window::grid::Grid;
use crate::window::outlet::{Outlet, Room, gaps};
use crate::window::shape::{Frame, Shape};
use crate::window::watermark::Watermark;

/// Windows whose largest number of samples stands for a gapless one where no period is configured.
const REMEMBERED: usize = 8;

/// Earlier than every stamp.
const NOTHING_CLOSED: EventTime = EventTime(i64::MIN);

/// The distance between two instants next to each other.
const MICROSECOND: Duration = Duration::from_micros(1);

/// One asset of a stream.
pub(crate) struct Source {
    asset: AssetId,
    pub(crate) watermark: Watermark,
    columns: Vec<Column>,
    /// Distinct instants of the held samples, in order; count windows only.
    rows: VecDeque<EventTime>,
    /// Rows still to pass before the next count window begins, where the hop is longer than the window.
    skip: usize,
    /// End of the last closed window: anything earlier is late.
    closed: EventTime,
    /// When the last sample came that was not late.
    touched: Uptime,
    late: u32,
    /// Samples in each of the last windows.
    recent: HistoryBuf<u32, REMEMBERED>,
    /// Bytes of its buffers.
    bytes: u64,
}

/// Bytes a source takes before it holds a sample, its place in the table included.
pub fn source_bytes(config: &WindowConfig) -> u64 {
    empty_bytes(usize::from(config.channels))
}

/// A table of sources is at least half full, so each of them takes twice its size at most.
fn empty_bytes(channels: usize) -> u64 {
    (2 * size_of::<Source>() + channels * size_of::<Column>()) as u64
}

/// Why a window closes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The watermark has passed its end.
    Due,
    /// Its source is silent or the gateway stops.
    Early,
}

impl Source {
    pub(crate) fn new(asset: AssetId, shape: &Shape) -> Self {
        let mut columns = Vec::new();
        columns.resize_with(shape.channels, Column::default);
        Self {
            asset,
            watermark: Watermark::default(),
            columns,
            rows: VecDeque::new(),
            skip: 0,
            closed: NOTHING_CLOSED,
            touched: Uptime::ZERO,
            late: 0,
            recent: HistoryBuf::new(),
            bytes: empty_bytes(shape.channels),
        }
    }

    /// Bytes of its buffers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Samples held.
    pub(crate) fn held(&self) -> u64 {
        self.columns.iter().map(|column| column.len() as u64).sum()
    }

    /// When the open windows close for want of samples; `None` without any.
    pub(crate) fn idle_at(&self, idle: Duration) -> Option<Uptime> {
        self.columns.iter().any(|column| column.len() > 0).then(|| self.touched.after(idle))
    }

    /// Files one sample under a time, or drops it for a reason.
    pub(crate) fn push(
        &mut self,
        sample: Sample,
        at: EventTime,
        now: Uptime,
        shape: &Shape,
        out: &mut Outlet,
    ) {
        out.tally.received += 1;
        if let Some(reason) = self.refusal(sample, at, shape) {
            out.tally.drop(reason, 1);
            if at >= self.closed {
                self.observe(at, now);
            }
            return;
        }
        if at < self.closed {
            self.drop_late(out);
            return;
        }
        self.observe(at, now);
        let signal = usize::from(sample.signal.0);
        if self.columns.get(signal).is_some_and(|column| column.len() >= shape.samples_max) {
            self.make_room(shape, out);
            if at < self.closed {
                self.drop_late(out);
                return;
            }
        }
        let is_full = self.columns.get(signal).is_none_or(|column| column.len() >= shape.samples_max);
        if is_full || !self.grow(signal, shape, out) {
            out.tally.drop(DropReason::WindowFull, 1);
            return;
        }
        let Some(column) = self.columns.get_mut(signal) else { return };
        match column.file(at, sample.value) {
            Filed::Appended => self.note_row(at, shape),
            Filed::Reordered => {
                out.counts.reordered += 1;
                self.note_row(at, shape);
            }
            Filed::Duplicate => out.tally.drop(DropReason::Duplicate, 1),
        }
    }

    /// Makes room for one more sample of a channel; false where there is none to be had.
    fn grow(&mut self, signal: usize, shape: &Shape, out: &mut Outlet) -> bool {
        let Some(column) = self.columns.get_mut(signal) else { return false };
        let rows_growth = match shape.frame {
            Frame::Time(_) => 0,
            Frame::Count { .. } => deque_growth(&self.rows),
        };
        let growth = column.growth() + rows_growth;
        if growth == 0 {
            return true;
        }
        if !out.grants(growth, self.bytes, shape) {
            return false;
        }
        let before = column.bytes() + deque_bytes(&self.rows);
        column.grow();
        if rows_growth > 0 {
            grow(&mut self.rows);
        }
        let grown = (column.bytes() + deque_bytes(&self.rows)).saturating_sub(before);
        self.bytes += grown;
        out.held_bytes += grown;
        true
    }

    /// Takes down what the buffers take now.
    fn weigh(&mut self, shape: &Shape, out: &mut Outlet) {
        let columns = self.columns.iter().map(Column::bytes).sum::<u64>();
        let bytes = empty_bytes(shape.channels) + columns + deque_bytes(&self.rows);
        out.held_bytes = (out.held_bytes + bytes).saturating_sub(self.bytes);
        self.bytes = bytes;
    }

    /// Closes what is to be closed for a reason, as far as closed windows may wait; false if there is more.
    pub(crate) fn close(&mut self, closing: Closing, room: Room, shape: &Shape, out: &mut Outlet) -> bool {
        match closing {
            Closing::Due => self.close_due(room, shape, out),
            Closing::Early => self.close_all(room, shape, out),
        }
    }

    /// Closes the windows the watermark has passed; false if there are more than may wait.
    fn close_due(&mut self, room: Room, shape: &Shape, out: &mut Outlet) -> bool {
        let Some(until) = self.watermark.allowed(shape.lateness) else { return true };
        match shape.frame {
            Frame::Time(grid) => self.close_spans(grid, until, Closing::Due, room, shape, out),
            Frame::Count { samples, hop } => self.close_rows(samples, hop, until, room, shape, out),
        }
    }

    /// Closes what can close before the end of a batch that fills the buffer.
    fn make_room(&mut self, shape: &Shape, out: &mut Outlet) {
        let room = out.pressed(shape);
        match shape.frame {
            Frame::Time(_) => {
                self.close_due(room, shape, out);
            }
            Frame::Count { samples, hop } => {
                // The newest row may still lack the channels that follow in the batch.
                if let Some(until) = self.watermark.allowed(shape.lateness) {
                    self.close_rows(samples, hop, until.before(MICROSECOND), room, shape, out);
                }
            }
        }
    }

    /// Closes all windows that hold samples, and gives the memory back; false if there are more than may wait.
    fn close_all(&mut self, room: Room, shape: &Shape, out: &mut Outlet) -> bool {
        let done = match shape.frame {
            Frame::Time(grid) => {
                let newest = self.columns.iter().filter_map(Column::last).max();
                newest.is_none_or(|newest| {
                    let end = grid.last_starting_by(newest).to;
                    self.close_spans(grid, end, Closing::Early, room, shape, out)
                })
            }
            Frame::Count { samples, hop } => {
                let done = self.close_rows(samples, hop, EventTime(i64::MAX), room, shape, out);
                if done {
                    self.close_rest(shape, out);
                }
                done
            }
        };
        if done {
            self.columns.iter_mut().for_each(Column::shrink);
            self.rows.shrink_to_fit();
            self.weigh(shape, out);
        }
        done
    }

    /// Why a sample can be in no window, whatever the time is.
    fn refusal(&self, sample: Sample, at: EventTime, shape: &Shape) -> Option<DropReason> {
        match sample.quality {
            Quality::Bad(BadWhy::NonFinite) => return Some(DropReason::NonFinite),
            Quality::Bad(BadWhy::Missing) => return Some(DropReason::MissingValue),
            Quality::Good => {}
        }
        if usize::from(sample.signal.0) >= self.columns.len() {
            return Some(DropReason::Malformed);
        }
        match shape.frame {
            Frame::Time(grid) => (!grid.covers(at)).then_some(DropReason::BetweenHops),
            Frame::Count { .. } => None,
        }
    }

    fn observe(&mut self, at: EventTime, now: Uptime) {
        self.watermark.observe(at, now);
        self.touched = now;
    }

    fn drop_late(&mut self, out: &mut Outlet) {
        out.tally.drop(DropReason::Late, 1);
        self.late = self.late.saturating_add(1);
    }

    fn note_row(&mut self, at: EventTime, shape: &Shape) {
        match shape.frame {
            Frame::Time(_) => {}
            Frame::Count { .. } => {
                if self.rows.back().is_none_or(|&last| last < at) {
                    self.rows.push_back(at);
                } else if let Err(place) = self.rows.binary_search(&at) {
                    self.rows.insert(place, at);
                }
            }
        }
    }

    /// Closes the time windows that end by an instant, as far as there is room. Visits only windows that hold samples.
    fn close_spans(
        &mut self,
        grid: Grid,
        until: EventTime,
        closing: Closing,
        room: Room,
        shape: &Shape,
        out: &mut Outlet,
    ) -> bool {
        while let Some(oldest) = self.columns.iter().filter_map(Column::first).min() {
            let span = grid.first_ending_after(oldest.max(self.closed));
            if span.to > until {
                break;
            }
            if !out.takes(room) {
                return false;
            }
            if self.closed > NOTHING_CLOSED {
                out.counts.empty += grid.ends_between(self.closed, span.to).saturating_sub(1);
            }
            self.emit(span, closing, shape, out);
            self.closed = span.to;
            out.tally.passed += self.release_before(grid.next_start(span));
        }
        let end = grid.last_end_by(until);
        if end > self.closed {
            if self.closed > NOTHING_CLOSED {
                out.counts.empty += grid.ends_between(self.closed, end);
            }
            self.closed = end;
        }
        true
    }

    /// Closes the full count windows whose rows all lie at or before an instant, as far as there is room.
    fn close_rows(
        &mut self,
        samples: usize,
        hop: usize,
        until: EventTime,
        room: Room,
        shape: &Shape,
        out: &mut Outlet,
    ) -> bool {
        loop {
            self.skip_rows(until, out);
            let (Some(&from), Some(&last)) = (self.rows.front(), self.rows.get(samples - 1)) else {
                return true;
            };
            if self.skip > 0 || last > until {
                return true;
            }
            if !out.takes(room) {
                return false;
            }
            let to = just_after(last);
            self.emit(TimeSpan { from, to }, Closing::Due, shape, out);
            self.closed = to;
            // The next window begins inside this one, or after it.
            let next = self.rows.get(hop).copied().filter(|_| hop < samples).unwrap_or(to);
            out.tally.passed += self.release_before(next);
            self.rows.drain(..hop.min(samples));
            self.skip = hop.saturating_sub(samples);
        }
    }

    fn skip_rows(&mut self, until: EventTime, out: &mut Outlet) {
        while self.skip > 0 {
            let Some(&row) = self.rows.front().filter(|&&row| row <= until) else { return };
            self.rows.pop_front();
            self.skip -= 1;
            self.closed = just_after(row);
            let released = self.release_before(self.closed);
            out.tally.drop(DropReason::BetweenHops, released);
        }
    }

    /// Closes the last, unfilled count window if it holds a row that no window held yet.
    fn close_rest(&mut self, shape: &Shape, out: &mut Outlet) {
        if let (Some(&from), Some(&last)) = (self.rows.front(), self.rows.back()) {
            let to = just_after(last);
            if last >= self.closed {
                self.emit(TimeSpan { from, to }, Closing::Early, shape, out);
                self.closed = to;
            }
            out.tally.passed += self.release_before(to);
            self.rows.clear();
        }
        self.skip = 0;
    }

    fn release_before(&mut self, at: EventTime) -> u64 {
        self.columns.iter_mut().map(|column| column.release_before(at)).sum()
    }

    fn emit(&mut self, span: TimeSpan, closing: Closing, shape: &Shape, out: &mut Outlet) {
        let mut window = out.blank(shape, self.asset, span);
        let (mut present, mut gap_count) = (0, 0);
        for (column, series) in self.columns.iter().zip(&mut window.series) {
            column.copy_into(span, series);
            present += u32::try_from(series.at.len()).unwrap_or(u32::MAX);
            gap_count += gaps(&series.at, shape.period);
        }
        self.recent.write(present);
        let observed = self.recent.iter().copied().max().unwrap_or(present);
        window.completeness = Completeness {
            expected: shape.expected.unwrap_or(observed),
            present,
            late_dropped: std::mem::take(&mut self.late),
            gaps: gap_count,
        };
        out.counts.windows += 1;
        out.counts.partial += u64::from(closing == Closing::Early);
        out.counts.gaps += u64::from(gap_count);
        out.put(window, shape);
    }
}

fn just_after(at: EventTime) -> EventTime {
    at.after(MICROSECOND)
}
