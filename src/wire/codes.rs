//! The codes of single values, each way beside the other.

use crate::clock::{ClockQuality, EventTime};
use crate::flow::{Change, Facts, Priority, StreamKind, Verdict, When};
use crate::wire::error::WireError;

/// Units in which times are written, in milliseconds; the largest that fits all of them.
pub(crate) const TIME_UNITS_MS: [i64; 3] = [1, 1_000, 60_000];

/// Decimal places tried for features before they are written as they are.
pub(crate) const DECIMALS_MAX: u8 = 6;

/// In place of decimal places, for features that are no multiples of any: whole numbers with the bits of IEEE 754.
pub(crate) const RAW_FEATURES: u8 = 0xff;

/// Shape flag: reports, not windows.
pub(crate) const SHAPE_REPORT: u8 = 1;

/// Shape flag: an instant, not a span.
pub(crate) const SHAPE_INSTANT: u8 = 2;

/// Shape flag: the last task is the extraction of entities.
pub(crate) const SHAPE_EXTRACTED: u8 = 4;

/// Shape flag: a summary. From version 2.
pub(crate) const SHAPE_SUMMARY: u8 = 8;

/// All shape flags.
pub(crate) const SHAPE_FLAGS: u8 = SHAPE_REPORT | SHAPE_INSTANT | SHAPE_EXTRACTED | SHAPE_SUMMARY;

/// Largest scaled feature: beyond it single precision has no decimal places left to keep.
const SCALED_MAX: f64 = 1e12;

/// Clock in bits 0 and 1, change in 2 and 3, priority in 4 and 5, historical in 6.
pub(crate) fn state_bits(facts: &Facts) -> u8 {
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
    clock | change << 2 | priority << 4 | u8::from(facts.historical) << 6
}

/// Undoes the packing of the state byte; `None` for bits that mean nothing.
pub(crate) fn set_state(event: &mut Facts, bits: u8) -> Option<()> {
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
pub(crate) fn verdict_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Accepted => 0,
        Verdict::Uncertain => 1,
        Verdict::OutOfScope => 2,
    }
}

/// The verdict with this number.
pub(crate) fn verdict_of(code: u8) -> Result<Verdict, WireError> {
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
pub(crate) fn share_of(hundredths: u8) -> Result<f32, WireError> {
    if hundredths <= 100 {
        Ok(unscaled(i64::from(hundredths), 2))
    } else {
        Err(WireError::Invalid { what: "share" })
    }
}

/// Completeness as written: 0 for none, else hundredths plus 1.
pub(crate) fn completeness_code(facts: &Facts) -> u8 {
    facts.completeness.map_or(0, |share| hundredths(share) + 1)
}

/// Undoes [`completeness_code`].
pub(crate) fn completeness_of(code: u8) -> Result<Option<f32>, WireError> {
    code.checked_sub(1).map(share_of).transpose()
}

/// Kind of stream, kind of time, and whether there is an extraction or a summary.
pub(crate) fn shape_flags(facts: &Facts) -> u8 {
    let kind = match facts.kind {
        StreamKind::Sensor => 0,
        StreamKind::Report => SHAPE_REPORT,
    };
    let when = match facts.when {
        When::Span(_) => 0,
        When::At(_) => SHAPE_INSTANT,
    };
    let extracted = if facts.extraction.is_some() { SHAPE_EXTRACTED } else { 0 };
    let summary = if facts.summary.is_some() { SHAPE_SUMMARY } else { 0 };
    kind | when | extracted | summary
}

/// Start of a window or time of a report, in milliseconds.
pub(crate) fn start_ms(when: When) -> i64 {
    match when {
        When::Span(span) => span.from.0.div_euclid(1_000),
        When::At(at) => at.0.div_euclid(1_000),
    }
}

/// Length of a window in milliseconds.
pub(crate) fn length_ms(when: When) -> Option<i64> {
    match when {
        When::Span(span) => Some(span.to.0.div_euclid(1_000) - span.from.0.div_euclid(1_000)),
        When::At(_) => None,
    }
}

/// An instant from milliseconds.
pub(crate) fn instant(ms: Option<i64>) -> Result<EventTime, WireError> {
    let micros = ms.and_then(|ms| ms.checked_mul(1_000));
    micros.map(EventTime).ok_or(WireError::Invalid { what: "time of an event" })
}

/// The coding of a column of features: the least number of decimal places that keeps all of them to the bit.
pub(crate) fn coding(values: &(impl Iterator<Item = f32> + Clone)) -> u8 {
    let exact = |decimals: &u8| values.clone().all(|value| scaled(value, *decimals).is_some());
    (0..=DECIMALS_MAX).find(exact).unwrap_or(RAW_FEATURES)
}

/// A feature as a whole number in this coding.
pub(crate) fn feature_code(value: f32, coding: u8) -> i64 {
    if coding == RAW_FEATURES { i64::from(value.to_bits()) } else { scaled(value, coding).unwrap_or(0) }
}

/// Undoes [`feature_code`].
pub(crate) fn feature_of(code: i64, coding: u8) -> Result<f32, WireError> {
    let invalid = WireError::Invalid { what: "coding of a feature" };
    match coding {
        RAW_FEATURES => u32::try_from(code).map(f32::from_bits).map_err(|_| invalid),
        decimals if decimals <= DECIMALS_MAX => Ok(unscaled(code, decimals)),
        _ => Err(invalid),
    }
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
