//! What a manifest may set about text.

/// The most ids of a word. The longest German compound in use has 79 letters, of which the first 60 grams tell enough.
pub const GRAMS_MAX: u8 = 64;

/// The most words of one run of a model. A work order has 5 to 20.
pub const WORDS_MAX: usize = 512;

/// The most bucket lengths: each is a plan of its own in memory.
pub const LENGTHS_MAX: usize = 8;

/// Bytes of a bit set of known n-grams: 128 to 524,288 bits. 2^16 bits hold the 4-grams of some 5,000 work orders.
pub const KNOWN_BYTES: std::ops::RangeInclusive<usize> = 16..=64 * 1024;

/// The most entity types of a tagger. The shipped ones have 12 and 21.
pub const TYPES_MAX: u16 = 64;

/// The widest vector: 2^20 entries, 4 MiB. The shipped models use 2^13.
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
#[derive(Debug, thiserror::Error, PartialEq)]
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
    /// The ids of words do not fit a table of this length.
    #[error("word-grams dims {dims}: must be from 3 to {DIMS_MAX}")]
    Ids {
        /// As written.
        dims: u32,
    },
    /// A word gets too few or too many ids.
    #[error("word-grams grams {grams}: must be from 3 to {GRAMS_MAX}")]
    Grams {
        /// As written.
        grams: u8,
    },
    /// The bucket lengths cannot be used.
    #[error(
        "word-grams lengths {lengths:?}: must be 1 to {LENGTHS_MAX} rising numbers from 1 to {WORDS_MAX}"
    )]
    Words {
        /// As written.
        lengths: Vec<usize>,
    },
    /// The bit set has a size that no hash can be brought to.
    #[error("known-grams file of {bytes} bytes: must be a power of two from 16 to 65,536")]
    KnownBytes {
        /// As read.
        bytes: usize,
    },
    /// The grams of the bit set are empty or too long.
    #[error("known-grams n {n}: must be from 1 to {GRAM_MAX}")]
    KnownLength {
        /// As written.
        n: u8,
    },
    /// Tags cannot be decoded with these numbers.
    #[error(
        "tags with {types} types, temperature {temperature}, outside_bias {outside_bias}: \
         must be 1 to {TYPES_MAX} types, a temperature above 0 and a finite bias"
    )]
    Tags {
        /// As written.
        types: u16,
        /// As written.
        temperature: f32,
        /// As written.
        outside_bias: f32,
    },
}

/// How a text becomes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// At white space.
    Space,
    /// At white space; a character that is neither alphanumeric nor a mark is a word of its own.
    Punctuation,
    /// As at punctuation, and between ASCII digits and all else.
    Classes,
}

impl Split {
    /// The one a manifest calls by this word.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "space" => Some(Self::Space),
            "punctuation" => Some(Self::Punctuation),
            "classes" => Some(Self::Classes),
            _ => None,
        }
    }
}

/// Shape of words as hashed character n-grams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordConfig {
    split: Split,
    dims: u32,
    n_min: u8,
    n_max: u8,
    grams: u8,
    lengths: Vec<usize>,
}

impl WordConfig {
    /// Words cut by `split`, each as at most `grams` ids below `dims`, from grams of `n_min` to `n_max` characters, in
    /// rows of one of `lengths` words.
    ///
    /// # Errors
    /// If a number is outside its limits.
    pub fn new(
        split: Split,
        dims: u32,
        (n_min, n_max): (u8, u8),
        grams: u8,
        lengths: &[usize],
    ) -> Result<Self, TextError> {
        if !(3..=DIMS_MAX).contains(&dims) {
            return Err(TextError::Ids { dims });
        }
        if n_min == 0 || n_min > n_max || n_max > GRAM_MAX {
            return Err(TextError::Lengths { n_min, n_max });
        }
        if !(3..=GRAMS_MAX).contains(&grams) {
            return Err(TextError::Grams { grams });
        }
        let lengths = lengths.to_vec();
        let rising = lengths.is_sorted_by(|shorter, longer| shorter < longer);
        if !rising
            || !(1..=LENGTHS_MAX).contains(&lengths.len())
            || !lengths.iter().all(|words| (1..=WORDS_MAX).contains(words))
        {
            return Err(TextError::Words { lengths });
        }
        Ok(Self { split, dims, n_min, n_max, grams, lengths })
    }

    /// How a text becomes words.
    pub fn split(&self) -> Split {
        self.split
    }

    /// One more than the greatest id.
    pub fn dims(&self) -> u32 {
        self.dims
    }

    /// Characters of the shortest gram.
    pub fn n_min(&self) -> u8 {
        self.n_min
    }

    /// Characters of the longest gram.
    pub fn n_max(&self) -> u8 {
        self.n_max
    }

    /// Ids per word, padding included.
    pub fn grams(&self) -> usize {
        usize::from(self.grams)
    }

    /// Words per row, rising.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Words of the longest row.
    pub fn words_max(&self) -> usize {
        self.lengths.last().copied().unwrap_or(0)
    }

    /// Words of the shortest row that holds `words`; of the longest if none does.
    pub fn words_of_row(&self, words: usize) -> usize {
        let fits = self.lengths.iter().copied().find(|length| *length >= words);
        fits.unwrap_or(self.words_max())
    }
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

    #[test]
    fn words_need_room_for_ids_and_rising_lengths() {
        let fits = |dims, n, grams, lengths: &[usize]| {
            WordConfig::new(Split::Space, dims, n, grams, lengths).is_ok()
        };
        assert!(fits(8192, (3, 4), 20, &[8, 16, 32, 64]));
        assert!(fits(3, (1, GRAM_MAX), 3, &[1]) && fits(DIMS_MAX, (1, 1), GRAMS_MAX, &[1, WORDS_MAX]));
        for (dims, n, grams, lengths) in [
            (2, (3, 4), 20, &[8][..]),
            (DIMS_MAX + 1, (3, 4), 20, &[8]),
            (8192, (0, 4), 20, &[8]),
            (8192, (4, 3), 20, &[8]),
            (8192, (3, GRAM_MAX + 1), 20, &[8]),
            (8192, (3, 4), 2, &[8]),
            (8192, (3, 4), GRAMS_MAX + 1, &[8]),
            (8192, (3, 4), 20, &[]),
            (8192, (3, 4), 20, &[0]),
            (8192, (3, 4), 20, &[8, 8]),
            (8192, (3, 4), 20, &[16, 8]),
            (8192, (3, 4), 20, &[WORDS_MAX + 1]),
            (8192, (3, 4), 20, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ] {
            assert!(!fits(dims, n, grams, lengths), "{dims} {n:?} {grams} {lengths:?}");
        }
    }

    #[test]
    fn the_shortest_row_that_holds_the_words_is_taken() {
        let config = WordConfig::new(Split::Space, 8192, (3, 4), 20, &[8, 16]).unwrap();
        for (words, row) in [(0, 8), (8, 8), (9, 16), (16, 16), (17, 16)] {
            assert_eq!(config.words_of_row(words), row);
        }
    }
}
