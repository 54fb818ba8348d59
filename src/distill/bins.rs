//! Reads the bins out of a sketch's bytes: the format of `sketches-java`, which the library writes.
//!
//! # Invariants
//! Total: any bytes give bins or nothing. The library's own reader trusts what it reads; ours need not.

/// Count of values in one bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bin {
    pub(crate) sign: Sign,
    pub(crate) key: i32,
    pub(crate) count: u64,
}

/// On which side of zero a bin lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Negative,
    Zero,
    Positive,
}

/// Sections, by their first byte.
const COUNT: u8 = 0xa0;
const MIN: u8 = 0x88;
const MAX: u8 = 0x8c;
const SUM: u8 = 0x84;
const MAPPING: u8 = 0x02;
const ZEROS: u8 = 0x04;
const POSITIVE: u8 = 0x05;
const NEGATIVE: u8 = 0x07;

/// Bins of both signs beyond which bytes are none of ours.
const BINS_READ_MAX: u64 = 4096;

/// Count beyond which bytes are none of ours: 2^48, an event a microsecond for nine years. Sums of many still fit.
const COUNT_MAX: f64 = 281_474_976_710_656.0;

/// All bins that are not empty; `None` for bytes that do not follow the format.
pub(crate) fn bins(bytes: &[u8]) -> Option<Vec<Bin>> {
    let mut rest = without_header(bytes);
    let mut found = Vec::new();
    while let Some((&section, after)) = rest.split_first() {
        rest = after;
        match section {
            ZEROS => found.push(Bin { sign: Sign::Zero, key: 0, count: count(&mut rest)? }),
            POSITIVE => side(Sign::Positive, &mut rest, &mut found)?,
            NEGATIVE => side(Sign::Negative, &mut rest, &mut found)?,
            _ => return None,
        }
    }
    Some(found)
}

/// The bytes from the first section with bins on: without totals, which are kept exactly elsewhere, and without the
/// mapping, which the level gives.
pub(crate) fn without_header(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let Some((&section, mut after)) = rest.split_first() {
        let skipped = match section {
            COUNT => count(&mut after).map(|_| 0),
            MIN | MAX | SUM => Some(8),
            MAPPING => Some(16),
            _ => None,
        };
        match skipped.and_then(|skipped| after.get(skipped..)) {
            Some(after) => rest = after,
            None => break,
        }
    }
    rest
}

/// The bins of one side: their number, then for each the step to its key and its count.
fn side(sign: Sign, rest: &mut &[u8], found: &mut Vec<Bin>) -> Option<()> {
    let number = unsigned(rest)?;
    if number > BINS_READ_MAX {
        return None;
    }
    let mut key = 0_i64;
    for _ in 0..number {
        let step = unsigned(rest)?;
        let step = (step >> 1).cast_signed() ^ -(step & 1).cast_signed();
        key = key.checked_add(step)?;
        found.push(Bin { sign, key: i32::try_from(key).ok()?, count: count(rest)? });
    }
    Some(())
}

/// A count: the bits of a double that begin with what differs from 1, so that small whole numbers are one byte.
fn count(rest: &mut &[u8]) -> Option<u64> {
    let mut bits = 0_u64;
    for place in 0_u32..9 {
        let byte = u64::from(byte(rest)?);
        if place == 8 {
            bits |= byte;
            break;
        }
        bits |= (byte & 0x7f) << (57 - 7 * place);
        if byte < 0x80 {
            break;
        }
    }
    let value = f64::from_bits(bits.rotate_right(6).wrapping_add(1_f64.to_bits())) - 1.0;
    let whole = (1.0..COUNT_MAX).contains(&value) && value.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number in range")]
    whole.then_some(value as u64)
}

/// A whole number in groups of seven bits, the lowest first; the ninth byte has eight.
fn unsigned(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0_u32..9 {
        let byte = u64::from(byte(rest)?);
        if byte < 0x80 || place == 8 {
            return Some(value | byte << (7 * place));
        }
        value |= (byte & 0x7f) << (7 * place);
    }
    None
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}
