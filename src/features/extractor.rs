//! Computes the features of a layout from a window.

use crate::clock::EventTime;
use crate::features::layout::{FeatureLayout, Group};
use crate::features::names::Feature;
use crate::features::spectrum::{Density, Spectrum};
use crate::features::stats::{Moments, mean_within, quantile};
use crate::flow::{FeatureVector, Series, Window};

/// Computes feature vectors; owns the buffers and transforms, so that the steady state allocates nothing.
///
/// One extractor serves any number of layouts and streams. Its memory is bounded by the longest series seen (four
/// bytes per sample) plus about 2 MB for spectra.
pub struct Extractor {
    sorted: Vec<f32>,
    spectrum: Spectrum,
}

/// One channel with what has been computed of it.
struct Channel<'a> {
    series: &'a Series,
    /// Start of the window.
    start: EventTime,
    moments: Moments,
    sorted: &'a [f32],
    density: Option<Density<'a>>,
}

impl Extractor {
    /// With empty buffers.
    pub fn new() -> Self {
        Self { sorted: Vec::new(), spectrum: Spectrum::new() }
    }

    /// Fills `out` with the features of `layout`. What cannot be computed is NaN and counted as missing.
    pub fn extract(&mut self, layout: &FeatureLayout, window: &Window, out: &mut FeatureVector) {
        out.values.clear();
        out.values.resize(layout.len(), f32::NAN);
        for group in layout.groups() {
            let series = window.series.get(group.channel);
            let Some(channel) = series.and_then(|series| self.measure(group, series, window.span.from))
            else {
                continue;
            };
            for &(position, feature) in &group.items {
                if let Some(slot) = out.values.get_mut(position) {
                    *slot = narrow(channel.value(feature));
                }
            }
        }
        let missing = out.values.iter().filter(|value| value.is_nan()).count();
        out.missing = u16::try_from(missing).unwrap_or(u16::MAX);
    }

    fn measure<'a>(&'a mut self, group: &Group, series: &'a Series, start: EventTime) -> Option<Channel<'a>> {
        let moments = Moments::of(&series.values)?;
        self.sorted.clear();
        if group.items.iter().any(|(_, feature)| feature.needs_order()) {
            self.sorted.extend_from_slice(&series.values);
            self.sorted.sort_unstable_by(f32::total_cmp);
        }
        let spectral = group.items.iter().any(|(_, feature)| feature.needs_spectrum());
        let density = if spectral { self.spectrum.measure(series) } else { None };
        Some(Channel { series, start, moments, sorted: &self.sorted, density })
    }
}

impl Default for Extractor {
    fn default() -> Self {
        Self::new()
    }
}

impl Channel<'_> {
    fn value(&self, feature: Feature) -> Option<f64> {
        let moments = &self.moments;
        match feature {
            Feature::Mean => Some(moments.mean),
            Feature::MeanWithin { from, to } => mean_within(self.series, self.start, from, to),
            Feature::Std => Some(moments.std()),
            Feature::Min => Some(moments.min),
            Feature::Max => Some(moments.max),
            Feature::Rms => Some(moments.rms()),
            Feature::PeakToPeak => Some(moments.max - moments.min),
            Feature::Crest => moments.crest(),
            Feature::Skewness => moments.skewness(),
            Feature::Kurtosis => moments.kurtosis(),
            Feature::Slope => moments.slope(self.series),
            Feature::Median => quantile(self.sorted, 0.5),
            Feature::Quantile(share) => quantile(self.sorted, share),
            Feature::ZeroCrossings => Some(f64::from(moments.zero_crossings(&self.series.values))),
            Feature::DominantFrequency => self.varying()?.dominant_frequency(),
            Feature::SpectralCentroid => self.varying()?.centroid(),
            Feature::Band { from, to } => {
                let energy = self.density.as_ref()?.band(from, to)?;
                Some(if moments.constant() { 0.0 } else { energy })
            }
        }
    }

    /// The density, unless there is nothing but rounding in it.
    fn varying(&self) -> Option<&Density<'_>> {
        if self.moments.constant() { None } else { self.density.as_ref() }
    }
}

impl Feature {
    fn needs_order(self) -> bool {
        matches!(self, Self::Median | Self::Quantile(_))
    }

    fn needs_spectrum(self) -> bool {
        matches!(self, Self::DominantFrequency | Self::SpectralCentroid | Self::Band { .. })
    }
}

/// To the width of the models. What does not fit is missing.
fn narrow(value: Option<f64>) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is wanted, overflow becomes missing")]
    let narrowed = value.unwrap_or(f64::NAN) as f32;
    if narrowed.is_finite() { narrowed } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow::{AssetId, Completeness, StreamId, TimeSpan};

    const ALL: [&str; 6] =
        ["*.*", "*.mean(3,9)", "*.q(0.05)", "*.q(0.9)", "*.band(0,0.2)", "*.band(0.1,0.4)"];

    fn layout(patterns: &[&str], channels: &[&str]) -> FeatureLayout {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        FeatureLayout::resolve(&strings(patterns), &strings(channels)).unwrap()
    }

    fn window(series: Vec<Series>) -> Window {
        let span = TimeSpan { from: EventTime(0), to: EventTime(1) };
        Window { stream: StreamId(0), asset: AssetId(0), span, completeness: Completeness::default(), series }
    }

    fn extract(layout: &FeatureLayout, window: &Window) -> FeatureVector {
        let mut vector = FeatureVector { values: vec![7.0; 3], missing: 9 };
        Extractor::new().extract(layout, window, &mut vector);
        vector
    }

    /// One value a second.
    fn each_second(values: &[f32]) -> Series {
        Series {
            at: (0..).step_by(1_000_000).map(EventTime).take(values.len()).collect(),
            values: values.to_vec(),
        }
    }

    /// Values by name of all features of one channel.
    fn all(values: &[f32]) -> Vec<(String, f32)> {
        let layout = layout(&ALL, &["x"]);
        let vector = extract(&layout, &window(vec![each_second(values)]));
        let name = |name: &str| name.trim_start_matches("x.").to_owned();
        layout.names().iter().map(|full| name(full)).zip(vector.values).collect()
    }

    fn check_finite_or_missing(series: Series) {
        let vector = extract(&layout(&ALL, &["x"]), &window(vec![series]));
        assert!(vector.values.iter().all(|value| value.is_finite() || value.is_nan()));
        let missing = vector.values.iter().filter(|value| value.is_nan()).count();
        assert_eq!(usize::from(vector.missing), missing);
    }

    #[test]
    fn each_value_stands_at_the_place_of_its_name() {
        let layout = layout(&["b.max", "*.mean", "a.max"], &["a", "b"]);
        let vector = extract(&layout, &window(vec![each_second(&[1.0, 3.0]), each_second(&[10.0, 30.0])]));
        assert_eq!(vector, FeatureVector { values: vec![30.0, 2.0, 20.0, 3.0], missing: 0 });
    }

    #[test]
    fn a_channel_without_samples_is_missing_and_the_others_are_not() {
        let layout = layout(&["a.mean", "b.mean", "c.mean"], &["a", "b", "c"]);
        let vector = extract(&layout, &window(vec![Series::default(), each_second(&[5.0])]));
        assert!(vector.missing == 2 && vector.values.get(1) == Some(&5.0));
    }

    #[test]
    fn an_interval_is_counted_from_the_start_of_the_window_and_not_from_the_first_sample() {
        let layout = layout(&["x.mean(0,2)", "x.mean(2,5)", "x.mean(5,7)"], &["x"]);
        let mut late = each_second(&[1.0, 2.0, 4.0]);
        late.at.iter_mut().for_each(|at| *at = at.after(std::time::Duration::from_secs(2)));
        let vector = extract(&layout, &window(vec![late]));
        assert!(vector.values.first().unwrap().is_nan() && vector.values.last().unwrap().is_nan());
        assert_eq!((vector.values.get(1), vector.missing), (Some(&(7.0 / 3.0)), 2));
    }

    #[test]
    fn values_at_the_end_of_the_range_are_missing_rather_than_infinite() {
        let values: Vec<f32> = (0..64u8).map(|n| if n % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
        for (name, value) in all(&values) {
            assert!(!value.is_infinite(), "{name}");
            assert_eq!(value.is_nan(), name == "p2p" || name.starts_with("band"), "{name} {value}");
        }
    }

    #[test]
    fn an_extractor_remembers_nothing() {
        let layout = layout(&ALL, &["x"]);
        let long: Vec<f32> = (0..500u16).map(|n| f32::from(n * 37 % 101)).collect();
        let short = window(vec![each_second(long.get(..20).unwrap())]);
        let (mut used, mut vector) = (Extractor::new(), FeatureVector::default());
        used.extract(&layout, &window(vec![each_second(&long)]), &mut vector);
        used.extract(&layout, &short, &mut vector);
        assert!(vector == extract(&layout, &short) && vector.missing == 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_floats_and_times_give_finite_or_missing_features(
            rows in prop::collection::vec((any::<i64>(), any::<f32>()), 0..80),
        ) {
            let (at, values) = rows.into_iter().map(|(at, value)| (EventTime(at), value)).unzip();
            check_finite_or_missing(Series { at, values });
        }

        #[test]
        fn only_bands_without_lines_are_missing_in_ordinary_series(
            values in prop::collection::vec(-1e6_f32..1e6, 32..200),
        ) {
            for (name, value) in all(&values) {
                prop_assert!(value.is_finite(), "{} {}", name, value);
            }
        }

        #[test]
        fn scaling_scales_what_has_a_unit_and_nothing_else(
            values in prop::collection::vec(-1000.0_f32..1000.0, 16..100), power in -8_i32..8,
        ) {
            let factor = 2.0_f32.powi(power);
            let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
            for ((name, before), (_, after)) in all(&values).into_iter().zip(all(&scaled)) {
                let unit = match name.as_str() {
                    "crest" | "skewness" | "kurtosis" | "zero_crossings" | "dominant_frequency"
                    | "spectral_centroid" => 1.0,
                    band if band.starts_with("band") => factor * factor,
                    _ => factor,
                };
                let close = (after - before * unit).abs() <= 1e-6 * after.abs();
                prop_assert!(close, "{}: {} became {}", name, before, after);
            }
        }

        #[test]
        fn shifting_moves_levels_and_leaves_shapes(
            eighths in prop::collection::vec(-8000_i16..8000, 16..100), shift in -500_i16..500,
        ) {
            // Eighths and whole numbers add without rounding.
            let values: Vec<f32> = eighths.iter().map(|&value| f32::from(value) / 8.0).collect();
            let shift = f32::from(shift);
            let shifted: Vec<f32> = values.iter().map(|value| value + shift).collect();
            prop_assume!(values.iter().any(|value| Some(value) != values.first()));
            for ((name, before), (_, after)) in all(&values).into_iter().zip(all(&shifted)) {
                let expect = match name.as_str() {
                    "rms" | "crest" => continue,
                    "mean" | "min" | "max" | "median" => before + shift,
                    level if level.starts_with("q(") || level.starts_with("mean(") => before + shift,
                    _ => before,
                };
                let close = (after - expect).abs() <= 1e-6 * (1.0 + expect.abs().max(shift.abs()));
                prop_assert!(close, "{}: {} became {}, expected {}", name, before, after, expect);
            }
        }
    }
}
