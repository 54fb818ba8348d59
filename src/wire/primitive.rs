//! Varints, zigzag, words and columns: the letters of the binary format.

use crate::wire::error::WireError;
use crate::wire::limits::WORD_BYTES_MAX;

/// Bytes of the longest varint of 64 bits.
const VARINT_BYTES_MAX: usize = 10;

/// A column all of whose values are the same: the value follows once.
const CONSTANT: u8 = 0;

/// A column with every value.
const PLAIN: u8 = 1;

/// Appends an unsigned number, seven bits to a byte, least significant first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a text with its length in bytes.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) -> Result<(), WireError> {
    if text.len() > WORD_BYTES_MAX {
        return Err(WireError::Limit { what: "length of a word" });
    }
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Appends a column. The reader knows how many values it has.
pub(crate) fn put_column(out: &mut Vec<u8>, values: &[u64]) {
    let Some((first, rest)) = values.split_first() else { return };
    if !rest.is_empty() {
        let constant = rest.iter().all(|value| value == first);
        out.push(if constant { CONSTANT } else { PLAIN });
        if !constant {
            for value in values {
                put(out, *value);
            }
            return;
        }
    }
    put(out, *first);
}

/// Folds a signed number into an unsigned one, small for small magnitudes.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads from the front of a slice.
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(WireError::Incomplete { need: count, have: self.rest.len() })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.rest.split_first().ok_or(WireError::Incomplete { need: 1, have: 0 })?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| WireError::Incomplete { need: N, have: taken.len() })
    }

    pub(crate) fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            if index == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Invalid { what: "number of more than 64 bits" })
    }

    /// A number that counts or points to something, at most `max`.
    pub(crate) fn index(&mut self, max: usize, what: &'static str) -> Result<usize, WireError> {
        let value = usize::try_from(self.number()?).map_err(|_| WireError::Limit { what })?;
        if value > max { Err(WireError::Limit { what }) } else { Ok(value) }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, WireError> {
        let length = self.index(WORD_BYTES_MAX, "length of a word")?;
        str::from_utf8(self.take(length)?).map_err(|_| WireError::Invalid { what: "word" })
    }

    /// Reads a column of `count` values into `column`. The caller has checked `count` against a limit.
    pub(crate) fn column(&mut self, count: usize, column: &mut Vec<u64>) -> Result<(), WireError> {
        column.clear();
        if count == 0 {
            return Ok(());
        }
        let constant = count == 1
            || match self.byte()? {
                CONSTANT => true,
                PLAIN => false,
                _ => return Err(WireError::Invalid { what: "coding of a column" }),
            };
        if constant {
            let value = self.number()?;
            column.resize(count, value);
            return Ok(());
        }
        column.reserve(count.min(self.rest.len()));
        for _ in 0..count {
            column.push(self.number()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_they_need_and_read_back() {
        for (value, bytes) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), bytes, "{value}");
            assert_eq!(Bytes::new(&out).number(), Ok(value));
        }
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!([zigzag(0), zigzag(-1), zigzag(1), zigzag(-2)], [0, 1, 2, 3]);
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut bytes = [0xff; 10];
        assert!(Bytes::new(&bytes).number().is_err());
        bytes[9] = 2;
        assert!(Bytes::new(&bytes).number().is_err());
        bytes[9] = 1;
        assert_eq!(Bytes::new(&bytes).number(), Ok(u64::MAX));
    }

    #[test]
    fn a_column_of_equal_values_takes_one() {
        for values in [&[][..], &[7], &[7; 100], &[1, 2, 3]] {
            let mut out = Vec::new();
            put_column(&mut out, values);
            let mut back = Vec::new();
            let mut bytes = Bytes::new(&out);
            bytes.column(values.len(), &mut back).unwrap();
            assert!(bytes.is_empty());
            assert_eq!(back, values);
        }
        let mut out = Vec::new();
        put_column(&mut out, &[7; 100]);
        assert_eq!(out, [0, 7]);
    }
}
