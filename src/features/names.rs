//! The features there are, and how their names are read and written.

/// One number computed from one channel of a window.
///
/// `x` are the values in the unit of the channel, `n` their number, `t` their times in seconds, `m` their mean,
/// `mk` the k-th central moment `Σ(x-m)^k / n`. Where a formula has no result, the feature is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feature {
    /// `mean`: `Σx / n`. Unit of the channel.
    Mean,
    /// `mean(from,to)`: mean of the values with `from <= t < to`, t being seconds since the start of the window: an
    /// interval mean, which keeps the course of a cycle (equal parts of the window are its piecewise aggregate
    /// approximation, Keogh 2001). Unit of the channel; missing where no value lies in the interval.
    MeanWithin {
        /// First time inside, seconds since the start of the window.
        from: f64,
        /// First time after, seconds since the start of the window.
        to: f64,
    },
    /// `std`: population standard deviation `√m2` (`numpy.std`, divisor n). Unit of the channel.
    Std,
    /// `min`: the smallest value. Unit of the channel.
    Min,
    /// `max`: the largest value. Unit of the channel.
    Max,
    /// `rms`: root mean square `√(Σx² / n)`, mean included. Unit of the channel.
    Rms,
    /// `p2p`: peak to peak, `max - min`. Unit of the channel.
    PeakToPeak,
    /// `crest`: crest factor `max|x| / rms` (ISO 13373-1 uses it for bearing damage). No unit; missing if all is zero.
    Crest,
    /// `skewness`: population skewness `m3 / m2^1.5` (`scipy.stats.skew`). No unit; missing for constant values.
    Skewness,
    /// `kurtosis`: excess after Fisher, `m4 / m2² - 3`, 0 for a Gaussian (`scipy.stats.kurtosis`). No unit; missing
    /// for constant values.
    Kurtosis,
    /// `slope`: least squares line over the real times, `Σ(t-t̄)(x-m) / Σ(t-t̄)²`. Unit of the channel per second;
    /// needs two samples.
    Slope,
    /// `median`: the middle value, mean of the two middle ones for even n. Unit of the channel.
    Median,
    /// `q(p)`: quantile with linear interpolation (`numpy.quantile`), p from 0 to 1. Unit of the channel.
    Quantile(f64),
    /// `zero_crossings`: how often `x - m` changes its sign; values within rounding of the mean do not count. No unit.
    ZeroCrossings,
    /// `dominant_frequency`: frequency of the greatest spectral density above 0 Hz, on the grid of the padded
    /// transform. Hz; missing for constant values and below 8 samples.
    DominantFrequency,
    /// `spectral_centroid`: mean frequency weighted by spectral density, `Σf·P / ΣP`, 0 Hz left out. Hz; missing as
    /// above.
    SpectralCentroid,
    /// `band(lo,hi)`: energy between two frequencies in Hz, `Σ P·Δf` over `lo <= f < hi`, of the spectral density
    /// without the mean (Welch 1967, Hann window). Square of the channel's unit; missing below 8 samples and where
    /// no line of the spectrum lies in the band.
    Band {
        /// First frequency inside, Hz.
        from: f64,
        /// First frequency above, Hz.
        to: f64,
    },
}

/// Why a feature layout cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FeatureError {
    /// The pattern is not `channel.feature`.
    #[error("feature {pattern:?}: write it as channel.feature, for example \"*.mean\"")]
    Malformed {
        /// As written.
        pattern: String,
    },
    /// No channel of the stream has this name.
    #[error("feature {pattern:?}: no channel {channel:?}, did you mean {nearest:?}? channels are {known}")]
    UnknownChannel {
        /// As written.
        pattern: String,
        /// The part before the point.
        channel: String,
        /// The channel with the most similar name.
        nearest: String,
        /// The channels of the stream.
        known: String,
    },
    /// There is no such feature.
    #[error("feature {pattern:?}: no feature {feature:?}, did you mean {nearest:?}? features are {known}")]
    UnknownFeature {
        /// As written.
        pattern: String,
        /// The part after the point.
        feature: String,
        /// The feature with the most similar name.
        nearest: String,
        /// The features there are.
        known: String,
    },
    /// The numbers in brackets are not usable.
    #[error("feature {pattern:?}: {expected}")]
    Parameter {
        /// As written.
        pattern: String,
        /// What would be.
        expected: &'static str,
    },
    /// Nothing was asked for.
    #[error("feature list is empty")]
    Empty,
    /// More was asked for than a vector may hold.
    #[error("feature list has more than {limit} features")]
    TooMany {
        /// The most there may be.
        limit: usize,
    },
}

/// The features without parameters, in the order in which `channel.*` lists them.
pub(crate) const PLAIN: [(&str, Feature); 14] = [
    ("mean", Feature::Mean),
    ("std", Feature::Std),
    ("min", Feature::Min),
    ("max", Feature::Max),
    ("rms", Feature::Rms),
    ("p2p", Feature::PeakToPeak),
    ("crest", Feature::Crest),
    ("skewness", Feature::Skewness),
    ("kurtosis", Feature::Kurtosis),
    ("slope", Feature::Slope),
    ("median", Feature::Median),
    ("zero_crossings", Feature::ZeroCrossings),
    ("dominant_frequency", Feature::DominantFrequency),
    ("spectral_centroid", Feature::SpectralCentroid),
];

/// How the features with parameters are written, for messages.
const WITH_PARAMETERS: [&str; 3] = ["mean(10,20)", "q(0.95)", "band(2,10)"];

impl Feature {
    /// Reads the part of a name after the point. `pattern` is the whole, for the message.
    pub(crate) fn parse(text: &str, pattern: &str) -> Result<Self, FeatureError> {
        if let Some((_, feature)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(*feature);
        }
        let parameter = |expected| FeatureError::Parameter { pattern: pattern.to_owned(), expected };
        if let Some(inner) = arguments(text, "q") {
            return match number(inner) {
                Some(share) if (0.0..=1.0).contains(&share) => Ok(Self::Quantile(share)),
                Some(_) | None => Err(parameter("q needs one number from 0 to 1, for example q(0.95)")),
            };
        }
        if let Some(inner) = arguments(text, "band") {
            let bounds = range(inner).map(|(from, to)| Self::Band { from, to });
            return bounds.ok_or_else(|| {
                parameter("band needs two frequencies in Hz, the lower first, for example band(2,10)")
            });
        }
        if let Some(inner) = arguments(text, "mean") {
            let bounds = range(inner).map(|(from, to)| Self::MeanWithin { from, to });
            return bounds.ok_or_else(|| {
                parameter("mean takes two times in seconds since the start of the window, the earlier first, for example mean(10,20)")
            });
        }
        let known = || PLAIN.iter().map(|(name, _)| *name).chain(WITH_PARAMETERS);
        Err(FeatureError::UnknownFeature {
            pattern: pattern.to_owned(),
            feature: text.to_owned(),
            nearest: nearest(text, known()).to_owned(),
            known: known().collect::<Vec<_>>().join(", "),
        })
    }

    /// The canonical name after the point.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Quantile(share) => format!("q({share})"),
            Self::Band { from, to } => format!("band({from},{to})"),
            Self::MeanWithin { from, to } => format!("mean({from},{to})"),
            Self::Mean
            | Self::Std
            | Self::Min
            | Self::Max
            | Self::Rms
            | Self::PeakToPeak
            | Self::Crest
            | Self::Skewness
            | Self::Kurtosis
            | Self::Slope
            | Self::Median
            | Self::ZeroCrossings
            | Self::DominantFrequency
            | Self::SpectralCentroid => {
                let name = PLAIN.iter().find(|(_, feature)| *feature == self).map_or("", |(name, _)| name);
                name.to_owned()
            }
        }
    }
}

/// Splits `channel.feature` at the last point outside the brackets; channel names may hold points themselves.
pub(crate) fn split(pattern: &str) -> Option<(&str, &str)> {
    let head = match pattern.rfind('(') {
        Some(bracket) if pattern.ends_with(')') => pattern.get(..bracket)?,
        Some(_) | None => pattern,
    };
    let point = head.rfind('.')?;
    let (channel, feature) = (pattern.get(..point)?, pattern.get(point + 1..)?);
    (!channel.is_empty() && !feature.is_empty()).then_some((channel, feature))
}

/// Whether a name matches a pattern in which `*` stands for any run of characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        match left.find(part).and_then(|at| left.get(at + part.len()..)) {
            Some(after) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The candidate with the smallest edit distance.
pub(crate) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    candidates.min_by_key(|candidate| distance(text, candidate)).unwrap_or("")
}

/// Levenshtein distance in characters, of the first 64: names are short, and a message is no place for patience.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let best = (diagonal + usize::from(from != *to)).min(*cell + 1).min(left + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// What stands between the brackets of `name(…)`.
fn arguments<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')
}

/// Two numbers, the first not negative and below the second.
fn range(text: &str) -> Option<(f64, f64)> {
    let (from, to) = text.split_once(',')?;
    let (from, to) = (number(from)?, number(to)?);
    (0.0 <= from && from < to).then_some((from, to))
}

/// A finite number. Adding zero makes -0 to 0, so that a name has one spelling.
fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite()).map(|value| value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_of_a_name_is_found_between_dotted_channels_and_decimal_parameters() {
        for (pattern, expect) in [
            ("vs1.mean", Some(("vs1", "mean"))),
            ("motor.current.rms", Some(("motor.current", "rms"))),
            ("motor.current.q(0.95)", Some(("motor.current", "q(0.95)"))),
            ("vs1.band(0.5,1.5)", Some(("vs1", "band(0.5,1.5)"))),
            ("flow(a).mean", Some(("flow(a)", "mean"))),
            ("*.*", Some(("*", "*"))),
            ("mean", None),
            (".mean", None),
            ("vs1.", None),
            ("(0.5)", None),
        ] {
            assert_eq!(split(pattern), expect, "{pattern}");
        }
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expect) in [
            ("*", "vs1", true),
            ("ts*", "ts1", true),
            ("ts*", "vs1", false),
            ("*1", "ts1", true),
            ("*1", "ts12", false),
            ("t*1", "ts1", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ts1", "ts1", true),
            ("ts1", "ts11", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn a_name_read_and_written_is_the_canonical_name() {
        for (text, expect) in [
            ("mean", "mean"),
            ("q(0.950)", "q(0.95)"),
            ("q( 1 )", "q(1)"),
            ("band(2.0, 10)", "band(2,10)"),
            ("band(-0,1e1)", "band(0,10)"),
            ("mean(9, 11.50)", "mean(9,11.5)"),
        ] {
            assert_eq!(Feature::parse(text, text).unwrap().name(), expect);
        }
        for (name, feature) in PLAIN {
            assert_eq!(feature.name(), name);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_an_example() {
        let wrong = [
            "q()",
            "q(1.1)",
            "q(NaN)",
            "q(-0.1)",
            "band(1)",
            "band(3,3)",
            "band(5,2)",
            "band(0,inf)",
            "mean()",
            "mean(3)",
            "mean(-1,3)",
            "mean(4,3)",
            "mean(0,NaN)",
        ];
        for text in wrong {
            let error = Feature::parse(text, text).unwrap_err().to_string();
            assert!(error.contains("for example"), "{error}");
        }
    }

    #[test]
    fn an_unknown_feature_is_answered_with_the_nearest_and_the_list() {
        let error = Feature::parse("kurtosys", "a.kurtosys").unwrap_err().to_string();
        assert!(error.contains("did you mean \"kurtosis\"") && error.contains("band(2,10)"), "{error}");
    }
}
