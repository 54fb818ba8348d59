//! Spectral density of one channel after Welch (1967).
//!
//! Mean removed, periodic Hann window, padded to the next power of two, one-sided, in square units per Hz: what
//! `scipy.signal.welch(x, rate, "hann", nperseg, nfft=power_of_two)` gives.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::flow::Series;

/// With fewer samples there are at most three lines beside the Hann window's own main lobe.
pub(crate) const SAMPLES_MIN: usize = 8;

/// Longer series are cut to segments of this length with half overlap, and their densities averaged.
///
/// 32,768 samples are 1.3 s at 25.6 kHz, the usual rate of vibration measurement: lines of 0.8 Hz. It bounds the
/// memory of the spectrum to about 2 MB.
pub(crate) const SEGMENT_MAX: usize = 1 << SEGMENT_BITS_MAX;
const SEGMENT_BITS_MAX: u32 = 15;

/// A neighbour further away than this many mean intervals is a gap and says nothing about the rate.
const GAP_INTERVALS: f64 = 3.0;

/// Plans and buffers for the spectrum; both grow to the longest segment seen and stay.
pub(crate) struct Spectrum {
    planner: RealFftPlanner<f64>,
    /// By binary logarithm of the length.
    plans: [Option<Arc<dyn RealToComplex<f64>>>; SEGMENT_BITS_MAX as usize + 1],
    input: Vec<f64>,
    output: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    power: Vec<f64>,
}

/// Spectral density of one channel.
pub(crate) struct Density<'a> {
    power: &'a [f64],
    /// Distance of lines in Hz.
    step: f64,
}

impl Spectrum {
    pub(crate) fn new() -> Self {
        Self {
            planner: RealFftPlanner::new(),
            plans: [const { None }; SEGMENT_BITS_MAX as usize + 1],
            input: Vec::new(),
            output: Vec::new(),
            scratch: Vec::new(),
            power: Vec::new(),
        }
    }

    /// `None` for fewer than [`SAMPLES_MIN`] samples or times that do not advance.
    pub(crate) fn measure(&mut self, series: &Series) -> Option<Density<'_>> {
        if series.values.len() < SAMPLES_MIN {
            return None;
        }
        let rate = sample_rate(series)?;
        let segment = series.values.len().min(SEGMENT_MAX);
        let padded = segment.next_power_of_two();
        let plan = self.plan(padded)?;
        self.output.clear();
        self.output.resize(padded / 2 + 1, Complex::default());
        self.power.clear();
        self.power.resize(padded / 2 + 1, 0.0);
        let hop = segment.div_ceil(2);
        let mut segments = 0.0;
        let mut rest = series.values.as_slice();
        while let Some(values) = rest.get(..segment) {
            self.add_segment(values, padded, plan.as_ref())?;
            segments += 1.0;
            rest = rest.get(hop..).unwrap_or_default();
        }
        // The squares of a periodic Hann window sum to 3n/8.
        let scale = 1.0 / (rate * 0.375 * segment as f64 * segments);
        let last = self.power.len() - 1;
        for (line, power) in self.power.iter_mut().enumerate() {
            // Each line stands for its negative frequency too, but 0 Hz and half the rate have none.
            *power *= if line == 0 || line == last { scale } else { 2.0 * scale };
        }
        Some(Density { power: &self.power, step: rate / padded as f64 })
    }

    fn plan(&mut self, length: usize) -> Option<Arc<dyn RealToComplex<f64>>> {
        let slot = self.plans.get_mut(length.trailing_zeros() as usize)?;
        let plan = slot.get_or_insert_with(|| self.planner.plan_fft_forward(length));
        if self.scratch.len() < plan.get_scratch_len() {
            self.scratch.resize(plan.get_scratch_len(), Complex::default());
        }
        Some(Arc::clone(plan))
    }

    fn add_segment(&mut self, values: &[f32], padded: usize, plan: &dyn RealToComplex<f64>) -> Option<()> {
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
        // cos and sin of 2πi/n by turning a pointer: one multiplication instead of a cosine, exact to 1e-11.
        let (sin_step, cos_step) = (std::f64::consts::TAU / values.len() as f64).sin_cos();
        let (mut cos, mut sin) = (1.0, 0.0);
        self.input.clear();
        self.input.extend(values.iter().map(|&value| {
            let windowed = (f64::from(value) - mean) * (0.5 - 0.5 * cos);
            (cos, sin) = (cos * cos_step - sin * sin_step, sin * cos_step + cos * sin_step);
            windowed
        }));
        self.input.resize(padded, 0.0);
        plan.process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch).ok()?;
        for (power, line) in self.power.iter_mut().zip(&self.output) {
            *power += line.norm_sqr();
        }
        Some(())
    }
}

impl Density<'_> {
    /// Frequency of the strongest line above 0 Hz; the lowest of equals.
    pub(crate) fn dominant_frequency(&self) -> Option<f64> {
        let mut best = None;
        for (frequency, power) in self.lines().skip(1) {
            if power > best.map_or(0.0, |(_, strongest)| strongest) {
                best = Some((frequency, power));
            }
        }
        best.map(|(frequency, _)| frequency)
    }

    /// Mean frequency weighted by density, 0 Hz left out.
    pub(crate) fn centroid(&self) -> Option<f64> {
        let (mut weighted, mut total) = (0.0, 0.0);
        for (frequency, power) in self.lines().skip(1) {
            weighted += frequency * power;
            total += power;
        }
        (total > 0.0).then(|| weighted / total)
    }

    /// Energy of the lines in `from <= f < to`; `None` if there is no line.
    pub(crate) fn band(&self, from: f64, to: f64) -> Option<f64> {
        let mut energy = None;
        for (_, power) in self.lines().filter(|(frequency, _)| from <= *frequency && *frequency < to) {
            energy = Some(energy.unwrap_or(0.0) + power * self.step);
        }
        energy
    }

    fn lines(&self) -> impl Iterator<Item = (f64, f64)> {
        self.power.iter().enumerate().map(|(line, &power)| (line as f64 * self.step, power))
    }
}

/// Samples per second: one over the mean interval, gaps left out, so that a hole does not stretch all frequencies.
fn sample_rate(series: &Series) -> Option<f64> {
    let (first, last) = (series.at.first()?, series.at.last()?);
    let intervals = series.at.len().checked_sub(1)?;
    let limit = GAP_INTERVALS * last.micros_since(*first) as f64 / intervals as f64;
    let (mut micros, mut count) = (0.0, 0.0);
    for (earlier, later) in series.at.iter().zip(series.at.iter().skip(1)) {
        let interval = later.micros_since(*earlier) as f64;
        if interval <= limit {
            micros += interval;
            count += 1.0;
        }
    }
    (micros > 0.0).then(|| count * 1e6 / micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::EventTime;

    fn sine(samples: u16, rate: f64, hertz: f64, amplitude: f64) -> Series {
        let seconds = |n: u16| f64::from(n) / rate;
        #[expect(clippy::cast_possible_truncation, reason = "small test times and amplitudes")]
        Series {
            at: (0..samples).map(|n| EventTime((seconds(n) * 1e6).round() as i64)).collect(),
            values: (0..samples)
                .map(|n| (amplitude * (std::f64::consts::TAU * hertz * seconds(n)).sin()) as f32)
                .collect(),
        }
    }

    #[test]
    fn a_sine_is_found_at_its_frequency_with_half_its_squared_amplitude() {
        let mut spectrum = Spectrum::new();
        for (samples, rate, hertz) in [(1024, 100.0, 12.5), (60, 1.0, 0.1), (40_000, 1000.0, 50.0)] {
            let density = spectrum.measure(&sine(samples, rate, hertz, 3.0)).unwrap();
            let found = density.dominant_frequency().unwrap();
            assert!((found - hertz).abs() <= density.step, "{found} instead of {hertz}");
            let energy = density.band(0.0, rate).unwrap();
            assert!((energy / 4.5 - 1.0).abs() < 0.02, "{energy}");
            assert!(density.band(hertz * 2.0, rate).unwrap() < 0.01 * energy);
            assert!((density.centroid().unwrap() / hertz - 1.0).abs() < 0.05);
        }
    }

    #[test]
    fn a_gap_does_not_stretch_the_frequencies() {
        let mut series = sine(512, 100.0, 10.0, 1.0);
        for at in series.at.iter_mut().skip(256) {
            *at = EventTime(at.0 + 20_000_000);
        }
        let mut spectrum = Spectrum::new();
        let density = spectrum.measure(&series).unwrap();
        assert!((density.dominant_frequency().unwrap() - 10.0).abs() < 0.4);
    }

    #[test]
    fn too_few_samples_and_bands_without_lines_have_no_answer() {
        let mut spectrum = Spectrum::new();
        assert!(spectrum.measure(&sine(7, 1.0, 0.2, 1.0)).is_none());
        let density = spectrum.measure(&sine(8, 1.0, 0.25, 1.0)).unwrap();
        assert!(density.band(0.51, 0.9).is_none() && density.band(0.01, 0.02).is_none());
        assert!(density.band(0.2, 0.3).is_some());
        let still = Series { at: vec![EventTime(5); 9], values: vec![1.0; 9] };
        assert!(spectrum.measure(&still).is_none());
    }

    #[test]
    fn constant_values_have_no_dominant_frequency() {
        let mut spectrum = Spectrum::new();
        let mut series = sine(64, 1.0, 0.1, 1.0);
        series.values.fill(0.0);
        let density = spectrum.measure(&series).unwrap();
        assert!(density.dominant_frequency().is_none() && density.centroid().is_none());
        assert!(density.band(0.0, 1.0).unwrap() == 0.0);
    }
}
