//! `tidegate outbox stat|peek|verify DIR`: what is stored, without touching it.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use crate::clock::EventTime;
use crate::io::disk::DirectoryView;
use crate::outbox::{DiskRead as _, Inspection, Lane, LaneInspection, Record, aside, inspect};

/// Bytes of a payload that a line of text shows.
const SHOWN_BYTES: usize = 24;

/// For whom to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people: aligned text.
    Text,
    /// For programs: JSON, one object a line.
    Json,
}

/// Writes how much is stored, how old it is and how far it is acknowledged.
///
/// # Errors
/// When the directory cannot be read, a newer tidegate wrote it, or `out` fails.
pub fn stat(directory: &Path, form: Form, out: &mut impl Write) -> anyhow::Result<()> {
    let inspection = look(directory)?;
    match form {
        Form::Json => writeln!(out, "{}", to_json(&inspection))?,
        Form::Text => {
            match inspection.epoch {
                Some(epoch) => writeln!(out, "epoch {epoch}")?,
                None => writeln!(out, "epoch unknown")?,
            }
            for lane in &inspection.lanes {
                writeln!(out, "{}", stat_line(lane))?;
                if let Some(losses) = loss_line(lane) {
                    writeln!(out, "{losses}")?;
                }
            }
            let (spares, aside) = (inspection.spares, inspection.aside);
            writeln!(out, "{spares} spare segments, {aside} records set aside")?;
        }
    }
    Ok(())
}

/// Writes the first `count` waiting records of one lane or of each, then those that were set aside. `describe` may put a payload into words; without
/// them its first bytes are shown.
///
/// # Errors
/// As for [`stat`].
pub fn peek(
    directory: &Path,
    (lane, count): (Option<Lane>, usize),
    form: Form,
    describe: impl Fn(&[u8]) -> Option<String>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut view = open(directory)?;
    for lane in Lane::ALL.into_iter().filter(|&known| lane.is_none_or(|wanted| wanted == known)) {
        let mut records: Vec<Record> = Vec::new();
        let reading = format!("read the outbox in {}", directory.display());
        crate::outbox::peek(&mut view, lane, |record| {
            if records.len() < count {
                records.push(record);
            }
        })
        .context(reading)?;
        for record in records {
            show(&record, (lane, false), form, &describe, out)?;
        }
    }
    let aside = aside(&mut view).with_context(|| format!("read the outbox in {}", directory.display()))?;
    for aside in aside.iter().filter(|aside| lane.is_none_or(|wanted| wanted == aside.lane)).take(count) {
        show(&aside.record, (aside.lane, true), form, &describe, out)?;
    }
    Ok(())
}

fn show(
    record: &Record,
    (lane, is_aside): (Lane, bool),
    form: Form,
    describe: impl Fn(&[u8]) -> Option<String>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let (words, lane) = (describe(&record.payload), lane.as_str());
    let (at, seq, bytes) = (time(record.at), record.seq.0, record.payload.len());
    match form {
        Form::Json => {
            let payload = hex(&record.payload);
            let object = json!({
                "lane": lane, "seq": seq, "at": at, "bytes": bytes, "payload": payload, "content": words,
                "aside": is_aside,
            });
            writeln!(out, "{object}")?;
        }
        Form::Text => {
            let shown = words.unwrap_or_else(|| beginning(&record.payload));
            let aside = if is_aside { "  set aside" } else { "" };
            writeln!(out, "{lane:<6} {seq:>8}  {at}  {bytes:>6} B  {shown}{aside}")?;
        }
    }
    Ok(())
}

/// Checks every checksum, writes what is damaged, and returns whether nothing is.
///
/// # Errors
/// As for [`stat`].
pub fn verify(directory: &Path, form: Form, out: &mut impl Write) -> anyhow::Result<bool> {
    let inspection = look(directory)?;
    match form {
        Form::Json => writeln!(out, "{}", to_json(&inspection))?,
        Form::Text => {
            for lane in &inspection.lanes {
                writeln!(out, "{}", verify_line(lane))?;
            }
        }
    }
    Ok(inspection.is_sound())
}

/// A folder without any file of an outbox would pass for an empty one.
fn open(directory: &Path) -> anyhow::Result<DirectoryView> {
    let mut view = DirectoryView::open(directory)?;
    let names = view.list().with_context(|| format!("list {}", directory.display()))?;
    let is_segment = |name: &str| Lane::ALL.iter().any(|lane| name.starts_with(lane.as_str()));
    let is_ours = |name: &String| name == "epoch" || name.starts_with("cursor-") || is_segment(name);
    anyhow::ensure!(
        names.iter().any(is_ours),
        "{} holds no outbox: it is the folder `outbox` inside gateway.state_dir",
        directory.display()
    );
    Ok(view)
}

fn look(directory: &Path) -> anyhow::Result<Inspection> {
    inspect(&mut open(directory)?).with_context(|| format!("read the outbox in {}", directory.display()))
}

fn stat_line(lane: &LaneInspection) -> String {
    let head = format!("{:<6} {:>8} waiting", lane.lane.as_str(), lane.records);
    let size = format!(
        "{} of payload, {} on disk in {} segments",
        lane.payload_bytes, lane.disk_bytes, lane.segments
    );
    let acked = lane.acked.map_or("unknown".to_owned(), |acked| acked.0.to_string());
    let ages = match (lane.oldest, lane.newest) {
        (Some(oldest), Some(newest)) => format!(", from {} to {}", time(oldest), time(newest)),
        (None, _) | (_, None) => String::new(),
    };
    let done: u64 = lane.done.iter().map(|(from, upto)| upto.0 - from.0 + 1).sum();
    let beyond = if done > 0 { format!(" and {done} beyond") } else { String::new() };
    let format = lane.format.map(|format| format!(", format {format}")).unwrap_or_default();
    format!("{head}, {size}, acknowledged {acked}{beyond} of {}{ages}{format}", lane.last.0)
}

/// What the lane has ever lost, if anything.
fn loss_line(lane: &LaneInspection) -> Option<String> {
    let lost: u64 = lane.lost.iter().sum();
    let told: u64 = lane.told.iter().sum();
    let [full, expired, damaged, undeliverable] = lane.lost;
    (lost > 0).then(|| {
        format!(
            "       lost {lost}: {full} for want of room, {expired} too old, {damaged} damaged, {undeliverable} undeliverable; upstream was told of {told}"
        )
    })
}

fn verify_line(lane: &LaneInspection) -> String {
    let name = lane.lane.as_str();
    let unfinished = match lane.unfinished_bytes.0 {
        0 => String::new(),
        bytes => format!("; {bytes} B of an unfinished write at the end"),
    };
    let cursor = if lane.acked.is_none() && lane.segments > 0 {
        "; cursor unreadable, all will be sent again"
    } else {
        ""
    };
    if lane.damaged_ranges == 0 {
        return format!("{name:<6} sound, {} records{unfinished}{cursor}", lane.records);
    }
    let (ranges, lost) = (lane.damaged_ranges, lane.damaged_records);
    format!(
        "{name:<6} damaged in {ranges} places, {lost} records lost, {} readable{unfinished}{cursor}",
        lane.records
    )
}

fn to_json(inspection: &Inspection) -> serde_json::Value {
    let lanes: Vec<_> = inspection
        .lanes
        .iter()
        .map(|lane| {
            json!({
                "lane": lane.lane.as_str(),
                "records": lane.records,
                "payload_bytes": lane.payload_bytes.0,
                "disk_bytes": lane.disk_bytes.0,
                "segments": lane.segments,
                "oldest": lane.oldest.map(time),
                "newest": lane.newest.map(time),
                "acked": lane.acked.map(|acked| acked.0),
                "done": lane.done.iter().map(|(from, upto)| [from.0, upto.0]).collect::<Vec<_>>(),
                "lost": by_reason(lane.lost),
                "told": by_reason(lane.told),
                "format": lane.format,
                "last": lane.last.0,
                "damaged_ranges": lane.damaged_ranges,
                "damaged_records": lane.damaged_records,
                "unfinished_bytes": lane.unfinished_bytes.0,
            })
        })
        .collect();
    json!({
        "epoch": inspection.epoch, "sound": inspection.is_sound(), "lanes": lanes, "spares": inspection.spares,
        "aside": inspection.aside,
    })
}

fn by_reason([full, expired, damaged, undeliverable]: [u64; 4]) -> serde_json::Value {
    json!({"full": full, "expired": expired, "damaged": damaged, "undeliverable": undeliverable})
}

fn time(at: EventTime) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| format!("{} us", at.0), |time| time.to_string())
}

fn beginning(payload: &[u8]) -> String {
    match payload.get(..SHOWN_BYTES) {
        Some(shown) if payload.len() > SHOWN_BYTES => format!("{}…", hex(shown)),
        Some(_) | None => hex(payload),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ClockQuality, UtcTime};
    use crate::io::disk::Directory;
    use crate::outbox::{Appended, Outbox, OutboxConfig, Seq};

    const NO_CLOCK: UtcTime = UtcTime { micros: 0, quality: ClockQuality::Unset };

    /// Runs a command while the service has the directory open.
    fn with_outbox(check: impl FnOnce(&Path)) {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::open(temporary.path()).unwrap();
        let mut outbox = Outbox::open(disk, OutboxConfig::default(), 3, NO_CLOCK).unwrap().outbox;
        for payload in [&b"one"[..], b"two", &[0xab; 40]] {
            let at = EventTime(1_767_225_600_000_000);
            assert!(matches!(outbox.append(Lane::Normal, payload, at).unwrap(), Appended::Stored(_)));
        }
        outbox.sync().unwrap();
        outbox.advance(Lane::Normal, Seq(1)).unwrap();
        outbox.checkpoint().unwrap();
        check(temporary.path());
        assert!(outbox.append(Lane::Normal, b"still fine", EventTime(0)).is_ok());
    }

    #[test]
    fn a_running_outbox_can_be_looked_at() {
        with_outbox(|directory| {
            let mut text = Vec::new();
            stat(directory, Form::Text, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with("epoch 1\n"), "{text}");
            let normal = "normal        2 waiting, 43 B of payload, 1 MiB on disk in 1 segments, acknowledged 1 of 3, from 2026-01-01T00:00:00Z to 2026-01-01T00:00:00Z, format 2";
            assert!(
                text.ends_with("1 spare segments, 0 records set aside\n"),
                "the reserve of alarms: {text}"
            );
            assert!(text.lines().any(|line| line == normal), "{text}");
            let mut json = Vec::new();
            stat(directory, Form::Json, &mut json).unwrap();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json["lanes"][1]["records"], 2);
            assert_eq!(json["sound"], true);
        });
    }

    #[test]
    fn waiting_records_are_shown_oldest_first() {
        with_outbox(|directory| {
            let mut text = Vec::new();
            let describe = |payload: &[u8]| (payload == b"two").then(|| "the second".to_owned());
            peek(directory, (None, 5), Form::Text, describe, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 2);
            assert_eq!(lines[0], "normal        2  2026-01-01T00:00:00Z       3 B  the second");
            assert!(lines[1].ends_with(&format!("{}…", "ab".repeat(24))), "{text}");
        });
    }

    #[test]
    fn what_was_lost_set_aside_and_delivered_out_of_turn_is_told() {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Directory::open(temporary.path()).unwrap();
        let mut outbox = Outbox::open(disk, OutboxConfig::default(), 3, NO_CLOCK).unwrap().outbox;
        for number in 0..6 {
            let at = EventTime(1_767_225_600_000_000);
            assert!(matches!(outbox.append(Lane::Bulk, &[number; 4], at).unwrap(), Appended::Stored(_)));
        }
        outbox.sync().unwrap();
        outbox.set_aside(Lane::Bulk, Seq(2)).unwrap();
        outbox.settle(Lane::Bulk, Seq(4), Seq(5)).unwrap();
        outbox.checkpoint().unwrap();
        let mut text = Vec::new();
        stat(temporary.path(), Form::Text, &mut text).unwrap();
        peek(temporary.path(), (None, 5), Form::Text, |_| None, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("acknowledged 0 and 3 beyond of 6"), "{text}");
        assert!(text.contains("lost 1: 0 for want of room, 0 too old, 0 damaged, 1 undeliverable"), "{text}");
        assert!(text.contains("1 spare segments, 1 records set aside\n"), "{text}");
        let shown: Vec<_> = text.lines().filter(|line| line.contains(" 4 B  ")).collect();
        assert_eq!(shown.len(), 4, "1, 3 and 6 wait, 2 is set aside: {text}");
        assert!(shown[3].ends_with("01010101  set aside"), "{text}");
    }

    #[test]
    fn damage_is_found_and_named() {
        with_outbox(|directory| {
            assert!(verify(directory, Form::Text, &mut Vec::new()).unwrap());
            let segment = directory.join("normal-00000000000000000001.seg");
            let mut bytes = std::fs::read(&segment).unwrap();
            bytes[1024 + 27 + 25] ^= 1;
            std::fs::write(&segment, &bytes).unwrap();
            let mut text = Vec::new();
            assert!(!verify(directory, Form::Text, &mut text).unwrap());
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("normal damaged in 1 places, 1 records lost, 1 readable"), "{text}");
        });
        assert!(verify(Path::new("/nonexistent/outbox"), Form::Text, &mut Vec::new()).is_err());
    }
}
