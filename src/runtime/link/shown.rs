//! What a run has shown, and what must hold of every one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::forward::{Backoff, ForwardConfig};
use crate::runtime::link_tests::chaos_proxy::Passage;

/// What a run has shown.
pub(in crate::runtime::link_tests) struct Shown {
    /// How many events there were.
    pub(in crate::runtime::link_tests) wanted: u64,
    /// Ids and how often each arrived.
    pub(in crate::runtime::link_tests) arrived: BTreeMap<u64, u32>,
    /// Bytes of the batches that brought something new.
    pub(in crate::runtime::link_tests) new_bytes: u64,
    pub(in crate::runtime::link_tests) passages: Vec<Passage>,
    /// Until everything had arrived and the cursor knew.
    pub(in crate::runtime::link_tests) took: Duration,
}

/// Timers of the executor have this grain.
pub(in crate::runtime::link_tests) const CLOCK_TICK: Duration = Duration::from_millis(2);

impl Shown {
    /// What was lost, or came from nowhere.
    pub(in crate::runtime::link_tests) fn astray(&self) -> Vec<u64> {
        let lost = (1..=self.wanted).filter(|number| !self.arrived.contains_key(number));
        lost.chain(self.arrived.keys().copied().filter(|number| *number > self.wanted)).collect()
    }

    /// Events that came again: the reader throws them away by id.
    pub(in crate::runtime::link_tests) fn twice(&self) -> u64 {
        self.arrived.values().map(|count| u64::from(count - 1)).sum()
    }

    fn bytes(&self) -> u64 {
        self.passages.iter().map(|passage| passage.up + passage.down).sum()
    }

    /// Bytes on the link beyond the batches that brought something new, in percent of those.
    pub(in crate::runtime::link_tests) fn overhead(&self) -> f64 {
        (self.bytes() as f64 / self.new_bytes as f64 - 1.0) * 100.0
    }

    /// Attempts sooner after the end of the one before than the floor of the back-off.
    pub(in crate::runtime::link_tests) fn hasty(&self) -> usize {
        let floor = Backoff::new(ForwardConfig::default().backoff_min, Duration::from_hours(1)).fail(0.0);
        let is_hasty = |pair: &&[Passage]| {
            pair[0].closed.is_none_or(|ended| pair[1].opened.duration_since(ended) + CLOCK_TICK < floor)
        };
        self.passages.windows(2).filter(is_hasty).count()
    }

    /// The longest time a connection that the broker had welcomed was believed in after it was swallowed.
    pub(in crate::runtime::link_tests) fn believed(&self) -> Option<Duration> {
        let believed = |passage: &Passage| {
            let since = passage.swallowed.filter(|_| passage.down > 0)?;
            Some(passage.closed.map_or(Duration::MAX, |closed| closed.saturating_duration_since(since)))
        };
        self.passages.iter().filter_map(believed).max()
    }

    /// Everything arrived, and nobody was pestered.
    pub(in crate::runtime::link_tests) fn check(&self, what: &str) {
        assert_eq!(self.astray(), Vec::<u64>::new(), "{what}: lost or invented");
        assert_eq!(self.hasty(), 0, "{what}: {:#?}", self.passages);
    }
}
