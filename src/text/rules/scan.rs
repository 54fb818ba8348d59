//! All rules over one text, the longest match first.

use crate::text::rules::folded::Folded;
use crate::text::rules::kind::RuleKind;
use crate::text::rules::{card, coordinates, email, iban, imo, ip, mac, mmsi, phone};

/// Something a rule has found, in bytes of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleMatch {
    /// What it is.
    pub kind: RuleKind,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

impl RuleMatch {
    fn length(&self) -> u32 {
        self.end - self.start
    }
}

/// The rules a model asks for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// In the order in which they win.
    kinds: Vec<RuleKind>,
}

impl Rules {
    /// Rules for these kinds.
    pub fn new(kinds: &[RuleKind]) -> Self {
        let kinds = RuleKind::ALL.into_iter().filter(|kind| kinds.contains(kind)).collect();
        Self { kinds }
    }

    /// Fills `found` with what the rules find in `text`, in order, without overlap.
    ///
    /// Of matches that overlap the longest stays; of equals that of the kind which comes first in [`RuleKind::ALL`].
    pub fn find(&self, text: &str, found: &mut Vec<RuleMatch>) {
        found.clear();
        for kind in &self.kinds {
            search(text, *kind, found);
        }
        // Beside what is found as it is written: a dash is a hyphen in a number and none between two.
        if let Some(folded) = Folded::of(text) {
            let from = found.len();
            for kind in &self.kinds {
                search(&folded.text, *kind, found);
            }
            let behind = found.split_off(from);
            found.extend(behind.into_iter().filter_map(|own| {
                let (start, end) = folded.place(own.start, own.end)?;
                Some(RuleMatch { start, end, ..own })
            }));
            found.sort_by_key(|own| RuleKind::ALL.iter().position(|kind| *kind == own.kind));
        }
        if found.len() < 2 {
            return;
        }
        // The order of the kinds is kept among equals: the sort is stable.
        found.sort_by_key(|own| std::cmp::Reverse(own.length()));
        let mut taken = vec![false; text.len()];
        found.retain(|own| {
            let bytes = taken.get_mut(own.start as usize..own.end as usize).unwrap_or_default();
            let free = bytes.iter().all(|taken| !taken);
            if free {
                bytes.fill(true);
            }
            free
        });
        found.sort_by_key(|own| own.start);
    }
}

/// Appends the matches of one kind, none of which overlaps another.
fn search(text: &str, kind: RuleKind, found: &mut Vec<RuleMatch>) {
    let find = match kind {
        RuleKind::Iban => iban::find,
        RuleKind::Card => card::find,
        RuleKind::Imo => imo::find,
        RuleKind::Mmsi => mmsi::find,
        RuleKind::Phone => phone::find,
        RuleKind::Email => email::find,
        RuleKind::Ip => ip::find,
        RuleKind::Mac => mac::find,
        RuleKind::Coordinates => coordinates::find,
    };
    let mut free = 0;
    for (at, _) in text.char_indices() {
        if at < free {
            continue;
        }
        let Some(end) = find(text, at) else { continue };
        let (Ok(start), Ok(stop)) = (u32::try_from(at), u32::try_from(end)) else { return };
        found.push(RuleMatch { kind, start, end: stop });
        free = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(text: &str) -> Vec<(RuleKind, &str)> {
        let mut found = Vec::new();
        Rules::new(&RuleKind::ALL).find(text, &mut found);
        found.iter().map(|own| (own.kind, &text[own.start as usize..own.end as usize])).collect()
    }

    #[test]
    fn every_kind_is_found_in_one_text() {
        let text = "MV Aurora (IMO 9074729, MMSI 257123456) at 59\u{b0}54.8'N 010\u{b0}44.3'E: master jo@mv-aurora.no, \
                    +47 22 86 44 00, pays NO93 8601 1117 947 by 4111 1111 1111 1111; PLC 10.0.0.17 / 00:1a:2b:3c:4d:5e";
        let kinds: Vec<RuleKind> = marked(text).into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(
            kinds,
            [
                RuleKind::Imo,
                RuleKind::Mmsi,
                RuleKind::Coordinates,
                RuleKind::Email,
                RuleKind::Phone,
                RuleKind::Iban,
                RuleKind::Card,
                RuleKind::Ip,
                RuleKind::Mac,
            ]
        );
    }

    #[test]
    fn of_matches_that_overlap_the_longest_stays() {
        // As a telephone number it would end after twelve digits.
        assert_eq!(marked("Phone 4111 1111 1111 1111"), [(RuleKind::Card, "4111 1111 1111 1111")]);
        assert_eq!(marked("jo@10.0.0.1.mv-aurora.no"), [(RuleKind::Email, "jo@10.0.0.1.mv-aurora.no")]);
        // As a telephone number and as an MMSI it is equally long.
        assert_eq!(marked("MMSI phone 257123456"), [(RuleKind::Phone, "257123456")]);
        assert_eq!(marked("phone MMSI 257123456"), [(RuleKind::Mmsi, "257123456")]);
    }

    #[test]
    fn a_number_is_found_whatever_space_hyphen_or_width_it_is_written_with() {
        for text in [
            "4111\u{a0}1111\u{a0}1111\u{a0}1111",
            "4111\u{202f}1111\u{202f}1111\u{202f}1111",
            "4111\u{2011}1111\u{2011}1111\u{2011}1111",
            "41\u{200b}11 1111 1111 11\u{ad}11",
            "\u{ff14}111111111111111",
        ] {
            assert_eq!(marked(&format!("f\u{fc}r {text}, danke")), [(RuleKind::Card, text)]);
        }
        let phone = "905\u{2013}674\u{2013}3793";
        assert_eq!(marked(phone), [(RuleKind::Phone, phone)]);
        let mail = "jo\u{ff20}mv\u{2011}aurora\u{2060}.no";
        assert_eq!(marked(mail), [(RuleKind::Email, mail)]);
        let range = "10.0.0.1\u{2013}10.0.0.9";
        assert_eq!(marked(range), [(RuleKind::Ip, "10.0.0.1"), (RuleKind::Ip, "10.0.0.9")]);
    }

    #[test]
    fn only_what_is_asked_for_is_found() {
        let mut found = Vec::new();
        Rules::new(&[RuleKind::Ip]).find("10.0.0.1 and jo@mv-aurora.no", &mut found);
        assert_eq!(found, [RuleMatch { kind: RuleKind::Ip, start: 0, end: 8 }]);
        Rules::default().find("10.0.0.1", &mut found);
        assert!(found.is_empty());
    }

    #[test]
    fn ordinary_work_orders_have_no_identifiers() {
        for text in [
            "1000H Mech Insp TRK Roll 2 LH OO9426",
            "XH531 replace pos 7 tyre 2,5 bar @ 14:07:33 on 2026-11-20",
            "C/O hyd hose 3/4\" P/N 245-471505115 serial 3257 1000",
            "pump 5 temp sender 103.5 \u{b0}C, 12.345 mm/s, 4-20 mA, 24V",
            "MSC.1/Circ.1045(27) 2.1.5 wind (0.5 - 1.25) m",
        ] {
            assert_eq!(marked(text), [], "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_text_gives_places_in_order_on_character_boundaries(
            text in "[0-9a-fA-F:.@+()/ ,'\"x\u{b0}NEIMOné-]{0,80}|.{0,60}",
        ) {
            let mut found = Vec::new();
            Rules::new(&RuleKind::ALL).find(&text, &mut found);
            prop_assert!(found.is_sorted_by(|left, right| left.end <= right.start));
            for own in &found {
                let piece = text.get(own.start as usize..own.end as usize);
                prop_assert!(piece.is_some_and(|piece| !piece.is_empty()));
            }
        }

        #[test]
        fn an_identifier_between_other_words_is_found(
            // Without the letters of hemispheres and labels.
            before in "([a-dfgh]{1,8} ){0,3}",
            after in "( [a-dfgh]{1,8}){0,3}",
            which in 0_usize..7,
        ) {
            let all = [
                "GB82WEST12345698765432", "4111111111111111", "IMO 9074729", "jo@mv-aurora.no", "10.0.0.17",
                "00:1a:2b:3c:4d:5e", "59.91273, 10.74609",
            ];
            let own = all[which];
            // Some words in front of four numbers say that they are no address.
            let before = if which == 4 { "" } else { before.as_str() };
            let text = format!("{before}{own}{after}");
            prop_assert!(marked(&text).iter().any(|(_, found)| *found == own), "{}", text);
        }
    }
}
