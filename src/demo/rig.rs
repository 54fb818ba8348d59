//! A hydraulic power unit that exists only here: eight channels at 1 Hz in load cycles of one minute.
//!
//! # Why
//! The numbers are made up after the statistics of the hydraulic test rig of `ZeMA` (UCI "Condition monitoring of hydraulic
//! systems", CC BY 4.0), rounded means per condition: near enough for the shipped model to tell the conditions apart.

/// Channels in the order of [`Row`]; see [`Rig`].
pub(in crate::demo) const CHANNELS: [&str; 8] = ["ts1", "ts2", "ts3", "ts4", "vs1", "ce", "cp", "se"];

/// One second of all channels.
pub(in crate::demo) type Row = [f32; CHANNELS.len()];

/// Seconds of a load cycle.
pub(in crate::demo) const CYCLE: u64 = 60;

/// How leaky the pump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Leak {
    None,
    Weak,
    Severe,
}

/// How much the cooler still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Cooler {
    Full,
    Reduced,
    NearFailure,
}

/// What is wrong with a rig.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) struct Condition {
    pub(in crate::demo) leak: Leak,
    pub(in crate::demo) cooler: Cooler,
}

impl Condition {
    /// Nothing.
    pub(in crate::demo) const HEALTHY: Self = Self { leak: Leak::None, cooler: Cooler::Full };
}

/// Steps of the efficiency within a cycle: from this second on, so much above or below its base; `None`: the load is
/// off and the efficiency reads zero.
const STEPS: [(u64, Option<f32>); 12] = [
    (0, Some(0.0)),
    (1, None),
    (9, Some(-6.0)),
    (11, Some(-0.1)),
    (19, Some(-11.0)),
    (21, Some(0.6)),
    (29, Some(-9.2)),
    (31, Some(1.5)),
    (39, Some(9.7)),
    (41, Some(0.6)),
    (49, Some(4.9)),
    (51, Some(0.0)),
];

/// Noise of each channel, standard deviation: °C, mm/s, %, kW, %.
const NOISE: Row = [0.15, 0.08, 0.08, 0.03, 0.025, 0.3, 0.02, 0.15];

/// Makes the rows: temperatures ts1 to ts4 in °C, vibration vs1 in mm/s, cooling efficiency ce in %, cooling power cp
/// in kW, efficiency of the whole se in %.
pub(in crate::demo) struct Rig {
    random: fastrand::Rng,
    second: u64,
}

impl Rig {
    /// The same seed makes the same rows.
    pub(in crate::demo) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), second: 0 }
    }

    /// The next second.
    pub(in crate::demo) fn next_row(&mut self, condition: Condition) -> Row {
        let phase = self.second % CYCLE;
        self.second += 1;
        let step = STEPS.iter().rev().find(|(from, _)| *from <= phase).and_then(|(_, step)| *step);
        let base = match condition.leak {
            Leak::None => 68.1,
            Leak::Weak => 65.9,
            Leak::Severe => 64.5,
        };
        let [ts1, ts2, ts3, ts4, vs1, ce, cp, gain] = match condition.cooler {
            Cooler::Full => [35.9, 41.5, 38.9, 30.8, 0.56, 46.8, 2.19, 0.0],
            Cooler::Reduced => [46.8, 51.8, 49.0, 42.2, 0.60, 26.8, 1.75, 0.9],
            Cooler::NearFailure => [52.6, 57.1, 54.1, 48.2, 0.65, 19.7, 1.48, 0.8],
        };
        let se = step.map(|step| base + gain + step);
        let mut row = [ts1, ts2, ts3, ts4, vs1, ce, cp, se.unwrap_or(0.0)];
        let idle = se.is_none();
        for (index, (value, noise)) in row.iter_mut().zip(NOISE).enumerate() {
            let off = idle && index == CHANNELS.len() - 1;
            *value += if off { 0.0 } else { noise * self.normal() };
        }
        row
    }

    /// About normally distributed: the sum of twelve uniform numbers has variance one.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.random.f32()).sum::<f32>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seed: u64, condition: Condition) -> Vec<Row> {
        let mut rig = Rig::new(seed);
        (0..CYCLE).map(|_| rig.next_row(condition)).collect()
    }

    fn mean(rows: &[Row], channel: usize) -> f32 {
        rows.iter().map(|row| row[channel]).sum::<f32>() / rows.len() as f32
    }

    #[test]
    fn the_same_seed_makes_the_same_rows_and_another_does_not() {
        assert_eq!(rows(7, Condition::HEALTHY), rows(7, Condition::HEALTHY));
        assert_ne!(rows(7, Condition::HEALTHY), rows(8, Condition::HEALTHY));
    }

    #[test]
    fn each_fault_shows_in_its_channel() {
        let healthy = rows(1, Condition::HEALTHY);
        let leaking = rows(1, Condition { leak: Leak::Severe, ..Condition::HEALTHY });
        let hot = rows(1, Condition { cooler: Cooler::NearFailure, ..Condition::HEALTHY });
        assert!(mean(&leaking, 7) < mean(&healthy, 7) - 2.0);
        assert!(mean(&hot, 0) > mean(&healthy, 0) + 10.0 && mean(&hot, 5) < mean(&healthy, 5) - 20.0);
        assert!(healthy[1..9].iter().all(|row| row[7] == 0.0), "the load is off");
    }
}
