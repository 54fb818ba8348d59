//! The ceiling of the bit rate: in any span of time T at most `rate × (T + 1 s)` and one batch.

use std::time::Duration;

use crate::clock::Uptime;
use crate::units::BitRate;

/// Keeps a mean bit rate by waiting after what was sent.
#[derive(Clone, Debug)]
pub(in crate::forward) struct Pace {
    /// The ceiling; `None`: there is none.
    bits_per_second: Option<u64>,
    /// When everything sent so far would have passed at the allowed rate.
    paid: Uptime,
}

/// What was taken for one batch, to give it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Paid {
    before: Uptime,
    after: Uptime,
}

/// A batch at the lowest rates, bytes: in smaller ones the header and the acknowledgement cost more than a tenth.
const BATCH_MIN: u64 = 2 << 10;

/// Traffic that may run ahead of the rate: an alarm should not wait for the bytes of the last second.
const BURST: Duration = Duration::from_secs(1);

impl Pace {
    pub(in crate::forward) fn new(rate: Option<BitRate>) -> Self {
        Self { bits_per_second: rate.map(|rate| rate.0.max(1)), paid: Uptime::ZERO }
    }

    /// Whether something may be sent now; the bytes may be any number, the debt is waited for afterwards.
    pub(in crate::forward) fn allows(&self, now: Uptime) -> bool {
        self.bits_per_second.is_none() || self.ready() <= now
    }

    /// When something may be sent again.
    pub(in crate::forward) fn ready(&self) -> Uptime {
        let burst = u64::try_from(BURST.as_nanos()).unwrap_or(u64::MAX);
        Uptime(self.paid.0.saturating_sub(burst))
    }

    /// What a batch may hold at most, so that an alarm behind it does not wait much longer than the link would take.
    pub(in crate::forward) fn batch(&self) -> u64 {
        self.bits_per_second.map_or(u64::MAX, |bits| (bits / 8).max(BATCH_MIN))
    }

    /// Counts bytes.
    pub(in crate::forward) fn pay(&mut self, bytes: u64, now: Uptime) -> Paid {
        let before = self.paid;
        self.paid = before.max(now).after(self.time_for(bytes));
        Paid { before, after: self.paid }
    }

    /// Gives back bytes that were not sent after all, but only if nothing was sent since: otherwise the time they would
    /// have taken may have passed already, and giving it back would let more out than is allowed.
    pub(in crate::forward) fn refund(&mut self, paid: Paid) {
        if self.paid == paid.after {
            self.paid = paid.before;
        }
    }

    /// Time the bytes take at the allowed rate.
    fn time_for(&self, bytes: u64) -> Duration {
        let Some(rate) = self.bits_per_second else { return Duration::ZERO };
        let nanos = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Uptime {
        Uptime(seconds * 1_000_000_000)
    }

    #[test]
    fn an_hour_of_full_speed_keeps_the_mean_rate() {
        let mut pace = Pace::new(Some(BitRate(64_000)));
        let (mut sent, batch) = (0, 5_000);
        for second in 0..3_600 {
            while pace.allows(seconds(second)) {
                pace.pay(batch, seconds(second));
                sent += batch;
            }
        }
        let fair = 8_000 * 3_600;
        assert!((fair - batch..=fair + 8_000 + batch).contains(&sent), "{sent}");
    }

    #[test]
    fn silence_is_not_saved_up() {
        let mut pace = Pace::new(Some(BitRate(8_000)));
        let mut sent = 0;
        while pace.allows(seconds(86_400)) {
            pace.pay(100, seconds(86_400));
            sent += 100;
        }
        assert_eq!(sent, 1_100, "one second's worth and one batch");
    }

    /// Found by the property test of the session: a batch taken back after its time on the wire had passed bought the
    /// same time again, and more left than the rate allows.
    #[test]
    fn what_is_given_back_late_buys_no_time_that_has_passed() {
        let mut prompt = Pace::new(Some(BitRate(8_000)));
        let first = prompt.pay(5_000, seconds(10));
        prompt.refund(first);
        assert!(prompt.allows(seconds(10)), "as if it had never been sent");

        let mut late = Pace::new(Some(BitRate(8_000)));
        let first = late.pay(5_000, seconds(10));
        late.pay(5_000, seconds(14));
        late.refund(first);
        assert_eq!(late.ready(), seconds(19), "the second is still to be paid for");
    }
}
