//! When the samples of a FIFO were taken: the chip counts them, the gateway has the clock.
//!
//! The newest sample of a FIFO was taken within one period before its level was read, and the thread may have come late
//! to read it. So the times follow the chip's own count and are moved only as far as that bound demands. The chip's own
//! period, off by up to a few per cent from its data sheet, is learned from how many samples come in how long a time.

use crate::clock::Uptime;

/// Samples before the period is learned: by then the error of the bound is below half a per cent.
const LEARN_AFTER: u64 = 512;

/// After this many the measurement begins anew, so that it follows the temperature of the chip.
const LEARN_ANEW: u64 = 1 << 16;

/// How far a chip may be off its data sheet: oscillators of the families differ by up to 10 %.
const TOLERANCE: f64 = 0.12;

/// Share of a lag beyond the bound that is made up for at each reading: a single late one moves little.
const FOLLOW: f64 = 0.125;

/// Tells when samples were taken.
#[derive(Clone, Debug)]
pub(in crate::device) struct SamplingClock {
    /// Nanoseconds by the data sheet.
    nominal: f64,
    /// Nanoseconds as learned.
    period: f64,
    /// When the newest sample so far was taken, nanoseconds of uptime.
    newest: Option<f64>,
    /// Where the period is measured from.
    anchor: Option<Anchor>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: f64,
    samples: u64,
}

/// Times of the samples of one reading.
#[derive(Clone, Copy, Debug)]
pub(in crate::device) struct Times {
    first: f64,
    step: f64,
    /// Samples that were lost before these.
    pub(in crate::device) lost: u32,
}

impl SamplingClock {
    /// For a chip that takes so many samples a second.
    pub(in crate::device) fn new(rate: f32) -> Self {
        let nominal = 1e9 / f64::from(rate.max(0.1));
        Self { nominal, period: nominal, newest: None, anchor: None }
    }

    /// Nanoseconds between two samples.
    pub(in crate::device) fn period(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most ten seconds")]
        let period = self.period as u64;
        period
    }

    /// Times of `count` samples, at least one, that lay in the FIFO just before `now`.
    pub(in crate::device) fn times(&mut self, now: Uptime, count: usize, overrun: bool) -> Times {
        let now = now.0 as f64;
        let span = self.period * count as f64;
        let expected = self.newest.map_or(now, |newest| newest + span);
        if overrun || self.newest.is_none() {
            let lost = if overrun { ((now - expected) / self.period).round().max(1.0) } else { 0.0 };
            self.anchor = Some(Anchor { at: now, samples: 0 });
            self.newest = Some(now);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
            return Times { first: now - span + self.period, step: self.period, lost: lost as u32 };
        }
        let lag = now - expected;
        let newest = if lag < 0.0 { now } else { expected + (lag - self.period).max(0.0) * FOLLOW };
        self.learn(now, count as u64);
        // Never into the samples before, even if the chip is faster than was thought.
        let before = self.newest.unwrap_or(newest - span);
        let step = ((newest - before) / count as f64).max(1.0);
        let newest = before + step * count as f64;
        self.newest = Some(newest);
        Times { first: before + step, step, lost: 0 }
    }

    fn learn(&mut self, now: f64, count: u64) {
        let Some(anchor) = &mut self.anchor else { return };
        anchor.samples += count;
        if anchor.samples < LEARN_AFTER {
            return;
        }
        let measured = (now - anchor.at) / anchor.samples as f64;
        self.period = measured.clamp(self.nominal * (1.0 - TOLERANCE), self.nominal * (1.0 + TOLERANCE));
        if anchor.samples >= LEARN_ANEW {
            *anchor = Anchor { at: now, samples: 0 };
        }
    }
}

impl Times {
    /// When the sample at this place was taken.
    pub(in crate::device) fn of(&self, place: usize) -> Uptime {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an uptime in nanoseconds"
        )]
        Uptime((self.first + self.step * place as f64).max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers of samples and nanoseconds, small and positive"
    )]

    use proptest::prelude::*;

    use super::*;

    /// Reads a chip of this true period (ns) every 16 samples, `late(n)` nanoseconds late; the errors of the times it
    /// gives from the reading `settled` on, and the widest and narrowest step.
    fn run(nominal: f32, period: f64, readings: usize, late: impl Fn(usize) -> f64) -> (f64, f64, f64) {
        let mut clock = SamplingClock::new(nominal);
        let start = 1e9;
        let (mut taken, mut last) = (0_u64, 0.0_f64);
        let (mut worst, mut narrow, mut wide) = (0.0_f64, f64::MAX, 0.0_f64);
        for reading in 0..readings {
            let now = start + (reading as f64 + 1.0) * 16.0 * period + period * 0.4 + late(reading);
            let there = ((now - start) / period).floor() as u64;
            let count = (there - taken) as usize;
            let times = clock.times(Uptime(now as u64), count, false);
            for place in 0..count {
                let truth = start + (taken + 1 + place as u64) as f64 * period;
                let given = times.of(place).0 as f64;
                assert!(given > last, "time stands still");
                if reading > readings / 2 {
                    worst = worst.max((given - truth).abs());
                    narrow = narrow.min(given - last);
                    wide = wide.max(given - last);
                }
                last = given;
            }
            taken = there;
        }
        (worst / period, narrow / period, wide / period)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn samples_keep_the_chips_own_rhythm_however_late_the_thread_comes(
            off in -0.1_f64..0.1,
            jitter in proptest::collection::vec(0.0_f64..1.0, 400),
        ) {
            let nominal = 100.0;
            let period = 1e9 / f64::from(nominal) * (1.0 + off);
            // Up to eight periods late: half a FIFO.
            let (worst, narrow, wide) = run(nominal, period, 400, |n| jitter[n] * jitter[n] * 8.0 * period);
            prop_assert!(worst < 2.5, "off by {worst} periods");
            prop_assert!(narrow > 0.9 && wide < 1.1, "steps from {narrow} to {wide} periods");
        }
    }

    #[test]
    fn a_chip_that_keeps_to_its_data_sheet_has_times_within_a_period() {
        for off in [-0.05, 0.0, 0.05] {
            let (worst, narrow, wide) = run(400.0, 2.5e6 * (1.0 + off), 500, |_| 0.0);
            assert!(worst <= 1.0 && narrow > 0.99 && wide < 1.01, "{off}: {worst} {narrow} {wide}");
        }
    }

    #[test]
    fn what_an_overrun_lost_is_counted_by_the_time_it_took() {
        let mut clock = SamplingClock::new(100.0);
        let ms = |ms: u64| Uptime(ms * 1_000_000);
        assert_eq!(clock.times(ms(1_000), 16, false).lost, 0);
        // A second later a FIFO of 32 is all there is of a hundred samples.
        let times = clock.times(ms(2_000), 32, true);
        assert_eq!(times.lost, 68);
        assert_eq!((times.of(31), times.of(0)), (ms(2_000), ms(1_690)));
    }
}
