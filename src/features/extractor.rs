//! Computes the features of a layout from a window.

use crate::features::layout::{FeatureLayout, Group};
use crate::features::names::Feature;
use crate::features::spectrum::{Density, Spectrum};
use crate::features::stats::{Moments, quantile};
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
            let Some(channel) = series.and_then(|series| self.measure(group, series)) else {
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

    fn measure<'a>(&'a mut self, group: &Group, series: &'a Series) -> Option<Channel<'a>> {
        let moments = Moments::of(&series.values)?;
        self.sorted.clear();
        if group.items.iter().any(|(_, feature)| feature.needs_order()) {
            self.sorted.extend_from_slice(&series.values);
            self.sorted.sort_unstable_by(f32::total_cmp);
        }
        let spectral = group.items.iter().any(|(_, feature)| feature.needs_spectrum());
        let density = if spectral { self.spectrum.measure(series) } else { None };
        Some(Channel { series, moments, sorted: &self.sorted, density })
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
