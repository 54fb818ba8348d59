//! Quantities with their unit: sizes, rates, temperatures and durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes. Written as `"64 MiB"`, `"20 MB"`, `"512 KiB"`, `"900 B"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A number of bits per second. Written as `"64 kbit/s"`, `"2 Mbit/s"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u64);

/// A temperature in degrees Celsius. Written as `"80 °C"` or `"80 C"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Celsius(pub f32);

/// Processor time per time, in thousandths of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millicores(pub u32);

/// An electric potential in volts. Written as `"12.6 V"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Volts(pub f32);

/// A power in watts. Written as `"2.7 W"` or `"900 mW"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Watts(pub f32);

/// An energy in joules.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Joules(pub f32);

/// A resistance in ohms. Written as `"0.1 ohm"` or `"100 mohm"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Ohms(pub f32);

/// A frequency in hertz. Written as `"1 Hz"`, `"1.5 GHz"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Hertz(pub f32);

impl Millicores {
    /// More than any board has.
    pub const UNLIMITED: Self = Self(u32::MAX);

    /// So many cores; what is below zero or no number is none.
    pub fn of_cores(cores: f32) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the cast saturates, and a thousandth is as fine as is meant"
        )]
        let millis = (cores * 1e3).round() as u32;
        Self(millis)
    }
}

/// A share between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Ratio(f32);

impl Ratio {
    /// `part / whole`, and 1 when the whole is 0; never above 1.
    pub fn of(part: u32, whole: u32) -> Self {
        if whole == 0 { Self(1.0) } else { Self((part as f32 / whole as f32).min(1.0)) }
    }

    /// The share, if it is a number between 0 and 1.
    pub fn new(share: f32) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share as a number between 0 and 1.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {expected}")]
pub struct QuantityError {
    found: String,
    expected: &'static str,
}

const BYTE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const BIT_UNITS: &[(&str, u64)] =
    &[("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

const NANOS: &[(&str, u64)] = &[
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Parses `"500 ms"`, `"60 s"`, `"10 min"`, `"1 h"`, `"30 d"`. The unit is not optional.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let expected = "a duration with a unit (us, ms, s, min, h, d), like \"500 ms\"";
    scaled(text, NANOS).map(Duration::from_nanos).ok_or_else(|| refused(text, expected))
}

/// Prints a duration the way [`parse_duration`] reads it, with the largest unit that is exact.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, scale) in [
        ("d", 86_400_000_000_000_u128),
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ] {
        if nanos >= scale && nanos.is_multiple_of(scale) {
            return format!("{} {unit}", nanos / scale);
        }
    }
    format!("{} us", nanos / 1_000)
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let expected = "a size with a unit (B, kB, MB, GB, KiB, MiB, GiB), like \"64 MiB\"";
        scaled(text, BYTE_UNITS).map(Self).ok_or_else(|| refused(text, expected))
    }
}

impl FromStr for BitRate {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let expected = "a bit rate with a unit (bit/s, kbit/s, Mbit/s, Gbit/s), like \"64 kbit/s\"";
        scaled(text, BIT_UNITS).map(Self).ok_or_else(|| refused(text, expected))
    }
}

impl FromStr for Celsius {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let expected = "a temperature, like \"80 °C\"";
        let number = text.trim().trim_end_matches('C').trim_end_matches('°').trim_end();
        let degrees = number.parse::<f32>().ok().filter(|degrees| degrees.is_finite());
        degrees.filter(|_| text.trim().ends_with('C')).map(Self).ok_or_else(|| refused(text, expected))
    }
}

impl FromStr for Volts {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = &[("V", 1.0), ("mV", 1e-3)];
        measured(text, units).map(Self).ok_or_else(|| refused(text, "a voltage, like \"12.6 V\""))
    }
}

impl FromStr for Watts {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = &[("W", 1.0), ("mW", 1e-3)];
        measured(text, units).map(Self).ok_or_else(|| refused(text, "a power, like \"2.7 W\""))
    }
}

impl FromStr for Ohms {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = &[("ohm", 1.0), ("mohm", 1e-3)];
        measured(text, units).map(Self).ok_or_else(|| refused(text, "a resistance, like \"0.1 ohm\""))
    }
}

impl FromStr for Hertz {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)];
        measured(text, units).map(Self).ok_or_else(|| refused(text, "a frequency, like \"1 Hz\""))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, scale) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= scale {
                let whole = self.0 / scale;
                return if self.0.is_multiple_of(scale) {
                    write!(f, "{whole} {unit}")
                } else {
                    write!(f, "{:.1} {unit}", self.0 as f64 / scale as f64)
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            rate if rate >= 1_000_000 && rate.is_multiple_of(1_000_000) => {
                write!(f, "{} Mbit/s", rate / 1_000_000)
            }
            rate if rate >= 1_000 && rate.is_multiple_of(1_000) => write!(f, "{} kbit/s", rate / 1_000),
            rate => write!(f, "{rate} bit/s"),
        }
    }
}

impl fmt::Display for Celsius {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} °C", self.0)
    }
}

/// The number in `text` times the scale of its unit; `None` when either is not understood or it overflows.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at_checked(split)?;
    let &(_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale);
    }
    let value = number.parse::<f64>().ok()? * scale as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie in the range of u64"
    )]
    (0.0..9.0e18).contains(&value).then_some(value.round() as u64)
}

/// The decimal number in `text` times the scale of its unit; `None` when either is not understood.
fn measured(text: &str, units: &[(&str, f32)]) -> Option<f32> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-')))?;
    let (number, unit) = text.split_at_checked(split)?;
    let &(_, scale) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<f32>().ok().map(|number| number * scale).filter(|value| value.is_finite())
}

fn refused(text: &str, expected: &'static str) -> QuantityError {
    QuantityError { found: text.chars().take(40).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_need_their_unit() {
        assert_eq!("64 MiB".parse::<Bytes>().unwrap(), Bytes(64 << 20));
        assert_eq!("20MB".parse::<Bytes>().unwrap(), Bytes(20_000_000));
        assert_eq!("1.5 MiB".parse::<Bytes>().unwrap(), Bytes(3 << 19));
        assert_eq!("64 kbit/s".parse::<BitRate>().unwrap(), BitRate(64_000));
        assert_eq!("80 °C".parse::<Celsius>().unwrap(), Celsius(80.0));
        assert_eq!("-12.5 C".parse::<Celsius>().unwrap(), Celsius(-12.5));
        assert_eq!(parse_duration("500 ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse_duration("30 d").unwrap(), Duration::from_hours(720));
        for wrong in ["64", "MiB", "", "-1 MiB", "64 Mib", "99999999999 GiB", "1e3 B", "1..2 MB"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
        for wrong in ["5", "5 sec", "∞ s", "s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!("80".parse::<Celsius>().is_err());
    }

    #[test]
    fn electric_quantities_need_their_unit() {
        assert_eq!("12.6 V".parse::<Volts>().unwrap(), Volts(12.6));
        assert_eq!("2.7W".parse::<Watts>().unwrap(), Watts(2.7));
        assert_eq!("500 mW".parse::<Watts>().unwrap(), Watts(0.5));
        assert_eq!("0.1 ohm".parse::<Ohms>().unwrap(), Ohms(0.1));
        assert_eq!("1.5 GHz".parse::<Hertz>().unwrap(), Hertz(1.5e9));
        for wrong in ["12.6", "V", "", "12.6 W", "1e3 V", "nan V", "--1 V", "inf V"] {
            assert!(wrong.parse::<Volts>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn quantities_print_as_they_are_read() {
        for text in ["64 MiB", "1 GiB", "900 B", "512 KiB"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
        for text in ["500 ms", "60 us", "30 d", "90 s", "10 min", "1 h"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!("64 kbit/s".parse::<BitRate>().unwrap().to_string(), "64 kbit/s");
    }
}
