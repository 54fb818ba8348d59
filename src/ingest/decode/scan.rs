//! A JSON scanner: one token at a time, no recursion, nothing allocated, limits held while scanning.
//!
//! Strict RFC 8259 with one exception: the words `NaN`, `Infinity` and `-Infinity`, which Python and others write, are
//! tokens too, so that they become bad samples and do not cost the whole message.

use crate::ingest::Limits;
use crate::tally::DropReason;

/// One token. Commas and colons are checked and not shown.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) enum Token<'a> {
    /// `{`
    ObjectStart,
    /// `[`
    ArrayStart,
    /// `}` or `]`
    End,
    /// The key of the value that follows.
    Key(Text<'a>),
    /// A scalar.
    Scalar(Scalar<'a>),
    /// Nothing follows but white space.
    Finish,
}

/// A value without parts.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) enum Scalar<'a> {
    /// A string.
    Text(Text<'a>),
    /// A number as written, by the grammar of JSON.
    Number(&'a str),
    /// `NaN` or an infinity.
    NonFinite,
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

/// A string as written, between its quotes.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

/// Reads a payload from its start to its end.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// One bit per open container, the innermost lowest; set for objects.
    nesting: u64,
    depth: u8,
    depth_max: u8,
    /// Keys left to the innermost row: the object at the top, or each element of the array at the top.
    keys: u32,
    keys_max: u32,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Value,
    First,
    Next,
    Finished,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, limits: &Limits) -> Self {
        let depth_max = limits.depth.min(Limits::DEPTH_MAX);
        let (keys, keys_max) = (limits.keys, limits.keys);
        Self { text, at: 0, nesting: 0, depth: 0, depth_max, keys, keys_max, state: State::Value }
    }

    /// The next token.
    pub(crate) fn next(&mut self) -> Result<Token<'a>, DropReason> {
        let byte = self.skip_space();
        match self.state {
            State::Value => self.value(byte),
            State::First if self.in_object() => match byte {
                Some(b'}') => Ok(self.close()),
                Some(b'"') => self.key(),
                _ => Err(DropReason::Malformed),
            },
            State::First => match byte {
                Some(b']') => Ok(self.close()),
                _ => self.value(byte),
            },
            State::Next => match (byte, self.in_object()) {
                (Some(b','), true) => {
                    self.at += 1;
                    match self.skip_space() {
                        Some(b'"') => self.key(),
                        _ => Err(DropReason::Malformed),
                    }
                }
                (Some(b','), false) => {
                    self.at += 1;
                    let byte = self.skip_space();
                    self.value(byte)
                }
                (Some(b'}'), true) | (Some(b']'), false) => Ok(self.close()),
                _ => Err(DropReason::Malformed),
            },
            State::Finished if byte.is_none() => Ok(Token::Finish),
            State::Finished => Err(DropReason::Malformed),
        }
    }

    fn value(&mut self, byte: Option<u8>) -> Result<Token<'a>, DropReason> {
        let scalar = match byte {
            Some(b'{') => return self.open(true),
            Some(b'[') => return self.open(false),
            Some(b'"') => Scalar::Text(self.string()?),
            Some(b'-') if self.word("-Infinity") => Scalar::NonFinite,
            Some(b'-' | b'0'..=b'9') => Scalar::Number(self.number()?),
            Some(b't') if self.word("true") => Scalar::Bool(true),
            Some(b'f') if self.word("false") => Scalar::Bool(false),
            Some(b'n') if self.word("null") => Scalar::Null,
            Some(b'N') if self.word("NaN") => Scalar::NonFinite,
            Some(b'I') if self.word("Infinity") => Scalar::NonFinite,
            _ => return Err(DropReason::Malformed),
        };
        self.after_value();
        Ok(Token::Scalar(scalar))
    }

    fn open(&mut self, object: bool) -> Result<Token<'a>, DropReason> {
        if self.depth >= self.depth_max {
            return Err(DropReason::Depth);
        }
        self.at += 1;
        self.depth += 1;
        self.nesting = self.nesting << 1 | u64::from(object);
        self.state = State::First;
        Ok(if object { Token::ObjectStart } else { Token::ArrayStart })
    }

    fn close(&mut self) -> Token<'a> {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
        self.nesting >>= 1;
        self.after_value();
        Token::End
    }

    fn after_value(&mut self) {
        if self.depth == 0 {
            self.state = State::Finished;
            return;
        }
        if self.depth == 1 && !self.in_object() {
            self.keys = self.keys_max;
        }
        self.state = State::Next;
    }

    fn key(&mut self) -> Result<Token<'a>, DropReason> {
        self.keys = self.keys.checked_sub(1).ok_or(DropReason::Keys)?;
        let key = self.string()?;
        if self.skip_space() != Some(b':') {
            return Err(DropReason::Malformed);
        }
        self.at += 1;
        self.state = State::Value;
        Ok(Token::Key(key))
    }

    /// A string whose opening quote is the next byte.
    fn string(&mut self) -> Result<Text<'a>, DropReason> {
        let start = self.at + 1;
        let mut end = start;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(end..).unwrap_or_default();
            end += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            match self.text.as_bytes().get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += self.escape(end + 1).ok_or(DropReason::Malformed)?;
                }
                Some(_) | None => return Err(DropReason::Malformed),
            }
        }
        self.at = end + 1;
        let raw = self.text.get(start..end).ok_or(DropReason::Malformed)?;
        Ok(Text { raw, escaped })
    }

    /// Bytes of the escape whose backslash is before `at`, that included.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.text.as_bytes().get(at..)? {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
            [b'u', digits @ ..] => digits.first_chunk::<4>()?.iter().all(u8::is_ascii_hexdigit).then_some(6),
            _ => None,
        }
    }

    fn number(&mut self) -> Result<&'a str, DropReason> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        self.text.get(start..self.at).ok_or(DropReason::Malformed)
    }

    fn digits(&mut self) -> Result<(), DropReason> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(DropReason::Malformed) }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    fn skip_space(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn in_object(&self) -> bool {
        self.nesting & 1 == 1
    }
}

impl<'a> Text<'a> {
    /// The text itself; `scratch` is used if it has escapes. Half a surrogate pair reads as U+FFFD.
    pub(crate) fn read<'b>(self, scratch: &'b mut String) -> &'b str
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.raw;
        }
        scratch.clear();
        let mut rest = self.raw;
        while let Some((plain, escape)) = rest.split_once('\\') {
            scratch.push_str(plain);
            rest = unescape(escape, scratch);
        }
        scratch.push_str(rest);
        scratch
    }
}

/// Appends what follows a backslash and returns what comes after it.
fn unescape<'a>(escape: &'a str, out: &mut String) -> &'a str {
    let mut chars = escape.chars();
    let plain = match chars.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unescape_unicode(chars.as_str(), out),
        Some(other) => other,
        None => char::REPLACEMENT_CHARACTER,
    };
    out.push(plain);
    chars.as_str()
}

/// Appends the character of four hexadecimal digits, or of a pair of surrogates.
fn unescape_unicode<'a>(digits: &'a str, out: &mut String) -> &'a str {
    let (first, rest) = hex4(digits);
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = rest.strip_prefix("\\u")
        && let (second, after) = hex4(second)
        && (0xdc00..0xe000).contains(&second)
    {
        let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        out.push(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
        return after;
    }
    out.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

/// The value of the first four digits, which the scanner has checked, and what follows them.
fn hex4(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0xfffd), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether the scanner takes a text to its end.
    fn accepts(text: &str) -> bool {
        let limits = Limits { depth: 64, keys: u32::MAX, ..Limits::default() };
        let mut scanner = Scanner::new(text, &limits);
        loop {
            match scanner.next() {
                Ok(Token::Finish) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn the_words_for_what_is_not_finite_are_the_only_addition_to_json() {
        for text in ["NaN", "Infinity", "-Infinity", "[NaN,-Infinity]"] {
            assert!(accepts(text), "{text}");
            assert!(!is_json(text));
        }
        for text in
            ["nan", "+Infinity", "-NaN", "NaNa", "inf", ".5", "5.", "1e", "+1", "0x1", "'a'", "[1,]", "{,}"]
        {
            assert!(!accepts(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn texts_near_json_are_taken_exactly_if_they_are_json(
            text in r#"[\[{]?([\[\]{},: ]|-?[0-9.eE+]{1,4}|"[a\\"u0-9]{0,4}"?|true|fals?e|null){0,8}[\]}]?"#,
        ) {
            prop_assert_eq!(accepts(&text), is_json(&text), "{}", text);
        }

        #[test]
        fn strings_read_as_serde_json_reads_them(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}") {
            let written = serde_json::to_string(&text).unwrap();
            let mut scanner = Scanner::new(&written, &Limits::default());
            let Ok(Token::Scalar(Scalar::Text(found))) = scanner.next() else { panic!("{written}") };
            let mut scratch = String::new();
            prop_assert_eq!(found.read(&mut scratch), text);
        }

        #[test]
        fn any_escape_reads_as_serde_json_reads_it(written in "\"(\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}|\\\\ud83d\\\\ude0[0-9]|x){0,6}\"") {
            let mut scanner = Scanner::new(&written, &Limits::default());
            let Ok(Token::Scalar(Scalar::Text(found))) = scanner.next() else { panic!("{written}") };
            let mut scratch = String::new();
            match serde_json::from_str::<String>(&written) {
                Ok(text) => prop_assert_eq!(found.read(&mut scratch), text),
                // Half a pair of surrogates.
                Err(_) => prop_assert!(found.read(&mut scratch).contains(char::REPLACEMENT_CHARACTER)),
            }
        }
    }
}
