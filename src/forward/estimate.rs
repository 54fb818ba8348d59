//! What the link can carry, learned from acknowledgements: bytes a second, round trip, and what follows for batches.
//!
//! # Why
//! A batch should fill the link for about as long as its acknowledgement takes, and no longer: what is larger delays the
//! alarm behind it, what is smaller pays headers for nothing. The delivery rate is measured as in BBR: bytes acknowledged
//! between the departure of a batch and its acknowledgement; a maximum over the last samples, because a link that had
//! nothing to do looks slow.

use std::time::Duration;

use crate::clock::Uptime;

/// The estimate.
#[derive(Clone, Debug, Default)]
pub(in crate::forward) struct Estimate {
    /// Bytes acknowledged on this connection, and when the last of them were.
    delivered: u64,
    delivered_at: Uptime,
    /// Bytes a second and time without queueing, of the last acknowledgements; zero where there was none yet.
    samples: [(u64, Duration); SAMPLES],
    next: usize,
    round_trip: Option<Duration>,
    /// Timeouts since the last acknowledgement.
    caution: u32,
    /// Bytes of packet for one record, times 16.
    record_16ths: u64,
}

/// What stood when a batch left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Departure {
    sent: Uptime,
    delivered: u64,
    delivered_at: Uptime,
    /// Bytes before it on the link, itself included.
    queued: u64,
}

/// Acknowledgements looked back on.
const SAMPLES: usize = 8;

/// Smallest batch aimed at: below it the header and the acknowledgement cost more than a tenth.
const BATCH_MIN: u64 = 2 << 10;

/// First batch on a link nobody knows: 14 s at 2.4 kbit/s.
const BATCH_FIRST: u64 = 4 << 10;

/// Under way before the first acknowledgement.
const WINDOW_FIRST: u64 = 2 * BATCH_FIRST;

/// A batch may take this long to send, or half a round trip.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// More than this is not put under way: an alarm behind it would wait as long.
const QUEUE_TIME: Duration = Duration::from_secs(30);

/// Batches under way besides what the link holds, so that an acknowledgement never finds it idle.
const SPARE_BATCHES: u64 = 4;

/// Timeouts that shrink batches and lengthen patience further.
const CAUTION_MAX: u32 = 4;

impl Estimate {
    /// A new connection: what was learned of the last one holds until it is contradicted, except what is under way.
    pub(in crate::forward) fn reconnected(&mut self, now: Uptime) {
        self.delivered = 0;
        self.delivered_at = now;
    }

    /// A batch leaves; `under_way` bytes are before it.
    pub(in crate::forward) fn departs(&self, bytes: u64, under_way: u64, now: Uptime) -> Departure {
        let delivered_at = if under_way == 0 { now } else { self.delivered_at };
        Departure { sent: now, delivered: self.delivered, delivered_at, queued: under_way + bytes }
    }

    /// A batch is acknowledged.
    pub(in crate::forward) fn arrived(&mut self, bytes: u64, departure: &Departure, now: Uptime) {
        let took = self.answered(departure, now);
        self.delivered += bytes;
        self.delivered_at = now;
        self.caution = 0;
        let span = now.since(departure.delivered_at).max(Duration::from_micros(100));
        let rate = per_second(self.delivered.saturating_sub(departure.delivered), span);
        let fastest = self.rate().unwrap_or(0).max(rate);
        // At least half of it is the link: were the rate too low, all of it would look like queueing.
        let idle = took.saturating_sub(time_for(departure.queued, fastest)).max(took / 2);
        if let Some(sample) = self.samples.get_mut(self.next) {
            *sample = (rate.max(1), idle);
        }
        self.next = (self.next + 1) % SAMPLES;
    }

    /// A message too small to say anything about the rate is acknowledged; how long that took.
    pub(in crate::forward) fn answered(&mut self, departure: &Departure, now: Uptime) -> Duration {
        let took = now.since(departure.sent);
        self.round_trip = Some(self.round_trip.map_or(took, |mean| (mean * 7 + took) / 8));
        took
    }

    /// An acknowledgement did not come in time: smaller batches, more patience.
    pub(in crate::forward) fn timed_out(&mut self) {
        self.caution = (self.caution + 1).min(CAUTION_MAX);
        self.samples = [(0, Duration::ZERO); SAMPLES];
    }

    /// Bytes a second.
    pub(in crate::forward) fn rate(&self) -> Option<u64> {
        self.samples.iter().map(|(rate, _)| *rate).max().filter(|rate| *rate > 0)
    }

    /// Time from sending to acknowledgement, smoothed over about eight batches.
    pub(in crate::forward) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bytes of a batch that fits the link, at most `batch_max`.
    pub(in crate::forward) fn batch(&self, batch_max: u64) -> u64 {
        let bytes = self.rate().map_or(BATCH_FIRST, |rate| {
            let half = amount(rate, self.idle()) / 2;
            half.max(amount(rate, BATCH_TIME)).max(BATCH_MIN)
        });
        (bytes >> self.caution).min(batch_max).max(1)
    }

    /// Bytes that may be under way.
    pub(in crate::forward) fn window(&self, batch_max: u64) -> u64 {
        let spare = SPARE_BATCHES * self.batch(batch_max);
        self.rate().map_or(WINDOW_FIRST >> self.caution, |rate| {
            let holds = amount(rate, self.idle()) / 2 * 3 + spare;
            holds.min(amount(rate, QUEUE_TIME)).max(spare / 2)
        })
    }

    /// How long a batch may take that has so many bytes before it, itself included: never less than `floor`.
    pub(in crate::forward) fn patience(&self, queued: u64, floor: Duration) -> Duration {
        let trip = self.round_trip.unwrap_or(Duration::ZERO);
        let queue = self.rate().map_or(Duration::ZERO, |rate| time_for(queued, rate));
        (floor * (1 << self.caution.min(CAUTION_MAX))).max((trip + queue) * 4)
    }

    /// A batch of records has become so many bytes.
    pub(in crate::forward) fn packed(&mut self, records: u32, bytes: u64) {
        let each = bytes.saturating_mul(16) / u64::from(records.max(1));
        self.record_16ths = if self.record_16ths == 0 { each } else { (self.record_16ths * 3 + each) / 4 };
    }

    /// Records that make so many bytes; `None` while nothing was packed.
    pub(in crate::forward) fn records(&self, bytes: u64) -> Option<u32> {
        let records = bytes.saturating_mul(16).checked_div(self.record_16ths)?;
        Some(u32::try_from(records).unwrap_or(u32::MAX).max(1))
    }

    /// Round trip without queueing.
    fn idle(&self) -> Duration {
        self.samples.iter().filter(|(rate, _)| *rate > 0).map(|(_, idle)| *idle).min().unwrap_or_default()
    }
}

fn per_second(bytes: u64, span: Duration) -> u64 {
    let nanos = span.as_nanos().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}

fn amount(rate: u64, span: Duration) -> u64 {
    u64::try_from(u128::from(rate) * span.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MAX: u64 = 32 << 10;

    /// A link of a rate and a round trip, always with something to send; batch, window, and bytes delivered a second.
    fn saturated(rate: u64, trip: Duration, seconds: u64) -> (u64, u64, u64) {
        let mut estimate = Estimate::default();
        let (mut now, mut free, mut under_way, mut delivered) = (Uptime::ZERO, Uptime::ZERO, 0, 0);
        let mut flying: VecDeque<(u64, Departure, Uptime)> = VecDeque::new();
        while now.since(Uptime::ZERO) < Duration::from_secs(seconds) {
            let batch = estimate.batch(MAX);
            while under_way == 0 || under_way + batch <= estimate.window(MAX) {
                let departure = estimate.departs(batch, under_way, now);
                free = free.max(now).after(time_for(batch, rate));
                flying.push_back((batch, departure, free.after(trip)));
                under_way += batch;
            }
            let (bytes, departure, at) = flying.pop_front().unwrap();
            now = at;
            under_way -= bytes;
            delivered += bytes;
            estimate.arrived(bytes, &departure, now);
        }
        (estimate.batch(MAX), estimate.window(MAX), delivered / seconds)
    }

    #[test]
    fn batches_fit_the_link_and_use_most_of_it() {
        for (bits, trip_ms) in [
            (2_400, 600),
            (2_400, 20_000),
            (9_600, 2_000),
            (9_600, 20_000),
            (64_000, 600),
            (64_000, 10_000),
            (10_000_000, 50),
            (1_000_000_000, 1),
        ] {
            let (rate, trip) = (bits / 8, Duration::from_millis(trip_ms));
            let (batch, window, used) = saturated(rate, trip, 3_600);
            let queue = Duration::from_secs(window / rate);
            println!(
                "{bits} bit/s, {trip_ms} ms: batches of {batch}, window {window}, {used} of {rate} bytes a second"
            );
            let fits =
                Duration::from_secs(batch / rate) <= Duration::from_mins(1).min(trip * 2 + BATCH_TIME * 8);
            assert!(fits && queue <= QUEUE_TIME.max(Duration::from_secs(4 * BATCH_MIN / rate)));
            // A thousand times the rate needs places, not bytes: the session has 64.
            assert!(used * 10 >= rate * 8 || bits > 100_000_000, "{used} of {rate}");
        }
    }

    #[test]
    fn a_timeout_makes_batches_smaller_and_patience_longer_until_something_arrives() {
        let mut estimate = Estimate::default();
        let floor = Duration::from_mins(2);
        let (before, patience) = (estimate.batch(MAX), estimate.patience(0, floor));
        for _ in 0..10 {
            estimate.timed_out();
        }
        assert_eq!((estimate.batch(MAX), estimate.patience(0, floor)), (before / 16, patience * 16));
        let departure = estimate.departs(100, 0, Uptime::ZERO);
        estimate.arrived(100, &departure, Uptime::ZERO.after(Duration::from_secs(1)));
        assert_eq!(estimate.patience(0, floor), floor);
    }

    #[test]
    fn patience_grows_with_what_lies_before_and_records_follow_what_they_became() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.records(1_000), None);
        let departure = estimate.departs(300, 0, Uptime::ZERO);
        estimate.arrived(300, &departure, Uptime::ZERO.after(Duration::from_secs(1)));
        let patience = estimate.patience(60_000, Duration::from_mins(2));
        assert_eq!(patience, Duration::from_secs(4 * 201));
        estimate.packed(100, 2_000);
        assert_eq!(estimate.records(4_000), Some(200));
    }
}
