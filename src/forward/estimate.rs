//! What the link can carry, learned from acknowledgements: bytes a second, round trip, and what follows for batches.
//!
//! # Why
//! A batch should fill the link for about as long as its acknowledgement takes, and no longer: what is larger delays the
//! alarm behind it, what is smaller pays headers for nothing. The delivery rate is measured as in BBR: bytes acknowledged
//! between the departure of a batch and its acknowledgement; a maximum over the last samples, because a link that had
//! nothing to do looks slow. What may be under way grows and shrinks as in TCP Vegas, by what queues of it: a
//! time-out as the only sign would first fill the buffers of a satellite modem with minutes of data.

use std::time::Duration;

use crate::clock::Uptime;

/// The estimate.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Estimate {
    /// Bytes acknowledged on this connection, and when the last of them were.
    delivered: u64,
    delivered_at: Uptime,
    /// Bytes a second of the last acknowledgements; zero where there was none yet.
    samples: [u64; SAMPLES],
    next: usize,
    round_trip: Option<Duration>,
    /// Shortest round trip, and when it was measured.
    shortest: Option<(Duration, Uptime)>,
    /// It is measured anew with little under way since then.
    measuring: Option<Uptime>,
    /// Bytes that may be under way.
    window: u64,
    /// Nothing has queued yet: the window doubles with each round trip.
    is_starting: bool,
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

/// More is put under way while less than this queues, so that the link never idles; less when more than that does,
/// because an alarm behind it waits as long.
const QUEUE_MIN: Duration = Duration::from_secs(2);
const QUEUE_MAX: Duration = Duration::from_secs(8);

/// The same in batches, where a batch takes longer.
const QUEUE_BATCHES_MIN: u64 = 2;
const QUEUE_BATCHES_MAX: u64 = 4;

/// The shortest round trip is forgotten after this: the satellite may have gone down and another come up.
const SHORTEST_AGE: Duration = Duration::from_mins(10);

/// Timeouts that shrink batches and lengthen patience further.
const CAUTION_MAX: u32 = 4;

impl Default for Estimate {
    fn default() -> Self {
        Self {
            delivered: 0,
            delivered_at: Uptime::ZERO,
            samples: [0; SAMPLES],
            next: 0,
            round_trip: None,
            shortest: None,
            measuring: None,
            window: WINDOW_FIRST,
            is_starting: true,
            caution: 0,
            record_16ths: 0,
        }
    }
}

impl Estimate {
    /// A new connection: what was learned of the rate holds until it is contradicted.
    pub(in crate::forward) fn reconnected(&mut self, now: Uptime) {
        self.delivered = 0;
        self.delivered_at = now;
        (self.shortest, self.measuring) = (None, None);
        self.is_starting = true;
    }

    /// A batch leaves; `under_way` bytes are before it.
    pub(in crate::forward) fn departs(&self, bytes: u64, under_way: u64, now: Uptime) -> Departure {
        let delivered_at = if under_way == 0 { now } else { self.delivered_at };
        Departure { sent: now, delivered: self.delivered, delivered_at, queued: under_way + bytes }
    }

    /// A batch is acknowledged.
    pub(in crate::forward) fn arrived(
        &mut self,
        bytes: u64,
        departure: &Departure,
        now: Uptime,
        batch_max: u64,
    ) {
        let took = self.answered(departure, now);
        self.delivered += bytes;
        self.delivered_at = now;
        self.caution = 0;
        let span = now.since(departure.delivered_at).max(Duration::from_micros(100));
        let rate = per_second(self.delivered.saturating_sub(departure.delivered), span);
        if let Some(sample) = self.samples.get_mut(self.next) {
            *sample = rate.max(1);
        }
        self.next = (self.next + 1) % SAMPLES;
        self.fit_window(bytes, departure.queued, took, batch_max);
    }

    /// A message too small to say anything about the rate is acknowledged; how long that took.
    pub(in crate::forward) fn answered(&mut self, departure: &Departure, now: Uptime) -> Duration {
        let took = now.since(departure.sent);
        self.round_trip = Some(self.round_trip.map_or(took, |mean| (mean * 7 + took) / 8));
        if self.shortest.is_none_or(|(shortest, _)| took <= shortest) {
            self.shortest = Some((took, now));
        } else if let Some(since) = self.measuring {
            if departure.sent >= since {
                // Little was before it, and that much is known of the rate by now.
                let queue = self.rate().map_or(Duration::ZERO, |rate| time_for(departure.queued, rate));
                self.shortest = Some((took.saturating_sub(queue).max(took / 4), now));
                self.measuring = None;
            }
        } else if self.shortest.is_some_and(|(_, at)| now.since(at) >= SHORTEST_AGE) {
            self.measuring = Some(now);
            self.window = QUEUE_BATCHES_MIN * BATCH_MIN;
            self.is_starting = true;
        }
        took
    }

    /// An acknowledgement did not come in time: smaller batches, more patience.
    pub(in crate::forward) fn timed_out(&mut self) {
        self.caution = (self.caution + 1).min(CAUTION_MAX);
        self.samples = [0; SAMPLES];
        self.window = WINDOW_FIRST >> self.caution;
    }

    /// Bytes a second.
    pub(in crate::forward) fn rate(&self) -> Option<u64> {
        self.samples.iter().max().copied().filter(|rate| *rate > 0)
    }

    /// Time from sending to acknowledgement, smoothed over about eight batches.
    pub(in crate::forward) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Bytes of a batch that fits the link, at most `batch_max`.
    pub(in crate::forward) fn batch(&self, batch_max: u64) -> u64 {
        let bytes = self.rate().map_or(BATCH_FIRST, |rate| {
            let half = amount(rate, self.shortest.map_or(Duration::ZERO, |(shortest, _)| shortest)) / 2;
            half.max(amount(rate, BATCH_TIME)).max(BATCH_MIN)
        });
        (bytes >> self.caution).min(batch_max).max(1)
    }

    /// Bytes that may be under way.
    pub(in crate::forward) fn window(&self) -> u64 {
        self.window
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

    /// Lets more under way or less, by what queued of `queued` bytes that took so long.
    fn fit_window(&mut self, bytes: u64, queued: u64, took: Duration, batch_max: u64) {
        let Some((shortest, _)) = self.shortest.filter(|_| self.measuring.is_none()) else { return };
        let (rate, batch) = (self.rate().unwrap_or(1), self.batch(batch_max));
        let waited = took.saturating_sub(shortest).as_nanos();
        let waiting = u64::try_from(u128::from(queued) * waited / took.as_nanos().max(1)).unwrap_or(u64::MAX);
        let least = amount(rate, QUEUE_MIN).max(QUEUE_BATCHES_MIN * batch);
        let most = amount(rate, QUEUE_MAX).max(QUEUE_BATCHES_MAX * batch);
        if waiting > most {
            self.is_starting = false;
            self.window = self.window.saturating_sub(bytes / 2).max(QUEUE_BATCHES_MIN * batch);
        } else if waiting < least && queued.saturating_add(batch) >= self.window {
            // A window that was not used says nothing about a larger one.
            let slowly = bytes.saturating_mul(batch) / self.window.max(1);
            self.window = self.window.saturating_add(if self.is_starting { bytes } else { slowly });
        }
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
        // The first word on a connection is short.
        let hello = estimate.departs(100, 0, Uptime::ZERO);
        estimate.answered(&hello, Uptime::ZERO.after(trip));
        let (mut now, mut free, mut under_way, mut delivered) = (Uptime::ZERO, Uptime::ZERO, 0, 0);
        let mut flying: VecDeque<(u64, Departure, Uptime)> = VecDeque::new();
        while now.since(Uptime::ZERO) < Duration::from_secs(seconds) {
            let batch = estimate.batch(MAX);
            while under_way == 0 || under_way + batch <= estimate.window() {
                let departure = estimate.departs(batch, under_way, now);
                free = free.max(now).after(time_for(batch, rate));
                flying.push_back((batch, departure, free.after(trip)));
                under_way += batch;
            }
            let (bytes, departure, at) = flying.pop_front().unwrap();
            now = at;
            under_way -= bytes;
            delivered += bytes;
            estimate.arrived(bytes, &departure, now, MAX);
        }
        (estimate.batch(MAX), estimate.window(), delivered / seconds)
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
            let seconds = if bits > 100_000 { 60 } else { 3_600 };
            let (batch, window, used) = saturated(rate, trip, seconds);
            let queue = Duration::from_secs(window / rate).saturating_sub(trip);
            println!(
                "{bits} bit/s, {trip_ms} ms: batches of {batch}, window {window}, {used} of {rate} bytes a second"
            );
            let fits =
                Duration::from_secs(batch / rate) <= Duration::from_mins(1).min(trip * 2 + BATCH_TIME * 8);
            assert!(
                fits && queue <= QUEUE_MAX.max(time_for(QUEUE_BATCHES_MAX * batch, rate)) * 2,
                "{queue:?}"
            );
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
        estimate.arrived(100, &departure, Uptime::ZERO.after(Duration::from_secs(1)), MAX);
        assert_eq!(estimate.patience(0, floor), floor);
    }

    #[test]
    fn patience_grows_with_what_lies_before_and_records_follow_what_they_became() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.records(1_000), None);
        let departure = estimate.departs(300, 0, Uptime::ZERO);
        estimate.arrived(300, &departure, Uptime::ZERO.after(Duration::from_secs(1)), MAX);
        let patience = estimate.patience(60_000, Duration::from_mins(2));
        assert_eq!(patience, Duration::from_secs(4 * 201));
        estimate.packed(100, 2_000);
        assert_eq!(estimate.records(4_000), Some(200));
    }
}
