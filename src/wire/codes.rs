//! The codes of single values, each way beside the other.

use crate::clock::ClockQuality;
use crate::flow::{Change, Facts, Priority, Verdict};
use crate::wire::error::WireError;

/// Units in which times are written, in milliseconds; the largest that fits all of them.
pub(crate) const TIME_UNITS_MS: [i64; 3] = [1, 1_000, 60_000];

/// Decimal places tried for features before they are written as they are.
pub(crate) const DECIMALS_MAX: u8 = 6;

/// Coding byte of features that are no multiples of a decimal place: four bytes each, IEEE 754, little-endian.
pub(crate) const RAW_FEATURES: u8 = 0xff;

/// Shape flag: reports, not windows.
pub(crate) const SHAPE_REPORT: u64 = 1;

/// Shape flag: an instant, not a span.
pub(crate) const SHAPE_INSTANT: u64 = 2;

/// Largest scaled feature: beyond it single precision has no decimal places left to keep.
const SCALED_MAX: f64 = 1e12;

/// Clock in bits 0 and 1, change in 2 and 3, priority in 4 and 5, historical in 6.
pub(crate) fn state_bits(facts: &Facts) -> u64 {
    let clock = match facts.clock {
        ClockQuality::Synced => 0,
        ClockQuality::Unknown => 1,
        ClockQuality::Unset => 2,
    };
    let change = match facts.change {
        Change::New => 0,
        Change::Same => 1,
        Change::Pending => 2,
        Change::Cleared => 3,
    };
    let priority = match facts.priority {
        Priority::Alarm => 0,
        Priority::Normal => 1,
        Priority::Bulk => 2,
    };
    clock | change << 2 | priority << 4 | u64::from(facts.historical) << 6
}

/// Undoes the packing of the state byte; `None` for bits that mean nothing.
pub(crate) fn set_state(event: &mut Facts, bits: u64) -> Option<()> {
    event.clock = match bits & 3 {
        0 => ClockQuality::Synced,
        1 => ClockQuality::Unknown,
        2 => ClockQuality::Unset,
        _ => return None,
    };
    event.change = match bits >> 2 & 3 {
        0 => Change::New,
        1 => Change::Same,
        2 => Change::Pending,
        _ => Change::Cleared,
    };
    event.priority = match bits >> 4 & 3 {
        0 => Priority::Alarm,
        1 => Priority::Normal,
        2 => Priority::Bulk,
        _ => return None,
    };
    event.historical = match bits >> 6 {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(())
}

/// Number of a verdict.
pub(crate) fn verdict_code(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Accepted => 0,
        Verdict::Uncertain => 1,
        Verdict::OutOfScope => 2,
    }
}

/// The verdict with this number.
pub(crate) fn verdict_of(code: u64) -> Result<Verdict, WireError> {
    match code {
        0 => Ok(Verdict::Accepted),
        1 => Ok(Verdict::Uncertain),
        2 => Ok(Verdict::OutOfScope),
        _ => Err(WireError::Invalid { what: "verdict" }),
    }
}

/// A share in hundredths, 0 to 100; what is not a number counts as 0.
pub(crate) fn hundredths(share: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, clamped to 100")]
    let hundredths = (f64::from(share) * 100.0).round() as u8;
    hundredths.min(100)
}

/// The share of so many hundredths.
pub(crate) fn share_of(hundredths: u64) -> Result<f32, WireError> {
    let hundredths = i64::try_from(hundredths).ok().filter(|hundredths| *hundredths <= 100);
    hundredths.map(|hundredths| unscaled(hundredths, 2)).ok_or(WireError::Invalid { what: "share" })
}

/// The value as a whole number of units of the decimal place, if it reads back to the very same bits.
pub(crate) fn scaled(value: f32, decimals: u8) -> Option<i64> {
    let steps = (f64::from(value) * 10_f64.powi(i32::from(decimals))).round();
    if !steps.is_finite() || steps.abs() > SCALED_MAX {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the limit above")]
    let steps = steps as i64;
    (unscaled(steps, decimals).to_bits() == value.to_bits()).then_some(steps)
}

/// The single-precision number nearest to `steps` units of the decimal place.
pub(crate) fn unscaled(steps: i64, decimals: u8) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "meant: the nearest single-precision number")]
    let value = (steps as f64 / 10_f64.powi(i32::from(decimals))) as f32;
    value
}
