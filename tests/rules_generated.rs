//! Identifiers made at random in the forms people write them, and near misses of each: what do the rules make of them?
//!
//! `cargo test --test rules_generated -- --nocapture` prints the table.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test program")]

use fastrand::Rng;
use tidegate::text::{RuleKind, RuleMatch, Rules};

/// Of each kind, and as many near misses.
const EACH: u32 = 2000;
const SEED: u64 = 20_261_120;

/// What may stand before and behind an identifier.
const BEFORE: [&str; 6] = ["", "replaced pump, ", "see ", "W/O 4711: ", "(", "Überhitzung; "];
const AFTER: [&str; 6] = ["", " as agreed", ", seal worn", ".", ")", " 2 pcs"];

fn digits(random: &mut Rng, count: usize) -> String {
    (0..count).map(|_| random.digit(10)).collect()
}

fn pick<'a>(random: &mut Rng, list: &[&'a str]) -> &'a str {
    list[random.usize(..list.len())]
}

/// Another digit in place of one of the digits from `from` on.
fn misprint(random: &mut Rng, text: &str, from: usize) -> String {
    let places: Vec<usize> = text
        .char_indices()
        .filter(|(at, own)| *at >= from && own.is_ascii_digit())
        .map(|(at, _)| at)
        .collect();
    let at = places[random.usize(..places.len())];
    let old = u32::from(text.as_bytes()[at] - b'0');
    let new = (old + random.u32(1..10)) % 10;
    format!("{}{new}{}", &text[..at], &text[at + 1..])
}

fn grouped(text: &str, size: usize, separator: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(size).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(separator)
}

fn remainder_97(text: &str) -> u32 {
    text.chars()
        .filter_map(|own| own.to_digit(36))
        .fold(0, |sum, value| (sum * if value < 10 { 10 } else { 100 } + value) % 97)
}

fn iban(random: &mut Rng) -> (String, String) {
    let (country, length) =
        [("DE", 22), ("NO", 15), ("FR", 27), ("GB", 22), ("NL", 18), ("MT", 31)][random.usize(..6)];
    let letters = if matches!(country, "GB" | "NL" | "MT") { 4 } else { 0 };
    let bank: String = (0..letters).map(|_| random.uppercase()).collect();
    let account = bank + &digits(random, length - 4 - letters);
    let check = 98 - remainder_97(&format!("{account}{country}00"));
    let plain = format!("{country}{check:02}{account}");
    let wrong = misprint(random, &plain, 4);
    let form = |text: &str, which| match which {
        0 => text.to_owned(),
        1 => text.to_lowercase(),
        _ => grouped(text, 4, " "),
    };
    let which = random.u32(..3);
    (form(&plain, which), form(&wrong, which))
}

fn luhn(text: &str) -> u32 {
    let weigh = |(at, own): (usize, char)| {
        let value = own.to_digit(10).unwrap() * if at % 2 == 0 { 2 } else { 1 };
        value / 10 + value % 10
    };
    (10 - text.chars().rev().enumerate().map(weigh).sum::<u32>() % 10) % 10
}

fn card(random: &mut Rng) -> (String, String) {
    let prefix = pick(random, &["4", "51", "55", "2221", "6011", "3530", "65"]);
    let body = format!("{prefix}{}", digits(random, 15 - prefix.len()));
    let plain = format!("{body}{}", luhn(&body));
    let wrong = misprint(random, &plain, 6);
    let separator = pick(random, &["", " ", "-"]);
    (grouped(&plain, 4, separator), grouped(&wrong, 4, separator))
}

fn imo(random: &mut Rng) -> (String, String) {
    let body = format!("{}{}", random.u32(1..10), digits(random, 5));
    let sum: u32 =
        body.chars().zip((2..=7).rev()).map(|(own, weight)| own.to_digit(10).unwrap() * weight).sum();
    let word = pick(random, &["IMO ", "IMO", "imo: ", "IMO no. ", "IMO number ", "IMO-"]);
    let plain = format!("{word}{body}{}", sum % 10);
    // A misprint of the digit of weight 5 by two or of an even weight by five goes unnoticed: change the check digit.
    let at = plain.len() - 1;
    let wrong = misprint(random, &plain, at);
    (plain, wrong)
}

fn mmsi(random: &mut Rng) -> (String, String) {
    let country = random.u32(2..8) * 100 + random.u32(1..76);
    let number = format!("{country}{}", digits(random, 6));
    let (before, after) =
        [("MMSI ", ""), ("mmsi: ", ""), ("MMSI no. ", ""), ("", " (MMSI"), ("MMSI=", "")][random.usize(..5)];
    let wrong = match random.u32(..3) {
        0 => format!("serial {number}"),
        1 => format!("{before}1{}{after}", &number[1..]),
        _ => format!("{before}{number}5{after}"),
    };
    (format!("{before}{number}{after}"), wrong.replace("1111", "1211").replace("111", "121"))
}

fn phone(random: &mut Rng) -> (String, String) {
    let own = match random.u32(..8) {
        0 => format!("+47 {}", grouped(&digits(random, 8), 2, " ")),
        1 => format!("+49 (0){}-{}", random.u32(200..999), digits(random, 7)),
        2 => format!("+44{}", digits(random, 10)),
        3 => format!("{}-{}-{}", random.u32(200..999), random.u32(200..999), digits(random, 4)),
        4 => format!(
            "({}) {}-{}x{}",
            random.u32(200..999),
            random.u32(200..999),
            digits(random, 4),
            digits(random, 3)
        ),
        5 => format!("0{} {}", random.u32(100..999), digits(random, 7)),
        6 => format!("0{}.{}", random.u32(1..10), grouped(&digits(random, 8), 2, ".")),
        _ => format!("phone {}", digits(random, 8)),
    };
    let wrong = match random.u32(..5) {
        0 => format!("P/N 0{} {}", random.u32(100..999), digits(random, 7)),
        1 => format!("20{}-0{}-1{}", digits(random, 2), random.u32(1..10), random.u32(0..10)),
        2 => format!("serial no. {}", digits(random, 8)),
        3 => format!("{} {}", digits(random, 3), digits(random, 4)),
        _ => format!("+{}.{}", random.u32(0..10), digits(random, 9)),
    };
    (own, wrong)
}

fn email(random: &mut Rng) -> (String, String) {
    let name: String = (0..random.usize(1..10)).map(|_| random.lowercase()).collect();
    let host: String = (0..random.usize(2..10)).map(|_| random.lowercase()).collect();
    let top = pick(random, &["com", "no", "co.uk", "example", "de"]);
    let joint = pick(random, &["", ".x", "+y", "_z", "-1"]);
    let wrong = [
        format!("{name}@{host}"),
        format!("{name} at {host}.{top}"),
        format!("{name}@ {host}.{top}"),
        format!("@{host}.{top}"),
    ];
    (format!("{name}{joint}@{host}.{top}"), wrong[random.usize(..4)].clone())
}

fn ip(random: &mut Rng) -> (String, String) {
    let parts: Vec<String> = (0..4).map(|_| random.u8(..).to_string()).collect();
    let groups: Vec<String> = (0..8).map(|_| format!("{:x}", random.u16(1..))).collect();
    let own = match random.u32(..3) {
        0 => parts.join("."),
        1 => groups.join(":"),
        _ => format!("{}::1{}", groups[..random.usize(1..4)].join(":"), groups[7]).chars().take(40).collect(),
    };
    // The last group above may have five digits.
    let own = own
        .rsplit_once(':')
        .map_or(own.clone(), |(front, last)| format!("{front}:{}", &last[..last.len().min(4)]));
    let wrong = match random.u32(..5) {
        0 => format!("{}.{}", parts[..3].join("."), random.u32(256..999)),
        1 => format!("{}.{}", parts.join("."), random.u8(..)),
        2 => format!("version {}", parts.join(".")),
        3 => groups[..random.usize(2..8)].join(":"),
        _ => parts[..3].join("."),
    };
    (own, wrong)
}

fn mac(random: &mut Rng) -> (String, String) {
    let pairs: Vec<String> = (0..6).map(|_| format!("{:02x}", random.u8(..))).collect();
    let separator = pick(random, &[":", "-"]);
    // A letter, as the forms without colon need one.
    let all = format!("a{}{separator}{}", random.digit(10), pairs[1..].join(separator));
    let own = match random.u32(..3) {
        0 => all.clone(),
        1 => all.to_uppercase(),
        _ => format!("a{}.{}.{}", &pairs[0..2].concat()[1..], pairs[2..4].concat(), pairs[4..].concat()),
    };
    let wrong = match random.u32(..3) {
        0 => pairs[1..].join(separator),
        1 => format!("{}{separator}{}", pairs.join(separator), pairs[0]),
        _ => format!("g{}", &all[1..]),
    };
    (own, wrong)
}

fn coordinates(random: &mut Rng) -> (String, String) {
    let (lat, lon) = (f64::from(random.u32(..8_999_999)) / 1e5, f64::from(random.u32(..17_999_999)) / 1e5);
    let (north, east) = (pick(random, &["N", "S"]), pick(random, &["E", "W"]));
    let (latitude, longitude) = (lat.trunc(), lon.trunc());
    let (minute, other) = (lat.fract() * 60.0, lon.fract() * 59.8);
    let minute = minute.min(59.8);
    let own = match random.u32(..7) {
        0 => format!("{lat:.5}, {lon:.5}"),
        1 => format!("-{lat:.4} {lon:.4}"),
        2 => format!("{lat:.3}{north} {lon:.3}{east}"),
        3 => format!("{north} {lat:.4}, {east} {lon:.4}"),
        4 => format!("{latitude:02}\u{b0}{minute:.1}'{north} {longitude:03}\u{b0}{other:.1}'{east}"),
        5 => format!(
            "{latitude:02}\u{b0}{:02}'{:02}\"{north}, {longitude:03}\u{b0}{:02}'07\"{east}",
            minute.trunc(),
            random.u32(..60),
            other.trunc()
        ),
        _ => format!("{latitude:02}-{minute:04.1}{north} {longitude:03}-{other:04.1}{east}"),
    };
    let wrong = match random.u32(..5) {
        0 => format!("{lat:.2}, {lon:.2}"),
        1 => format!("{:.5}, {lon:.5}", lat + 91.0),
        2 => format!("{lat:.5}, {:.5}", lon + 181.0),
        3 => format!("{latitude:02}\u{b0}{:.1}'{north} {longitude:03}\u{b0}{other:.1}'{east}", minute + 60.0),
        _ => format!("{lat:.5}"),
    };
    (own, wrong)
}

#[test]
fn identifiers_are_found_whole_and_their_near_misses_are_not() {
    let mut random = Rng::with_seed(SEED);
    let rules = Rules::new(&RuleKind::ALL);
    let mut found: Vec<RuleMatch> = Vec::new();
    println!("| kind | made | found whole | near misses | taken |\n|---|---|---|---|---|");
    for kind in RuleKind::ALL {
        let (mut whole, mut taken, mut shown) = (0, 0, 0);
        for _ in 0..EACH {
            let (own, wrong) = match kind {
                RuleKind::Iban => iban(&mut random),
                RuleKind::Card => card(&mut random),
                RuleKind::Imo => imo(&mut random),
                RuleKind::Mmsi => mmsi(&mut random),
                RuleKind::Phone => phone(&mut random),
                RuleKind::Email => email(&mut random),
                RuleKind::Ip => ip(&mut random),
                RuleKind::Mac => mac(&mut random),
                RuleKind::Coordinates => coordinates(&mut random),
            };
            let (before, after) = (pick(&mut random, &BEFORE), pick(&mut random, &AFTER));
            let text = format!("{before}{own}{after}");
            rules.find(&text, &mut found);
            // Of a telephone number or an MMSI the word around it is no part.
            let number = own
                .trim_start_matches("phone ")
                .trim_start_matches(|own: char| kind == RuleKind::Mmsi && !own.is_ascii_digit());
            let number = number.trim_end_matches(" (MMSI");
            let is_whole = |own: &RuleMatch| {
                own.kind == kind && text.get(own.start as usize..own.end as usize) == Some(number)
            };
            if found.iter().any(is_whole) {
                whole += 1;
            } else if shown < 5 {
                shown += 1;
                println!("missed {}: {text:?}", kind.name());
            }
            let text = format!("{before}{wrong}{after}");
            rules.find(&text, &mut found);
            if found.iter().any(|own| own.kind == kind) {
                taken += 1;
                println!("taken as {}: {text:?}", kind.name());
            }
        }
        println!("| {} | {EACH} | {whole} | {EACH} | {taken} |", kind.name());
        assert_eq!((whole, taken), (EACH, 0), "{}", kind.name());
    }
}

/// A rule that read on to the end from each place would take minutes over this.
#[test]
fn the_longest_reports_of_hostile_characters_are_read_at_once() {
    let rules = Rules::new(&RuleKind::ALL);
    let mut found = Vec::new();
    for piece in [
        "1",
        "1 ",
        "(1)",
        "+",
        "a",
        "a.",
        "a@",
        "@",
        ":",
        "::",
        "a:",
        "1.",
        "1-",
        "0 ",
        "N",
        "N 1.11 ",
        "IMO ",
        "GB82",
        "\u{b0}",
        "é",
        "1\u{b0}1'",
        "phone ",
        "10.0.0.1 ",
        "jo@a.no ",
    ] {
        rules.find(&piece.repeat(64 * 1024 / piece.len()), &mut found);
        assert!(found.is_sorted_by(|left, right| left.end <= right.start), "{piece}");
    }
}
