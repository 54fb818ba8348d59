//! What rules and tags have found in one text, brought together.

/// A marked piece of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Index of the entity type.
    pub kind: u16,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
    /// From 0 to 1; of a rule 1.
    pub score: f32,
    /// Whether a rule has found it.
    pub by_rule: bool,
}

/// Brings `marks` of `text`, from rules and tags in any order, into one list in order without overlap.
///
/// No marked letter or digit gets lost. A tag of the type of a rule it overlaps is joined with it. Of a tag of another
/// type the rule keeps what is common to both, and what the tag has beside it stays marked as the tag's type if a letter
/// or digit is in it. Of two rules, or two tags, that overlap the one that starts first wins, in the same way; the others
/// are what the decoder and the rules never give.
pub fn merge(text: &str, marks: &mut Vec<Mark>) {
    marks.retain(|mark| mark.start < mark.end);
    join(marks);
    // What has won so far, without overlap, in order; the rules before the tags.
    marks.sort_by_key(|mark| (!mark.by_rule, mark.start));
    let mut kept: Vec<Mark> = Vec::with_capacity(marks.len());
    for mark in marks.iter() {
        let mut at = mark.start;
        let first = kept.partition_point(|own| own.end <= mark.start);
        let mut slot = first;
        while at < mark.end {
            let next = kept.get(slot).copied().filter(|own| own.start < mark.end);
            let until = next.map_or(mark.end, |own| own.start);
            if let Some(piece) = piece(text, *mark, at, until) {
                kept.insert(slot, piece);
                slot += 1;
            }
            at = next.map_or(mark.end, |own| own.end);
            slot += 1;
        }
    }
    *marks = kept;
}

/// Widens each rule by the tags of its type that overlap it, and takes these tags out.
fn join(marks: &mut Vec<Mark>) {
    marks.sort_by_key(|mark| mark.start);
    let rules: Vec<Mark> = marks.iter().copied().filter(|mark| mark.by_rule).collect();
    let overlap = |left: &Mark, right: &Mark| left.start < right.end && right.start < left.end;
    let own = |tag: &Mark, rule: &Mark| !tag.by_rule && tag.kind == rule.kind && overlap(tag, rule);
    let tags: Vec<Mark> = marks.iter().copied().filter(|mark| !mark.by_rule).collect();
    for mark in marks.iter_mut().filter(|mark| mark.by_rule) {
        let rule = *mark;
        // Only those that reach the rule: both lists are in order.
        let from = tags.partition_point(|tag| tag.end <= rule.start);
        for tag in tags.iter().skip(from).take_while(|tag| tag.start < rule.end).filter(|tag| own(tag, &rule))
        {
            mark.start = mark.start.min(tag.start);
            mark.end = mark.end.max(tag.end);
        }
    }
    marks.retain(|tag| {
        let from = rules.partition_point(|rule| rule.end <= tag.start);
        let mut reached = rules.iter().skip(from).take_while(|rule| rule.start < tag.end);
        !reached.any(|rule| own(tag, rule))
    });
}

/// The part of `mark` from `start` to `end`; a rest of it is without the spaces and signs around it.
fn piece(text: &str, mark: Mark, start: u32, end: u32) -> Option<Mark> {
    if (start, end) == (mark.start, mark.end) {
        return Some(mark);
    }
    let rest = text.get(start as usize..end as usize)?;
    let front = rest.find(char::is_alphanumeric)?;
    let back = rest.trim_end_matches(|own: char| !own.is_alphanumeric()).len();
    let at = |offset: usize| u32::try_from(offset).ok().and_then(|offset| start.checked_add(offset));
    Some(Mark { start: at(front)?, end: at(back)?, ..mark })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(kind: u16, start: u32, end: u32, by_rule: bool) -> Mark {
        Mark { kind, start, end, score: if by_rule { 1.0 } else { 0.5 }, by_rule }
    }

    fn merged(text: &str, marks: &[Mark]) -> Vec<(u16, u32, u32, bool)> {
        let mut marks = marks.to_vec();
        merge(text, &mut marks);
        marks.iter().map(|mark| (mark.kind, mark.start, mark.end, mark.by_rule)).collect()
    }

    #[test]
    fn a_rule_wins_over_a_tag_of_the_same_place() {
        let text = "mail jo@a.no now";
        assert_eq!(merged(text, &[mark(1, 5, 12, false), mark(2, 5, 12, true)]), [(2, 5, 12, true)]);
        assert_eq!(merged(text, &[mark(1, 5, 12, false), mark(1, 5, 12, true)]), [(1, 5, 12, true)]);
        // Punctuation is no rest.
        assert_eq!(merged("(jo@a.no)", &[mark(1, 0, 9, false), mark(2, 1, 8, true)]), [(2, 1, 8, true)]);
    }

    #[test]
    fn what_a_tag_has_beside_a_rule_stays_marked() {
        let text = "Jo Ås, jo@a.no, Oslo";
        let rule = mark(2, 8, 15, true);
        assert_eq!(&text[8..15], "jo@a.no");
        assert_eq!(
            merged(text, &[mark(1, 0, 21, false), rule]),
            [(1, 0, 6, false), (2, 8, 15, true), (1, 17, 21, false)]
        );
        assert_eq!(
            merged(text, &[mark(2, 0, 21, false), rule]),
            [(2, 0, 21, true)],
            "of the same type: joined"
        );
    }

    #[test]
    fn marks_apart_stay_as_they_are_in_order() {
        let text = "aaaa bbbb cccc";
        let marks = [mark(1, 10, 14, false), mark(2, 5, 9, true), mark(0, 0, 4, false)];
        assert_eq!(merged(text, &marks), [(0, 0, 4, false), (2, 5, 9, true), (1, 10, 14, false)]);
        assert!(merged(text, &[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_marked_letter_gets_lost_and_nothing_overlaps(
            text in "[a-c ,é]{0,24}",
            rules in prop::collection::vec((0_u16..3, 0_u32..24, 1_u32..6), 0..4),
            tags in prop::collection::vec((0_u16..3, 0_u32..24, 1_u32..9), 0..4),
        ) {
            let length = u32::try_from(text.len()).unwrap();
            let places = |list: &[(u16, u32, u32)], by_rule| -> Vec<Mark> {
                let all = list.iter().map(|(kind, start, size)| mark(*kind, *start, (start + size).min(length), by_rule));
                all.filter(|own| own.start < own.end && text.get(own.start as usize..own.end as usize).is_some()).collect()
            };
            let marks = [places(&rules, true), places(&tags, false)].concat();
            let mut after = marks.clone();
            merge(&text, &mut after);
            prop_assert!(after.is_sorted_by(|left, right| left.end <= right.start), "{after:?}");
            for (at, letter) in text.char_indices().filter(|(_, own)| own.is_alphanumeric()) {
                let covers = |own: &Mark| (own.start as usize..own.end as usize).contains(&at);
                prop_assert_eq!(marks.iter().any(covers), after.iter().any(covers), "{} at {}", letter, at);
                if marks.iter().any(|own| own.by_rule && covers(own)) {
                    prop_assert!(after.iter().any(|own| own.by_rule && covers(own)));
                }
            }
        }
    }
}
