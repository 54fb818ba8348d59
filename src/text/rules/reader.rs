//! Reads a text byte by byte from one place on.

/// A place in a text that moves on as bytes are taken.
#[derive(Clone, Copy)]
pub(in crate::text::rules) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// At byte `at` of `text`.
    pub(in crate::text::rules) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// The byte it stands at.
    pub(in crate::text::rules) fn at(&self) -> usize {
        self.at
    }

    /// The next byte, left where it is.
    pub(in crate::text::rules) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte if it is such a one.
    pub(in crate::text::rules) fn take_if(&mut self, fits: impl Fn(u8) -> bool) -> Option<u8> {
        let byte = self.peek().filter(|byte| fits(*byte))?;
        self.at += 1;
        Some(byte)
    }

    /// Takes this byte if it is the next.
    pub(in crate::text::rules) fn take(&mut self, wanted: u8) -> bool {
        self.take_if(|byte| byte == wanted).is_some()
    }

    /// Takes this text, in either case, if it comes next. `wanted` is in lower case.
    pub(in crate::text::rules) fn take_text(&mut self, wanted: &str) -> bool {
        let next = self.text.as_bytes().get(self.at..self.at + wanted.len());
        let same = next.is_some_and(|bytes| bytes.eq_ignore_ascii_case(wanted.as_bytes()));
        if same {
            self.at += wanted.len();
        }
        same
    }

    /// Takes bytes as long as they are such, at most `most`.
    pub(in crate::text::rules) fn take_while(&mut self, most: usize, fits: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take(most).take_while(|byte| fits(**byte)).count();
        self.at += count;
        rest.get(..count).unwrap_or_default()
    }

    /// Takes ASCII digits, at most `most`.
    pub(in crate::text::rules) fn digits(&mut self, most: usize) -> &'a [u8] {
        self.take_while(most, |byte| byte.is_ascii_digit())
    }

    /// Whether no letter or digit stands before it.
    pub(in crate::text::rules) fn starts_word(&self) -> bool {
        let before = self.text.get(..self.at).and_then(|text| text.chars().next_back());
        !before.is_some_and(char::is_alphanumeric)
    }

    /// Whether no letter or digit follows.
    pub(in crate::text::rules) fn ends_word(&self) -> bool {
        let next = self.text.get(self.at..).and_then(|text| text.chars().next());
        !next.is_some_and(char::is_alphanumeric)
    }

    /// As [`Self::starts_word`], and it is not within a longer number: `1.5` does not start at the 5.
    pub(in crate::text::rules) fn starts_number(&self) -> bool {
        let [before, sign] = [2, 1].map(|back| self.at.checked_sub(back).and_then(|at| self.byte_at(at)));
        self.starts_word()
            && !(sign.is_some_and(joins_numbers) && before.is_some_and(|byte| byte.is_ascii_digit()))
    }

    /// As [`Self::ends_word`], and no further part of the number follows: `1.5` does not end at the 1.
    pub(in crate::text::rules) fn ends_number(&self) -> bool {
        let [sign, after] = [0, 1].map(|on| self.byte_at(self.at + on));
        self.ends_word()
            && !(sign.is_some_and(joins_numbers) && after.is_some_and(|byte| byte.is_ascii_digit()))
    }

    fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }
}

/// What stands inside decimals, times, dates, part numbers and sums.
fn joins_numbers(byte: u8) -> bool {
    matches!(byte, b'.' | b',' | b'-' | b'/' | b':' | b'_' | b'+' | b'*' | b'=')
}

/// The value of an ASCII digit.
pub(in crate::text::rules) fn digit(byte: u8) -> u32 {
    u32::from(byte.wrapping_sub(b'0'))
}

/// The number some ASCII digits write; saturates.
pub(in crate::text::rules) fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum: u32, byte| sum.saturating_mul(10).saturating_add(digit(*byte)))
}

/// The first piece of a text that a rule takes, tried from each character on.
#[cfg(test)]
pub(in crate::text::rules) fn first(text: &str, find: impl Fn(&str, usize) -> Option<usize>) -> Option<&str> {
    text.char_indices().find_map(|(start, _)| text.get(start..find(text, start)?))
}
