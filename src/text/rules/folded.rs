//! A text as the rules read it: what looks like a space, a hyphen or an ASCII character is one, what is invisible is not
//! there.
//!
//! # Why
//! Word processors and web pages write numbers with no-break spaces, no-break hyphens and soft hyphens, and whoever wants
//! a number to pass unseen puts a zero-width space into it.

/// A folded text with the places of its bytes in the original.
pub(in crate::text::rules) struct Folded {
    /// The text.
    pub(in crate::text::rules) text: String,
    /// By byte: the original byte its character starts at.
    starts: Vec<u32>,
    /// By byte: the original byte after its character.
    ends: Vec<u32>,
}

impl Folded {
    /// Folds a text; none if there is nothing to fold.
    pub(in crate::text::rules) fn of(text: &str) -> Option<Self> {
        if text.is_ascii() || text.chars().all(|own| fold(own) == Some(own)) {
            return None;
        }
        let mut folded = Self { text: String::new(), starts: Vec::new(), ends: Vec::new() };
        for (at, own) in text.char_indices() {
            let Some(plain) = fold(own) else { continue };
            folded.text.push(plain);
            folded.starts.resize(folded.text.len(), u32::try_from(at).ok()?);
            folded.ends.resize(folded.text.len(), u32::try_from(at + own.len_utf8()).ok()?);
        }
        Some(folded)
    }

    /// Where a piece of it, not empty, is in the original.
    pub(in crate::text::rules) fn place(&self, start: u32, end: u32) -> Option<(u32, u32)> {
        let last = end.checked_sub(1)?;
        Some((*self.starts.get(start as usize)?, *self.ends.get(last as usize)?))
    }
}

/// What a character is read as; none if it is invisible.
fn fold(own: char) -> Option<char> {
    match own {
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Some(' '),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some('-'),
        // Full-width forms stand in the order of ASCII.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(own) - 0xfee0),
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}' => None,
        _ => Some(own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_original() {
        let text = "\u{fc}\u{200b} \u{ff14}\u{ad}1\u{a0}\u{b0}";
        let folded = Folded::of(text).unwrap();
        assert_eq!(folded.text, "\u{fc} 41 \u{b0}");
        let place = |piece: &str| {
            let start = u32::try_from(folded.text.find(piece).unwrap()).unwrap();
            let (start, end) = folded.place(start, start + u32::try_from(piece.len()).unwrap()).unwrap();
            &text[start as usize..end as usize]
        };
        assert_eq!(place("41"), "\u{ff14}\u{ad}1");
        assert_eq!(place("\u{fc}"), "\u{fc}", "what is invisible behind it does not belong to it");
        assert_eq!(place("\u{b0}"), "\u{b0}");
        assert!(Folded::of("plain \u{fc}ber 59\u{b0}").is_none());
        assert!(folded.place(0, 0).is_none() && folded.place(90, 91).is_none());
    }
}
