//! Reports as NMEA 0183 sentences: the sentence type is the class of the report.

use crate::flow::{Private, Report};
use crate::ingest::decode::envelope::Envelope;
use crate::ingest::decode::report;
use crate::tally::DropReason;

/// Reads the sentences of a payload, one per line; tag blocks before a sentence are kept in its text.
pub(crate) fn decode(
    text: &str,
    envelope: &Envelope<'_>,
    reports: &mut Vec<Report>,
) -> Result<(), DropReason> {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let class = sentence_type(line).ok_or(DropReason::Malformed)?;
        let mut report = envelope.report(report::checked(envelope)(line)?);
        report.class = Some(Private::new(class.to_owned()));
        reports.push(report);
    }
    if reports.is_empty() { Err(DropReason::Empty) } else { Ok(()) }
}

/// What follows the talker of a sentence whose checksum, if it has one, is right: `RMC` of `$GPRMC`, `VDM` of `!AIVDM`.
/// A proprietary sentence has no talker: `PGRME` of `$PGRME`.
fn sentence_type(line: &str) -> Option<&str> {
    let body = match line.strip_prefix('\\') {
        Some(tagged) => tagged.split_once('\\')?.1,
        None => line,
    };
    let body = body.strip_prefix(['$', '!'])?;
    let content = match body.split_once('*') {
        Some((content, sum)) => {
            let expected = u8::from_str_radix(sum, 16).ok().filter(|_| sum.len() == 2)?;
            (content.bytes().fold(0, |sum, byte| sum ^ byte) == expected).then_some(content)?
        }
        None => body,
    };
    let address = content.split(',').next()?;
    let plain = (4..=16).contains(&address.len()) && address.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let start = if address.starts_with('P') { 0 } else { 2 };
    plain.then(|| address.get(start..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_known_by_its_type_if_its_checksum_is_right() {
        for (line, class) in [
            ("$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A", Some("RMC")),
            ("!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C", Some("VDM")),
            ("$WIXDR,C,19.5,C,AIR", Some("XDR")),
            ("$PGRME,15.0,M,45.0,M,25.0,M*1C", Some("PGRME")),
            ("\\g:1-2-73874*00\\$WIXDR,C,19.5,C,AIR", Some("XDR")),
            ("$GPRMC,123519,A*6B", None),
            ("$WIXDR,C,19.5,C,AIR*19", Some("XDR")),
            ("$WIXDR,C,19.5,C,AIR*019", None),
            ("$GPRMC,1*", None),
            ("$GPRMC,1*+5", None),
            ("GPRMC,1", None),
            ("$,", None),
            ("$GP", None),
            ("$GPRé", None),
            ("\\unclosed$GPRMC", None),
        ] {
            assert_eq!(sentence_type(line), class, "{line}");
        }
    }
}
