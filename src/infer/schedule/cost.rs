//! What work costs: processor time by model, form and size, learned from what it took.
//!
//! # Invariants
//! Costs are kept as on an unthrottled chip: a chip that runs at a third of its clock does not make a model look slow,
//! neither now nor when the clock is back.

use std::time::Duration;

use crate::clock::Uptime;
use crate::flow::{ModelId, VariantRule};
use crate::units::Ratio;

/// Sizes are told apart by powers of two: up to 2^20 bytes of report in a batch.
const SIZES: usize = 21;

/// Forms of a model, by [`VariantRule`].
const FORMS: usize = 3;

/// One part in this many of what is new goes into what is known: a batch that was interrupted once changes little.
const MEMORY: f64 = 8.0;

/// A model that was not measured for so long is tried again, whatever it cost before, and what it costs then counts:
/// else one whose cost was once found too high for its deadline would never be asked again.
pub const TRUSTED: Duration = Duration::from_secs(30);

/// Slowest clock believed: a twentieth. Below that the reading is wrong rather than the chip so slow.
const CLOCK_MIN: f64 = 0.05;

/// Costs of all models.
#[derive(Clone, Debug)]
pub struct CostBook {
    models: Vec<ModelCosts>,
    clock: f64,
}

#[derive(Clone, Debug, Default)]
struct ModelCosts {
    /// Nanoseconds on the unthrottled chip for each unit of size.
    rates: [[Option<f64>; SIZES]; FORMS],
    measured: Option<Uptime>,
}

impl CostBook {
    /// Knows what one input costs each model, where it was measured before the start.
    pub fn new(known: &[Option<Duration>]) -> Self {
        let model = |cost: &Option<Duration>| {
            let mut costs = ModelCosts::default();
            let first = costs.rates.first_mut().and_then(|sizes| sizes.first_mut());
            if let (Some(first), Some(cost)) = (first, cost) {
                *first = Some(cost.as_nanos() as f64);
            }
            costs
        };
        Self { models: known.iter().map(model).collect(), clock: 1.0 }
    }

    /// The clock of the chip as a share of the unthrottled one.
    pub fn set_clock(&mut self, clock: Ratio) {
        self.clock = f64::from(clock.get()).max(CLOCK_MIN);
    }

    /// Learns from a batch.
    pub fn learn(&mut self, model: ModelId, form: VariantRule, size: u64, spent: Duration, now: Uptime) {
        let index = usize::from(model.0);
        if self.models.len() <= index {
            self.models.resize_with(index + 1, ModelCosts::default);
        }
        let Some(costs) = self.models.get_mut(index) else { return };
        let is_old = costs.measured.replace(now).is_none_or(|measured| now.since(measured) > TRUSTED);
        let rate = spent.as_nanos() as f64 * self.clock / size.max(1) as f64;
        let place = costs.rates.get_mut(form as usize).and_then(|sizes| sizes.get_mut(place(size)));
        if let Some(known) = place {
            let before = known.filter(|_| !is_old).unwrap_or(rate);
            *known = Some(before + (rate - before) / MEMORY);
        }
    }

    /// Processor time at the present clock; `None` where nothing like it is known.
    pub fn expect(&self, model: ModelId, form: VariantRule, size: u64) -> Option<Duration> {
        let costs = self.models.get(usize::from(model.0))?;
        let of = |form: VariantRule| nearest(costs.rates.get(form as usize)?, place(size));
        // Of a form that has not run yet the best one is the upper limit.
        let rate = of(form).or_else(|| of(VariantRule::Best))?;
        let nanos = rate * size.max(1) as f64 / self.clock;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; positive")]
        Some(Duration::from_nanos(nanos as u64))
    }

    /// The same where it was measured lately: good enough to refuse work by.
    pub fn trust(&self, model: ModelId, form: VariantRule, size: u64, now: Uptime) -> Option<Duration> {
        let measured = self.models.get(usize::from(model.0))?.measured?;
        if now.since(measured) > TRUSTED { None } else { self.expect(model, form, size) }
    }
}

/// The place of a size: the next power of two.
fn place(size: u64) -> usize {
    let exponent = size.max(1).next_power_of_two().ilog2();
    usize::try_from(exponent).unwrap_or(SIZES).min(SIZES - 1)
}

/// What is known of this size, else of the next smaller, else of the next larger.
fn nearest(sizes: &[Option<f64>; SIZES], place: usize) -> Option<f64> {
    let (smaller, larger) = sizes.split_at_checked(place + 1)?;
    smaller.iter().rev().chain(larger).find_map(|rate| *rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: ModelId = ModelId(1);
    const BEST: VariantRule = VariantRule::Best;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn costs_follow_the_size_and_the_clock_and_are_known_before_the_start_where_they_were_measured() {
        let mut book = CostBook::new(&[None, Some(millis(4))]);
        assert_eq!(book.expect(MODEL, BEST, 1), Some(millis(4)));
        assert_eq!(book.trust(MODEL, BEST, 1, Uptime::ZERO), None, "not measured here");
        assert_eq!((book.expect(ModelId(0), BEST, 1), book.expect(ModelId(7), BEST, 1)), (None, None));
        book.learn(MODEL, BEST, 8, millis(8), Uptime::ZERO);
        assert_eq!(book.expect(MODEL, BEST, 6), Some(millis(6)), "in a batch it is cheaper");
        assert_eq!(book.expect(MODEL, BEST, 1), Some(millis(4)));
        assert_eq!(book.expect(MODEL, VariantRule::Smallest, 8), Some(millis(8)), "of another form the most");
        book.set_clock(Ratio::new(0.5).unwrap());
        assert_eq!(book.expect(MODEL, BEST, 8), Some(millis(16)));
        book.learn(MODEL, BEST, 8, millis(16), Uptime::ZERO);
        book.set_clock(Ratio::new(1.0).unwrap());
        assert_eq!(book.expect(MODEL, BEST, 8), Some(millis(8)), "the clock is not the model's fault");
    }

    #[test]
    fn one_batch_that_was_interrupted_changes_little_and_what_is_old_nothing() {
        let mut book = CostBook::new(&[]);
        book.learn(MODEL, BEST, 1, millis(8), Uptime::ZERO);
        book.learn(MODEL, BEST, 1, millis(72), Uptime::ZERO);
        assert_eq!(book.expect(MODEL, BEST, 1), Some(millis(16)));
        let later = Uptime::ZERO.after(TRUSTED + millis(1));
        assert_eq!(book.trust(MODEL, BEST, 1, later), None);
        book.learn(MODEL, BEST, 1, millis(2), later);
        assert_eq!(book.trust(MODEL, BEST, 1, later), Some(millis(2)));
    }
}
