//! What a manifest may set about text.

/// The widest vector: 2^20 entries, 4 MiB. The shipped models use 2^11 and 2^12.
pub const DIMS_MAX: u32 = 1 << 20;

/// The longest n-gram in characters. Beyond eight almost every gram of a report is unique.
pub const GRAM_MAX: u8 = 8;

/// Shape of hashed character n-grams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NgramConfig {
    dims: u32,
    n_min: u8,
    n_max: u8,
}

/// Why a text encoder cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    /// The width is not usable as a mask.
    #[error("n-gram dims {dims}: must be a power of two from 2 to {DIMS_MAX}")]
    Dims {
        /// As written.
        dims: u32,
    },
    /// The lengths are empty, zero or too great.
    #[error("n-gram lengths {n_min} to {n_max}: must be 1 <= n_min <= n_max <= {GRAM_MAX}")]
    Lengths {
        /// Shortest, as written.
        n_min: u8,
        /// Longest, as written.
        n_max: u8,
    },
}

impl NgramConfig {
    /// Vectors of `dims` entries from grams of `n_min` to `n_max` characters.
    ///
    /// # Errors
    /// If `dims` is no power of two up to [`DIMS_MAX`] or the lengths are not `1 <= n_min <= n_max <=` [`GRAM_MAX`].
    pub fn new(dims: u32, n_min: u8, n_max: u8) -> Result<Self, TextError> {
        if !dims.is_power_of_two() || !(2..=DIMS_MAX).contains(&dims) {
            return Err(TextError::Dims { dims });
        }
        if n_min == 0 || n_min > n_max || n_max > GRAM_MAX {
            return Err(TextError::Lengths { n_min, n_max });
        }
        Ok(Self { dims, n_min, n_max })
    }

    /// Entries of the vector.
    pub fn dims(self) -> u32 {
        self.dims
    }

    /// Characters of the shortest gram.
    pub fn n_min(self) -> u8 {
        self.n_min
    }

    /// Characters of the longest gram.
    pub fn n_max(self) -> u8 {
        self.n_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_and_sensible_lengths_are_accepted() {
        for (dims, n_min, n_max, accepted) in [
            (2048, 1, 4, true),
            (2, 1, 1, true),
            (DIMS_MAX, 1, GRAM_MAX, true),
            (0, 1, 4, false),
            (1, 1, 4, false),
            (2047, 1, 4, false),
            (DIMS_MAX * 2, 1, 4, false),
            (2048, 0, 4, false),
            (2048, 3, 2, false),
            (2048, 1, GRAM_MAX + 1, false),
        ] {
            assert_eq!(NgramConfig::new(dims, n_min, n_max).is_ok(), accepted, "{dims} {n_min} {n_max}");
        }
    }
}
