//! Samples of one stream to closed windows, one source at a time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::clock::{Uptime, UtcTime};
use crate::flow::{AssetId, SampleBatch, Window};
use crate::tally::{DropReason, Tally};
use crate::window::config::{SOURCES_MAX, WindowConfig};
use crate::window::counts::WindowCounts;
use crate::window::outlet::Outlet;
use crate::window::shape::Shape;
use crate::window::source::Source;
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
    out: Outlet,
}

impl Windower {
    /// Starts without sources.
    pub fn new(config: &WindowConfig) -> Self {
        Self {
            shape: Shape::new(config),
            idle: config.idle,
            future_max: config.future_max,
            present: Present::default(),
            sources: BTreeMap::new(),
            wake: None,
            out: Outlet::default(),
        }
    }

    /// Files the samples of one message and closes the windows its newest time allows.
    ///
    /// `wall` is the gateway's clock at this moment, against which stamps from the future are held.
    pub fn push(&mut self, batch: &SampleBatch, wall: UtcTime) {
        let now = batch.received;
        self.present.observe(wall, now);
        let known = self.sources.len();
        let source = match self.sources.entry(batch.asset) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if known >= SOURCES_MAX => {
                let count = batch.samples.len() as u64;
                self.out.tally.received += count;
                self.out.tally.drop(DropReason::SeriesLimit, count);
                return;
            }
            Entry::Vacant(entry) => entry.insert(Source::new(batch.asset, &self.shape)),
        };
        let mut guard = FutureGuard::new(self.present.at(now), self.future_max, now);
        for sample in &batch.samples {
            let at = guard.admit(sample.at, &source.watermark);
            self.out.counts.clamped += u64::from(at != sample.at);
            source.push(*sample, at, now, &self.shape, &mut self.out);
        }
        source.close_due(&self.shape, Duration::ZERO, &mut self.out);
        if let Some(idle_at) = source.idle_at(self.idle) {
            self.wake = Some(self.wake.map_or(idle_at, |wake| wake.min(idle_at)));
        }
    }

    /// Closes the open windows of every source that has been silent for the idle time.
    pub fn close_due(&mut self, now: Uptime) {
        if self.wake.is_none_or(|wake| now < wake) {
            return;
        }
        let mut next: Option<Uptime> = None;
        for source in self.sources.values_mut() {
            match source.idle_at(self.idle) {
                Some(idle_at) if idle_at <= now => source.close_all(&self.shape, &mut self.out),
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
        self.out.ready.pop_front()
    }

    /// Closes every open window, partial: the input has ended.
    pub fn finish(&mut self) {
        for source in self.sources.values_mut() {
            source.close_all(&self.shape, &mut self.out);
        }
        self.wake = None;
    }

    /// Takes a window that is no longer needed, so that the next one needs no memory.
    pub fn recycle(&mut self, window: Window) {
        self.out.recycle(window);
    }

    /// Accounts in samples.
    pub fn tally(&self) -> &Tally {
        &self.out.tally
    }

    /// What was noticed besides.
    pub fn counts(&self) -> &WindowCounts {
        &self.out.counts
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
